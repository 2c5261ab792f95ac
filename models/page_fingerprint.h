// What the contents of a page depend on besides the tokens and the rule: the model on this rank, in every
// respect that decides a bit of a key or a value. A process uses saved pages only if its own fingerprint
// is equal to that of the process that computed them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/checksum.h"
#include "models/model.h"

namespace seer {

// The version of what pages mean: the order of an image's parts, and how the engine computes them. It must be
// raised if a change of the engine makes other keys, values or gate keys out of the same tokens, by more than
// the order of sums.
constexpr int64_t kPageFormat = 1;

struct FingerprintItem {
  std::string name;         // for people: "the type of keys and values"
  std::string value;        // a word, a description or a checksum
  std::string option = {};  // the program's option that decides it, for messages; may be empty

  friend bool operator==(const FingerprintItem& a, const FingerprintItem& b) {
    return a.name == b.name && a.value == b.value;
  }
};
using PageFingerprint = std::vector<FingerprintItem>;

// Returns the items of this rank's model, which must have been loaded. Every byte of the weights and gates
// is read from the device's memory, so that the fingerprint describes what computes, even if the files have
// changed since. On a CPU up to n_threads threads read: 5.5 GB/s were measured on two busy cores, so 16 GB
// take 3 s if they are in memory already; otherwise they take as long as the disk needs. The caller must be
// the one that may use the backend.
PageFingerprint page_fingerprint(const Model& model, int64_t page_tokens, int n_threads,
                                 int64_t page_format = kPageFormat);

Checksum checksum_of(const PageFingerprint& fingerprint);

}  // namespace seer
