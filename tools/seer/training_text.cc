#include "tools/seer/training_text.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <string_view>

#include "engine/base/json_reader.h"
#include "seer/error.h"
#include "tools/seer/input.h"
#include "tools/seer/interrupt.h"

namespace seer::cli {
namespace {

namespace fs = std::filesystem;

bool is_training_file(const fs::path& path) {
  static constexpr std::array<std::string_view, 4> kEndings = {".txt", ".md", ".jsonl", ".ids"};
  return std::find(kEndings.begin(), kEndings.end(), path.extension().string()) != kEndings.end();
}

std::vector<std::string> files_of(const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return {path};
  std::vector<std::string> files;
  for (fs::recursive_directory_iterator i(path, error), end; !error && i != end; i.increment(error))
    if (is_training_file(i->path()) && fs::is_regular_file(i->path())) files.push_back(i->path().string());
  if (error) throw Error(ErrorKind::kFile, "cannot read " + path + ": " + error.message());
  if (files.empty())
    throw Error(ErrorKind::kUsage,
                path + ": expected files that end in .txt, .md, .jsonl or .ids in this folder, found none");
  std::sort(files.begin(), files.end());
  return files;
}

class Reader {
 public:
  explicit Reader(std::string model_dir) : model_dir_(std::move(model_dir)) {}

  void add(const std::string& path) {
    const std::string ending = fs::path(path).extension().string();
    const std::string bytes = read_bytes(path);
    if (ending == ".ids") {
      const std::vector<int32_t> ids = parse_ids(bytes, path);
      tokens_.insert(tokens_.end(), ids.begin(), ids.end());
    } else if (ending == ".jsonl") {
      add_lines(bytes, path);
    } else {
      add_text(bytes);
    }
  }
  std::vector<int32_t> take() { return std::move(tokens_); }

 private:
  void add_text(std::string_view text) {
    if (tokenizer_ == nullptr) tokenizer_ = Tokenizer::load(model_dir_);
    const std::vector<int32_t> ids = tokenizer_->encode(text, false, false, {-1, throw_if_interrupted});
    tokens_.insert(tokens_.end(), ids.begin(), ids.end());
  }

  void add_lines(const std::string& bytes, const std::string& path) {
    int64_t number = 0;
    for (size_t begin = 0; begin < bytes.size();) {
      const size_t end = std::min(bytes.find('\n', begin), bytes.size());
      const std::string_view line(bytes.data() + begin, end - begin);
      ++number;
      begin = end + 1;
      if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
      add_text(text_of(line, path + ": line " + std::to_string(number)));
    }
  }

  static std::string text_of(std::string_view line, const std::string& where) {
    Json object;
    try {
      object = read_json(line);
    } catch (const JsonError& error) {
      throw Error(ErrorKind::kFile, where + ": expected a JSON object: " + error.what());
    }
    const auto text = object.is_object() ? object.find("text") : object.end();
    if (text == object.end() || !text->is_string())
      throw Error(ErrorKind::kFile,
                  where + ": expected an object whose key text is a text, found " + json_excerpt(object));
    return text->get<std::string>();
  }

  std::string model_dir_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::vector<int32_t> tokens_;
};

}  // namespace

std::vector<int32_t> read_training_text(const std::vector<std::string>& paths, const std::string& model_dir) {
  Reader reader(model_dir);
  for (const std::string& path : paths)
    for (const std::string& file : files_of(path)) {
      throw_if_interrupted();
      reader.add(file);
    }
  return reader.take();
}

}  // namespace seer::cli
