// Folders that people give in place of a checkpoint's, and the messages that they get.
#include "models/checkpoint_folder.h"

#include <cstdlib>
#include <filesystem>
#include <optional>

#include "models/config.h"
#include "models/safetensors.h"
#include "tests/models/refusal.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer {
namespace {

namespace fs = std::filesystem;
using testing::refusal;

constexpr const char* kPointer =
    "version https://git-lfs.github.com/spec/v1\noid sha256:0123456789abcdef\nsize 4976698672\n";

class Folder {
 public:
  Folder& add(const std::string& name, const std::string& text = "x") {
    fs::create_directories((dir_.path() / name).parent_path());
    testing::write_file(dir_.path() / name, text);
    return *this;
  }
  std::string path(const std::string& name = "") const {
    return name.empty() ? dir_.path().string() : (dir_.path() / name).string();
  }
  std::string refused(const std::string& name = "") const {
    return refusal(ErrorKind::kFile, [&] { require_checkpoint_folder(path(name)); });
  }
  std::string refused_weights() const {
    return refusal(ErrorKind::kFile, [&] { read_checkpoint(path()); });
  }

 private:
  testing::TempDir dir_;
};

// Sets an environment variable for a scope.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    setenv(name, value.c_str(), 1);
  }
  ~Variable() {
    if (old_) {
      setenv(name_, old_->c_str(), 1);
    } else {
      unsetenv(name_);
    }
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
  std::optional<std::string> old_;
};

TEST_CASE("a Git LFS pointer in place of any file is named with the command that fetches it") {
  Folder folder;
  folder.add("config.json", kPointer);
  CHECK_THAT(
      refusal(ErrorKind::kFile, [&] { ModelConfig::load(folder.path()); }),
      ContainsSubstring("config.json: this is a Git LFS pointer") && ContainsSubstring("git lfs pull"));
  folder.add("model.safetensors", kPointer);
  CHECK_THAT(folder.refused_weights(), ContainsSubstring("model.safetensors: this is a Git LFS pointer") &&
                                           ContainsSubstring("git lfs"));
}

TEST_CASE("a web page in place of a file is named") {
  Folder folder;
  folder.add("model.safetensors", "<!DOCTYPE html>\n<html><body>Sign in</body></html>");
  CHECK_THAT(folder.refused_weights(), ContainsSubstring("this is a web page"));
}

TEST_CASE("a name on the hub is told from a path, and the local cache is searched for it") {
  Folder cache;
  const Variable variable("HF_HUB_CACHE", cache.path());
  const auto refused = [](const std::string& path) {
    return refusal(ErrorKind::kFile, [&] { require_folder(path); });
  };
  CHECK_THAT(refused("some-org/Model-1.5"), ContainsSubstring("hf download some-org/Model-1.5"));
  cache.add("models--some-org--Model-1.5/snapshots/abc123/config.json", "{}");
  CHECK_THAT(refused("some-org/Model-1.5"),
             ContainsSubstring("use " + cache.path("models--some-org--Model-1.5/snapshots/abc123")));
  for (const char* path :
       {"/some/folder", "./some/folder", "../folder", "folder", "a/b/c", "some-org/", "~/model"}) {
    INFO(path);
    CHECK_THAT(refused(path), ContainsSubstring("there is no such folder; expected a folder"));
  }
}

TEST_CASE("a file in place of its folder is answered with the folder") {
  Folder folder;
  folder.add("config.json", "{}").add("model.safetensors").add("model-q4.gguf");
  CHECK_THAT(folder.refused("config.json"), ContainsSubstring("use " + folder.path()));
  CHECK_THAT(folder.refused("model.safetensors"), ContainsSubstring("use " + folder.path()));
  CHECK_THAT(folder.refused("model-q4.gguf"), ContainsSubstring("GGUF is not read"));
}

TEST_CASE(
    "the Hugging Face cache, and a model's folder in it, are answered with the snapshots that are there") {
  Folder cache;
  cache.add("models--org--name/refs/main", "abc").add("models--org--name/blobs/0123", "{}");
  CHECK_THAT(cache.refused("models--org--name"), ContainsSubstring("config.json is missing"));
  cache.add("models--org--name/snapshots/abc/README.md");
  CHECK_THAT(cache.refused("models--org--name"), ContainsSubstring("none is complete"));
  CHECK_THAT(cache.refused(), ContainsSubstring("no complete model"));
  cache.add("models--org--name/snapshots/abc/config.json", "{}");
  const std::string snapshot = cache.path("models--org--name/snapshots/abc");
  CHECK_THAT(cache.refused("models--org--name"), ContainsSubstring("use " + snapshot));
  CHECK_THAT(cache.refused("models--org--name/snapshots"), ContainsSubstring("use " + snapshot));
  CHECK_THAT(cache.refused(), ContainsSubstring(snapshot));
  require_checkpoint_folder(snapshot);
}

TEST_CASE("a folder that is something else says what it is") {
  CHECK_THAT(Folder().refused(), ContainsSubstring("the folder is empty"));
  CHECK_THAT(Folder().add("notes.txt").refused(), ContainsSubstring("config.json is missing"));
  CHECK_THAT(Folder().add("model-q4.gguf").refused(), ContainsSubstring("GGUF is not read (model-q4.gguf)"));
  CHECK_THAT(Folder().add("model_index.json", "{}").add("unet/config.json", "{}").refused(),
             ContainsSubstring("diffusers pipeline"));
  CHECK_THAT(Folder().add("params.json", "{}").add("consolidated.00.pth").refused(),
             ContainsSubstring("Hugging Face version"));
  Folder adapter;
  adapter.add("adapter_config.json", R"({"base_model_name_or_path": "org/base", "peft_type": "LORA"})");
  CHECK_THAT(adapter.refused(), ContainsSubstring("Merge it into org/base with merge_and_unload"));
  adapter.add("adapter_config.json", "not JSON");
  CHECK_THAT(adapter.refused(), ContainsSubstring("Merge it into its base model"));
}

TEST_CASE("a checkpoint without weights that can be read names those that are there") {
  const std::string expected = "expected model.safetensors or model.safetensors.index.json, found ";
  const auto refused = [](const std::vector<std::string>& files) {
    Folder folder;
    folder.add("config.json", "{}");
    for (const std::string& file : files) folder.add(file);
    return folder.refused_weights();
  };
  CHECK_THAT(refused({}), ContainsSubstring(expected + "neither"));
  CHECK_THAT(refused({"pytorch_model.bin"}),
             ContainsSubstring(expected + "pytorch_model.bin. ") && ContainsSubstring("save_pretrained"));
  CHECK_THAT(refused({"pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"}),
             ContainsSubstring("pytorch_model-00001-of-00002.bin, pytorch_model-00002-of-00002.bin"));
  CHECK_THAT(refused({"model-q4.gguf"}), ContainsSubstring(expected + "model-q4.gguf. GGUF is not read"));
  CHECK_THAT(refused({"model-00001-of-00002.safetensors"}), ContainsSubstring("index"));
  CHECK_THAT(refused({"consolidated.safetensors"}), ContainsSubstring("maker's own format"));
  CHECK_THAT(refused({"weights.safetensors"}), ContainsSubstring("name it model.safetensors"));
  CHECK_THAT(refused({"tf_model.h5"}), ContainsSubstring("save_pretrained"));
  CHECK_THAT(refused({"adapter_config.json", "adapter_model.safetensors"}), ContainsSubstring("adapter"));
}

}  // namespace
}  // namespace seer
