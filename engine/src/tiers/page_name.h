// Names the contents of a page by a digest of everything that they depend on, so that a page can be found
// again in another tier, by another process, or after a restart.
#pragma once

#include <cstdint>
#include <span>

#include "engine/base/digest.h"
#include "engine/src/prefix_cache.h"
#include "models/page_fingerprint.h"

namespace seer {

// Equal names mean equal contents. SHA-256 is used because nobody can find two inputs of the same digest, so
// that a prompt made by an attacker cannot be given another prompt's pages.
using PageName = Digest;

// Returns the digest of all items of the fingerprint. It says which model a folder of pages belongs to.
Digest model_digest(const PageFingerprint& fingerprint);
// Returns the name that serves as the parent of a sequence's first page: a digest of the model and the rule.
PageName root_name(const PageFingerprint& fingerprint, const PrefixKey& key);
// Returns the name of the page that holds `ids` after the page named `parent`, or after root_name().
PageName page_name(const PageName& parent, std::span<const int32_t> ids);

}  // namespace seer
