// The parts of a tokenizer.json around its vocabulary. They are checked: only those that this project carries
// out exactly are accepted.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/json.h"
#include "tokenizer/added_tokens.h"

namespace seer {

// All throw Error{kFile} if the file is malformed, and Error{kUnsupported} that names a part which is not
// known.

// Returns the "model" object. Throws for a type other than BPE, and for options that would change its results
// and are not known here.
const Json& bpe_model(const Json& file, const std::string& path);
std::vector<AddedToken> read_added_tokens(const Json& file, const std::string& path);

// The tokens that the post-processor puts around a text; -1 if there is none.
struct PostProcessor {
  int32_t bos_id = -1, eos_id = -1;
  bool found = false;  // a part that may add tokens was read
};
PostProcessor read_post_processor(const Json& file, const std::string& path);

}  // namespace seer
