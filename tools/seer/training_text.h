// The texts that gates learn from: files, folders of files, lines of JSON, and token ids.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "seer/tokenizer.h"

namespace seer::cli {

// Returns the tokens of all texts, one after the other, without BOS and EOS. A path names a file or a folder;
// a folder stands for all files in it and in the folders below it whose names end in .txt, .md, .jsonl or
// .ids, in the order of their paths. Each line of a .jsonl file is an object whose key `text` is a text;
// blank lines are passed over. A .ids file has token ids, separated by white space. All other files are
// texts, byte for byte. `model_dir` has the tokenizer, which is only loaded if there is text. Throws
// Error{kFile} for what cannot be read, with the line of a .jsonl file, and Error{kUsage} for a folder
// without such files.
std::vector<int32_t> read_training_text(const std::vector<std::string>& paths, const std::string& model_dir);

}  // namespace seer::cli
