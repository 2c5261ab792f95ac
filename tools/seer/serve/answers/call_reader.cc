#include "tools/seer/serve/answers/call_reader.h"

#include <utility>

#include "engine/base/json.h"
#include "tools/seer/serve/answers/white_space.h"

namespace seer::serve {
namespace {

using Json = OrderedJson;
using Place = JsonByteReader::Place;
using Progress = JsonByteReader::Progress;

// Returns the text of a JSON string, or an empty text for anything else.
std::string unquoted(const std::string& text) {
  const Json value = Json::parse(text, nullptr, false);
  return value.is_string() ? value.get<std::string>() : std::string();
}

bool is_object(const std::string& text) { return Json::parse(text, nullptr, false).is_object(); }

bool is_arguments(const std::string& key) { return key == "arguments" || key == "parameters"; }

}  // namespace

std::string CallReader::take_arguments() { return std::exchange(arguments_, {}); }

Progress CallReader::push(char byte) {
  if (!bare_) return push_member(byte);
  const bool outside = reader_.depth() == 0;
  if (outside && is_space(byte)) return Progress::kMore;
  if (outside && byte != '{') return Progress::kBad;
  const Progress progress = reader_.push(byte);
  if (progress == Progress::kBad) return progress;
  arguments_ += byte;
  arguments_begun_ |= !outside && !is_space(byte);
  has_arguments_ = true;
  return progress;
}

Progress CallReader::push_member(char byte) {
  const size_t depth = reader_.depth();
  if (depth == 0 && !is_space(byte) && byte != '{') return Progress::kBad;
  const Place place = reader_.place();
  const Progress progress = reader_.push(byte);
  if (progress == Progress::kBad || depth == 0) return progress;
  const bool in_call = depth == 1 && reader_.depth() <= 1;
  if (!in_value_) {
    if (reader_.place() == Place::kString || place == Place::kString) key_ += byte;
    in_value_ = in_call && place == Place::kColon && reader_.place() == Place::kValue;
    if (in_value_) key_ = unquoted(key_);
  } else if (in_call && (reader_.depth() == 0 || reader_.place() == Place::kKey)) {
    if (!end_value()) return Progress::kBad;
    in_value_ = false;
    key_.clear();
  } else if (!in_call || place == Place::kString || !is_space(byte)) {
    in_value(byte);
  }
  if (progress == Progress::kEnd && name_.empty()) return Progress::kBad;
  if (progress == Progress::kEnd && !has_arguments_) arguments_ = "{}";
  return progress;
}

void CallReader::in_value(char byte) {
  value_ += byte;
  if (!is_arguments(key_) || has_arguments_ || value_.front() != '{') return;
  arguments_ += byte;
  arguments_begun_ |= value_.size() > 1 && !is_space(byte);
}

// Takes one member of the call's object. Returns false if that makes it no call.
bool CallReader::end_value() {
  const std::string value = std::exchange(value_, {});
  if (key_ == "name") {
    name_ = unquoted(value);
    return !name_.empty();
  }
  if (!is_arguments(key_) || has_arguments_) return true;
  if (value == "null") return true;
  if (value.front() == '"') {  // some models write the text of the object
    arguments_ = unquoted(value);
    if (!is_object(arguments_)) return false;
    arguments_begun_ = true;
  } else if (value.front() != '{') {
    return false;
  }
  has_arguments_ = true;
  return true;
}

}  // namespace seer::serve
