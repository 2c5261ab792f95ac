#include "models/checkpoint_folder.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "models/json_util.h"
#include "seer/error.h"

namespace seer {
namespace {

namespace fs = std::filesystem;

constexpr size_t kNamesShown = 4;  // folders or files that a message lists
constexpr int64_t kMaxAdapterConfig = int64_t{1} << 20;

constexpr const char* kExpected =
    "expected a folder with a Hugging Face checkpoint (config.json, *.safetensors and tokenizer files)";

[[noreturn]] void refuse(const std::string& path, const std::string& what) {
  throw Error(ErrorKind::kFile, path + ": " + what);
}

// The names in a folder in order, or none if it cannot be read.
std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    names.push_back(it->path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::string list(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < std::min(kNamesShown, names.size()); ++i) text += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > kNamesShown) text += " and " + std::to_string(names.size() - kNamesShown) + " more";
  return text;
}

// The names that begin and end as given.
std::vector<std::string> matching(const std::vector<std::string>& names, const std::string& begin,
                                  const std::string& end) {
  std::vector<std::string> found;
  for (const std::string& name : names)
    if (name.size() >= begin.size() + end.size() && name.starts_with(begin) && name.ends_with(end))
      found.push_back(name);
  return found;
}

// The folders directly below `folder` that hold a config.json.
std::vector<std::string> checkpoints_in(const fs::path& folder) {
  std::vector<std::string> found;
  for (const std::string& name : names_in(folder))
    if (has_entry(folder / name / "config.json")) found.push_back((folder / name).string());
  return found;
}

// The snapshots of every model in a Hugging Face cache, which holds folders such as "models--org--name".
std::vector<std::string> snapshots_in_cache(const fs::path& cache) {
  std::vector<std::string> found;
  for (const std::string& name : matching(names_in(cache), "models--", "")) {
    const std::vector<std::string> of_model = checkpoints_in(cache / name / "snapshots");
    found.insert(found.end(), of_model.begin(), of_model.end());
  }
  return found;
}

// Where the Hugging Face libraries keep their cache, by their own environment variables.
fs::path hub_cache() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return fs::path(value == nullptr ? "" : value);
  };
  if (fs::path cache = variable("HF_HUB_CACHE"); !cache.empty()) return cache;
  if (const fs::path home = variable("HF_HOME"); !home.empty()) return home / "hub";
  if (const fs::path xdg = variable("XDG_CACHE_HOME"); !xdg.empty()) return xdg / "huggingface/hub";
  return variable("HOME") / ".cache/huggingface/hub";
}

// Returns whether a path has the form of a name on the hub: "organisation/model".
bool is_hub_name(const std::string& path) {
  const size_t slash = path.find('/');
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == '/';
  };
  return slash != path.npos && slash > 0 && slash + 1 < path.size() && path.rfind('/') == slash &&
         path[0] != '.' && std::all_of(path.begin(), path.end(), allowed);
}

[[noreturn]] void refuse_missing(const std::string& path) {
  if (!is_hub_name(path)) refuse(path, "there is no such folder; " + std::string(kExpected));
  const std::string what = "there is no such folder. ";
  std::string cached = "models--" + path;
  cached.replace(cached.find('/'), 1, "--");
  const std::vector<std::string> snapshots = checkpoints_in(hub_cache() / cached / "snapshots");
  if (!snapshots.empty()) refuse(path, what + "The cache has this model: use " + list(snapshots));
  refuse(path,
         what + "If it is a name on the Hugging Face hub: models are not downloaded here. Run 'hf download " +
             path + "', and use the folder that it prints.");
}

[[noreturn]] void refuse_file(const std::string& path) {
  if (path.ends_with(".gguf"))
    refuse(path, "GGUF is not read: use the folder of the safetensors checkpoint that it was made from");
  const fs::path parent = fs::path(path).parent_path();
  refuse(path, "found a file; expected the folder that holds it: use " +
                   (parent.empty() ? std::string(".") : parent.string()));
}

std::string adapter_advice(const fs::path& folder) {
  std::string base = "its base model";
  try {
    const std::string path = (folder / "adapter_config.json").string();
    const JsonReader config(read_json_object(path, kMaxAdapterConfig), path);
    base = config.optional_string("base_model_name_or_path").value_or(base);
  } catch (const Error&) {  // the file is only read to say more
  }
  return "this is an adapter (adapter_config.json), not a whole model. Merge it into " + base +
         " with merge_and_unload of the peft library, save the result with save_pretrained, and use that "
         "folder";
}

