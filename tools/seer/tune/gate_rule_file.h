// The rule in a folder of gates: the keys of its config.json that say which blocks are kept by default.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/output_file.h"
#include "seer/sparse.h"

namespace seer::cli {

using JsonMembers = std::vector<std::pair<std::string, std::string>>;  // keys, and values as JSON texts

// Return the members of config.json that make a rule the gates' own. There are none for a rule that the file
// cannot express. These are dense; a threshold of 0, which means "never tuned" there; and ratio=R of decode
// gates, for which SeerAttention-R has no key.
JsonMembers config_members(const SparseRule& rule);
JsonMembers config_members(const SparseDecodeRule& rule);
// Returns the member that gives the gates the factors [n_layers, n_heads] of head_threshold=T.
JsonMembers factor_members(const std::vector<float>& factors, int64_t n_heads);

// Returns the JSON text of an object in which `members` have these values. Members that were not there are
// added at the end. Every other byte stays as it is. Throws JsonError if the text is not a JSON object.
std::string with_members(const std::string& text, const JsonMembers& members);

class GateRuleFile {
 public:
  // `weights` is the path of the gates' weights, whose folder has config.json. Opens a temporary file there,
  // and throws Error{kRuntime} if it cannot. So a folder that cannot be written to is reported before the
  // work.
  explicit GateRuleFile(const std::string& weights);
  const std::string& path() const { return path_; }
  // Gives config.json these members, in one step: a reader finds the old file or the new one. Throws
  // Error{kRuntime} if that fails, or Error{kFile} if the file is not a JSON object; the old file is then
  // still there.
  void write(const JsonMembers& members);

 private:
  std::string path_;
  OutputFile out_;
};

}  // namespace seer::cli
