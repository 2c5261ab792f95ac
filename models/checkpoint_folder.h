// Recognises things that users give in place of a checkpoint's folder, for messages that say what to do.
#pragma once

#include <string>
#include <string_view>

namespace seer {

// Throws Error{kFile} if `path` is not a folder. The message says what it is instead, for example a single
// file, or a name on the Hugging Face hub and the folder of the local cache that holds it.
void require_folder(const std::string& path);

// Does the same, and also throws Error{kFile} if the folder has no config.json. The message says what the
// folder is instead, for example a cache, an adapter or a folder of GGUF files.
void require_checkpoint_folder(const std::string& path);

// Throws Error{kFile} for a checkpoint's folder that has no weights which can be read. The message names the
// weights of other formats that are there.
[[noreturn]] void refuse_without_weights(const std::string& folder);

// Returns whether the folder has an entry of that name, of whatever kind: also a link that leads nowhere, and
// a file that may not be read. Opening it says what is wrong with it. (std::filesystem::exists is false for
// the first, and throws for a link that leads to itself.)
bool has_entry(const std::string& path);

// Throws Error{kFile} if a file that begins with these bytes is a Git LFS pointer or a web page, which some
// ways to download a repository leave in place of its files. `path` names the file in the message.
void refuse_stand_in(const std::string& path, std::string_view begin);

}  // namespace seer