// Returns advice about a folder without config.json: what it seems to be, and what to give instead.
std::string folder_advice(const fs::path& folder) {
  const std::vector<std::string> names = names_in(folder);
  const auto has = [&](const char* name) { return std::binary_search(names.begin(), names.end(), name); };
  if (names.empty()) return std::string("the folder is empty; ") + kExpected;
  if (has("adapter_config.json")) return adapter_advice(folder);
  if (has("model_index.json"))
    return "this is a diffusers pipeline (model_index.json), which is not supported; " +
           std::string(kExpected);
  if (has("snapshots")) {
    const std::vector<std::string> snapshots = checkpoints_in(folder / "snapshots");
    return "this is a model's folder in the Hugging Face cache, whose files are in its snapshots: " +
           (snapshots.empty() ? "none is complete, so download the model again" : "use " + list(snapshots));
  }
  if (!matching(names, "models--", "").empty()) {
    const std::vector<std::string> snapshots = snapshots_in_cache(folder);
    return "this is the Hugging Face cache" + (snapshots.empty()
                                                   ? ", which has no complete model"
                                                   : ": use one of its models, " + list(snapshots));
  }
  if (const std::vector<std::string> below = checkpoints_in(folder); !below.empty())
    return "there is no config.json here, but there is one below: use " + list(below);
  if (const std::vector<std::string> gguf = matching(names, "", ".gguf"); !gguf.empty())
    return "GGUF is not read (" + list(gguf) +
           "): use the folder of the safetensors checkpoint that it was made from";
  if (has("params.json"))
    return "params.json belongs to a checkpoint in its maker's own format: use the Hugging Face version of "
           "the "
           "model";
  return std::string("config.json is missing; ") + kExpected;
}

}  // namespace

bool has_entry(const std::string& path) {
  struct stat info {};
  return lstat(path.c_str(), &info) == 0 || (errno != ENOENT && errno != ENOTDIR && errno != ENAMETOOLONG);
}

void require_folder(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return;
  if (fs::exists(path, error)) refuse_file(path);
  if (error && error != std::errc::no_such_file_or_directory)
    refuse(path, "cannot be opened: " + error.message());
  refuse_missing(path);
}

void require_checkpoint_folder(const std::string& path) {
  require_folder(path);
  if (!has_entry(fs::path(path) / "config.json")) refuse(path, folder_advice(path));
}

void refuse_without_weights(const std::string& folder) {
  const std::vector<std::string> names = names_in(folder);
  const std::string expected = "expected model.safetensors or model.safetensors.index.json, found ";
  const auto say = [&](const std::string& begin, const std::string& end, const std::string& advice) {
    if (const std::vector<std::string> found = matching(names, begin, end); !found.empty())
      refuse(folder, expected + list(found) + ". " + advice);
  };
  const std::string convert =
      "Load the model with the transformers library and save it with save_pretrained, which writes "
      "safetensors.";
  if (has_entry(fs::path(folder) / "adapter_config.json")) refuse(folder, adapter_advice(folder));
  say("model-", ".safetensors", "The index, which says what each file holds, is missing: download it too.");
  say("pytorch_model", ".bin", convert);
  say("", ".gguf", "GGUF is not read: use the safetensors checkpoint that it was made from.");
  say("consolidated", "", "That is its maker's own format: use the Hugging Face version of the model.");
  say("", ".safetensors", "If it is the whole model, name it model.safetensors.");
  for (const char* end : {".bin", ".pt", ".pth", ".h5", ".msgpack", ".ckpt"}) say("", end, convert);
  refuse(folder, expected + "neither. Download the model's weights too.");
}

void refuse_stand_in(const std::string& path, std::string_view begin) {
  if (begin.starts_with("version https://git-lfs.github.com/spec/"))
    refuse(path, "this is a Git LFS pointer and not the file itself: run 'git lfs pull' in its folder");
  for (const char* html : {"<!DOCTYPE html", "<!doctype html", "<html"})
    if (begin.starts_with(html))
      refuse(path,
             "this is a web page and not the file itself: download the file again, from its address "
             "with 'resolve' in place of 'blob'");
}

}  // namespace seer
