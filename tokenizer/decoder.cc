#include "tokenizer/decoder.h"

#include <algorithm>
#include <utility>

#include "seer/error.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/characters.h"
#include "tokenizer/json_file.h"
#include "tokenizer/json_node.h"
#include "tokenizer/utf8.h"
#include "tokenizer/utf8_stream.h"

namespace seer {
namespace {

constexpr const char* kReplacementCharacter = "\xEF\xBF\xBD";

using Names = std::vector<std::string>;

std::string join(const Names& names) {
  std::string all;
  for (const std::string& name : names) all += name;
  return all;
}

bool is_utf8(std::string_view bytes) {
  while (!bytes.empty()) {
    const Utf8Step step = utf8_step(bytes);
    if (step.kind != Utf8Step::Kind::kCharacter) return false;
    bytes.remove_prefix(step.size);
  }
  return true;
}

// Each run of tokens such as "<0x0A>" becomes one token.
Names without_byte_tokens(const Names& names) {
  Names out;
  std::string run;
  const auto end_run = [&] {
    if (run.empty()) return;
    std::string text;
    if (!is_utf8(run))
      for (size_t i = 0; i < run.size(); ++i) text += kReplacementCharacter;
    out.push_back(text.empty() ? run : std::move(text));
    run.clear();
  };
  for (const std::string& name : names) {
    if (const int byte = byte_of_piece(name); byte >= 0) {
      run += static_cast<char>(byte);
    } else {
      end_run();
      out.push_back(name);
    }
  }
  end_run();
  return out;
}

std::string valid_utf8(std::string_view bytes) {
  Utf8Stream stream;
  const std::string text = stream.push(bytes);
  return text + stream.finish();
}

}  // namespace

TokenDecoder::TokenDecoder(const Json& tokenizer, const std::string& path) {
  const auto it = tokenizer.find("decoder");
  if (it == tokenizer.end() || it->is_null())
    throw Error(ErrorKind::kUnsupported,
                path +
                    ": decoder: none is there, so that spaces would be put between the tokens; expected "
                    "ByteLevel, Metaspace, or a Sequence of Replace, ByteFallback, Fuse and Strip");
  add(*it, path + ": decoder");
  check_order(path + ": decoder");
}

TokenDecoder TokenDecoder::of_sentencepiece(bool strips) {
  TokenDecoder decoder;
  decoder.steps_ = {{Kind::kReplace, std::string(kVisibleSpace), " "},
                    {Kind::kByteFallback, {}, {}},
                    {Kind::kFuse, {}, {}}};
  if (strips) decoder.steps_.push_back({Kind::kStrip, {}, {}});
  return decoder;
}

void TokenDecoder::add(const Json& node, const std::string& path) {
  const auto refuse = [&](const std::string& what, const char* expected) {
    throw Error(ErrorKind::kUnsupported, path + ": " + what + " is not supported; expected " + expected);
  };
  const std::string type = node_type(node, path);
  if (type == "Sequence") {
    for (const Json& part : node_list(node, "decoders", path)) add(part, path);
  } else if (type == "ByteLevel") {
    steps_.push_back({Kind::kByteLevel, {}, {}});
  } else if (type == "ByteFallback") {
    steps_.push_back({Kind::kByteFallback, {}, {}});
  } else if (type == "Fuse") {
    steps_.push_back({Kind::kFuse, {}, {}});
  } else if (type == "Metaspace") {
    const bool add_prefix = json_bool(node, "add_prefix_space", true, path);  // an older name of the setting
    const std::string scheme =
        json_string(node, "prepend_scheme", path).value_or(add_prefix ? "always" : "never");
    steps_.push_back({Kind::kMetaspace,
                      json_string(node, "replacement", path).value_or(std::string(kVisibleSpace)), " ",
                      scheme != "never"});
  } else if (type == "Replace") {
    const std::string pattern = node_pattern(node, "String", path);
    if (utf8_step(pattern).size != pattern.size()) refuse("Replace of several characters", "one");
    steps_.push_back({Kind::kReplace, pattern, json_string(node, "content", path).value_or("")});
  } else if (type == "Strip") {
    const auto number = [&](const char* key) { return node.value(key, Json(0)); };
    if (json_string(node, "content", path).value_or("") != " " || number("start") != 1 || number("stop") != 0)
      refuse("Strip of anything but one space at the start", "content ' ', start 1, stop 0");
    steps_.push_back({Kind::kStrip, {}, {}});
  } else {
    refuse("type '" + type + "'",
           "ByteLevel, Metaspace, or a Sequence of Replace, ByteFallback, Fuse and Strip");
  }
}

// Checks that tokens decoded one by one, as a text is generated, give the same text as decode() for all
// tokens. So steps after Fuse may change only single characters and the beginning of the text.
void TokenDecoder::check_order(const std::string& path) const {
  bool fused = false;
  for (const Step& step : steps_) {
    const bool fine =
        !fused || step.kind == Kind::kFuse || step.kind == Kind::kReplace || step.kind == Kind::kStrip;
    if (!fine)
      throw Error(ErrorKind::kUnsupported,
                  path +
                      ": ByteLevel, ByteFallback or Metaspace after Fuse or ByteLevel is "
                      "not supported; expected them to come first");
    fused = fused || step.kind == Kind::kFuse || step.kind == Kind::kByteLevel;
  }
}

namespace {

constexpr size_t kMaxDecoderGrowth = 16;
constexpr size_t kMinDecoderLimit = size_t{1} << 16;

// Throws if the text has grown too much. A file's steps could double it many times.
void check_growth(size_t before, size_t now) {
  if (now > kMaxDecoderGrowth * before + kMinDecoderLimit)
    throw Error(ErrorKind::kUnsupported, "the decoder of tokenizer.json makes " + std::to_string(now) +
                                             " bytes of tokens of " + std::to_string(before) +
                                             "; expected steps that do not let the text grow without bound");
}

size_t total_size(const std::vector<std::string>& names) {
  size_t n = 0;
  for (const std::string& name : names) n += name.size();
  return n;
}

}  // namespace

std::string TokenDecoder::decode(Names names) const {
  const size_t before = total_size(names);
  for (const Step& step : steps_) {
    switch (step.kind) {
      case Kind::kByteLevel:
        for (std::string& name : names) name = bytes_of_byte_level(name).value_or(name);
        names = {valid_utf8(join(names))};
        break;
      case Kind::kByteFallback:
        names = without_byte_tokens(names);
        break;
      case Kind::kFuse:
        names = {join(names)};
        break;
      case Kind::kMetaspace:
        for (size_t i = 0; i < names.size(); ++i)
          replace_all(&names[i], step.pattern, i == 0 && step.prepended ? "" : step.content);
        break;
      case Kind::kReplace:
        for (std::string& name : names) replace_all(&name, step.pattern, step.content);
        check_growth(before, total_size(names));
        break;
      case Kind::kStrip:
        for (std::string& name : names)
          if (name.starts_with(' ')) name.erase(0, 1);
        break;
    }
  }
  return join(names);
}

std::string TokenDecoder::piece(std::string_view name) const {
  std::string bytes(name);
  bool fused = false;
  for (const Step& step : steps_) {
    switch (step.kind) {
      case Kind::kByteLevel:
        bytes = bytes_of_byte_level(bytes).value_or(bytes);
        fused = true;
        break;
      case Kind::kByteFallback:
        if (const int byte = byte_of_piece(bytes); byte >= 0) bytes.assign(1, static_cast<char>(byte));
        break;
      case Kind::kFuse:
        fused = true;
        break;
      case Kind::kMetaspace:
      case Kind::kReplace:
        replace_all(&bytes, step.pattern, step.content);
        check_growth(name.size(), bytes.size());
        break;
      case Kind::kStrip:
        if (!fused && bytes.starts_with(' ')) bytes.erase(0, 1);
        break;
    }
  }
  return bytes;
}

std::string TokenDecoder::name_of_added(const std::string& content) const {
  const bool byte_level = std::any_of(steps_.begin(), steps_.end(),
                                      [](const Step& step) { return step.kind == Kind::kByteLevel; });
  const auto bytes = byte_level ? bytes_of_byte_level(content) : std::nullopt;
  return bytes && !is_utf8(*bytes) ? byte_level_piece(content) : content;
}

bool TokenDecoder::strips_first_space() const {
  bool fused = false;
  for (const Step& step : steps_) {
    if ((step.kind == Kind::kStrip && fused) || step.prepended) return true;
    fused = fused || step.kind == Kind::kFuse || step.kind == Kind::kByteLevel;
  }
  return false;
}

}  // namespace seer
