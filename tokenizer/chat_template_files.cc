// Finds the chat templates in a checkpoint's folder.
#include <filesystem>
#include <utility>

#include "engine/base/file_reader.h"
#include "seer/error.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/json_file.h"

namespace seer {
namespace {

namespace fs = std::filesystem;
using Texts = std::map<std::string, TemplateText>;

void read_template(const std::string& name, const fs::path& path, Texts* texts) {
  if (auto source = read_whole_file_if_there(path.string(), jinja::kMaxSource))
    (*texts)[name] = {path.string(), std::move(*source)};
}

Texts from_jinja_files(const fs::path& dir) {
  Texts texts;
  const fs::path more = dir / "additional_chat_templates";
  read_template("default", dir / "chat_template.jinja", &texts);
  std::error_code error;
  if (!fs::is_directory(more, error)) return texts;
  for (fs::directory_iterator entry(more, error), end; !error && entry != end; entry.increment(error))
    if (entry->path().extension() == ".jinja")
      read_template(entry->path().stem().string(), entry->path(), &texts);
  if (error) throw Error(ErrorKind::kFile, more.string() + ": cannot be listed: " + error.message());
  return texts;
}

// Reads "chat_template", which is a text or [{"name": "default", "template": "..."}, ...].
Texts from_json(const std::string& path) {
  Texts texts;
  const auto file = read_json_file(path);
  if (!file) return texts;
  const auto it = file->find("chat_template");
  if (it == file->end() || it->is_null()) return texts;
  const std::string origin = path + ": chat_template";
  if (it->is_string()) {
    texts["default"] = {origin, it->get<std::string>()};
    return texts;
  }
  if (!it->is_array())
    throw Error(ErrorKind::kFile, origin + ": expected a string or an array of named templates");
  for (const Json& named : *it) {
    const auto name = named.is_object() ? json_string(named, "name", origin) : std::nullopt;
    const auto text = named.is_object() ? json_string(named, "template", origin) : std::nullopt;
    if (!name || !text)
      throw Error(ErrorKind::kFile, origin + ": expected an array of objects with name and template");
    texts[*name] = {origin + " '" + *name + "'", *text};
  }
  return texts;
}

}  // namespace

Texts read_chat_templates(const std::string& model_dir) {
  const fs::path dir = model_dir;
  Texts texts = from_jinja_files(dir);
  if (texts.empty()) texts = from_json((dir / "tokenizer_config.json").string());
  if (texts.empty()) texts = from_json((dir / "chat_template.json").string());
  if (texts.empty() || texts.count("default") > 0) return texts;
  std::string names;
  for (const auto& [name, text] : texts) names += (names.empty() ? "'" : ", '") + name + "'";
  throw Error(ErrorKind::kFile, texts.begin()->second.origin +
                                    ": expected a chat template named 'default' among several, found " +
                                    names + ". Name a file with --chat-template.");
}

}  // namespace seer
