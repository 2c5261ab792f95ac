#include "tools/seer/serve/answers/json_byte_reader.h"

#include <cctype>
#include <cstring>

#include "engine/base/json.h"

namespace seer::serve {
namespace {

constexpr size_t kMaxArgumentDepth =
    64;  // the limit of a request too, because an answer comes back in the next one

bool is_json_space(char byte) { return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r'; }

bool may_be_in_number(char byte) {
  return std::isdigit(static_cast<unsigned char>(byte)) != 0 ||
         (byte != '\0' && std::strchr("+-.eE", byte) != nullptr);
}

}  // namespace

JsonByteReader::Progress JsonByteReader::push(char byte) {
  bool good = false;
  switch (place_) {
    case Place::kString:
      good = in_string(byte);
      break;
    case Place::kNumber:
      good = in_number(byte);
      break;
    case Place::kLiteral:
      good = in_literal(byte);
      break;
    default:
      good = is_json_space(byte) ? place_ != Place::kDone : in_structure(byte);
  }
  if (!good) return Progress::kBad;
  return place_ == Place::kDone ? Progress::kEnd : Progress::kMore;
}

bool JsonByteReader::in_structure(char byte) {
  switch (place_) {
    case Place::kFirstValue:
      return byte == ']' ? close(byte) : begin_value(byte);
    case Place::kValue:
      return begin_value(byte);
    case Place::kFirstKey:
      if (byte == '}') return close(byte);
      [[fallthrough]];
    case Place::kKey:
      is_key_ = true;
      place_ = Place::kString;
      return byte == '"';
    case Place::kColon:
      place_ = Place::kValue;
      return byte == ':';
    case Place::kAfter:
      if (byte != ',') return close(byte);
      place_ = open_.back() == '{' ? Place::kKey : Place::kValue;
      return true;
    default:
      return false;
  }
}

bool JsonByteReader::begin_value(char byte) {
  switch (byte) {
    case '{':
      return open(byte, Place::kFirstKey);
    case '[':
      return open(byte, Place::kFirstValue);
    case '"':
      is_key_ = false;
      place_ = Place::kString;
      return true;
    case 't':
      literal_ = "rue";
      break;
    case 'f':
      literal_ = "alse";
      break;
    case 'n':
      literal_ = "ull";
      break;
    default:
      if (byte != '-' && std::isdigit(static_cast<unsigned char>(byte)) == 0) return false;
      number_ = byte;
      place_ = Place::kNumber;
      return true;
  }
  place_ = Place::kLiteral;
  return true;
}

bool JsonByteReader::open(char byte, Place first) {
  if (open_.size() == kMaxArgumentDepth) return false;
  open_.push_back(byte);
  place_ = first;
  return true;
}

bool JsonByteReader::close(char byte) {
  if (open_.empty() || byte != (open_.back() == '{' ? '}' : ']')) return false;
  open_.pop_back();
  value_ended();
  return true;
}

void JsonByteReader::value_ended() { place_ = open_.empty() ? Place::kDone : Place::kAfter; }

bool JsonByteReader::in_string(char byte) {
  if (escape_ > 0) {
    --escape_;
    return std::isxdigit(static_cast<unsigned char>(byte)) != 0;
  }
  if (escape_ < 0) {
    escape_ = byte == 'u' ? 4 : 0;
    return byte != '\0' && std::strchr("\"\\/bfnrtu", byte) != nullptr;
  }
  if (byte == '\\') {
    escape_ = -1;
  } else if (byte == '"') {
    if (is_key_) {
      place_ = Place::kColon;
    } else {
      value_ended();
    }
  }
  return static_cast<unsigned char>(byte) >= ' ';
}

bool JsonByteReader::in_number(char byte) {
  if (may_be_in_number(byte)) {
    number_ += byte;
    return true;
  }
  if (!Json::accept(number_) || open_.empty()) return false;
  value_ended();
  return is_json_space(byte) || in_structure(byte);
}

bool JsonByteReader::in_literal(char byte) {
  if (byte != literal_.front()) return false;
  literal_.erase(0, 1);
  if (literal_.empty()) value_ended();
  return true;
}

}  // namespace seer::serve
