#include "engine/src/tiers/page_name.h"

#include <string_view>

namespace seer {
namespace {

// Each digest begins with a text that says what it is a digest of, and which version of this scheme made it.
// So no page's name can equal a model's digest, and two versions never give the same name.
constexpr std::string_view kModel = "seer page names 1: a model";
constexpr std::string_view kRoot = "seer page names 1: a model and a rule";
constexpr std::string_view kPage = "seer page names 1: a page";

}  // namespace

Digest model_digest(const PageFingerprint& fingerprint) {
  DigestStream sum;
  sum.put_text(kModel);
  sum.put(static_cast<uint64_t>(fingerprint.size()));
  for (const FingerprintItem& item : fingerprint) {
    sum.put_text(item.name);
    sum.put_text(item.value);
  }
  return sum.result();
}

PageName root_name(const PageFingerprint& fingerprint, const PrefixKey& key) {
  DigestStream sum;
  sum.put_text(kRoot);
  sum.put(model_digest(fingerprint));
  // The rule's text, because the numbers of its methods may change from one version to the next.
  sum.put_text(key.rule.to_string());
  sum.put(key.n_prompt_blocks);
  return sum.result();
}

PageName page_name(const PageName& parent, std::span<const int32_t> ids) {
  DigestStream sum;
  sum.put_text(kPage);
  sum.put(parent);
  sum.put(static_cast<uint64_t>(ids.size()));
  sum.add(std::as_bytes(ids));
  return sum.result();
}

}  // namespace seer
