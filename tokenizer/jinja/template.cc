#include "tokenizer/jinja/template.h"

#include <algorithm>
#include <utility>

#include "engine/base/json.h"
#include "tokenizer/jinja/errors.h"
#include "tokenizer/jinja/interpreter.h"
#include "tokenizer/jinja/lexer.h"
#include "tokenizer/jinja/parser.h"
#include "tokenizer/jinja/resolve.h"
#include "tokenizer/utf8.h"

namespace seer::jinja {
namespace {

using Json = OrderedJson;

// The interpreter handles UTF-8 only. Its input is checked here: sources and values.
std::string not_utf8(std::string_view text, size_t at) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  const auto byte = static_cast<unsigned char>(text[at]);
  return std::string("expected UTF-8, found the byte 0x") + kDigits[byte >> 4] + kDigits[byte & 15];
}

void check_source(const std::string& name, std::string_view source) {
  const size_t good = utf8_prefix(source);
  if (good == source.size()) return;
  const auto line = 1 + std::count(source.begin(), source.begin() + static_cast<std::ptrdiff_t>(good), '\n');
  throw Error(ErrorKind::kFile, name + ":" + std::to_string(line) + ": " + not_utf8(source, good));
}

Value string_value(const std::string& text, bool messages) {
  const size_t good = utf8_prefix(text);
  if (good != text.size())
    throw Error(ErrorKind::kUsage, std::string(messages ? "the messages" : "a template's variables") +
                                       " have text of another encoding: " + not_utf8(text, good));
  TextBuilder builder;
  builder.append(text, messages);
  return Value::string(builder.take());
}

// Converts JSON to a value. Parts of `json` are released once they are read, so that large data are not in
// memory twice.
Value from_json(Json json, bool messages) {
  Meter::step();
  switch (json.type()) {
    case Json::value_t::null:
      return Value::none();
    case Json::value_t::boolean:
      return Value::boolean(json.get<bool>());
    case Json::value_t::number_integer:
      return Value::integer(json.get<int64_t>());
    case Json::value_t::number_unsigned:
      if (json.get<uint64_t>() > INT64_MAX)
        fail(ErrorType::kUnsupported,
             "the integer " + json.dump() + " has more than 64 bits, which is not supported");
      return Value::integer(json.get<int64_t>());
    case Json::value_t::number_float:
      return Value::real(json.get<double>());
    case Json::value_t::string:
      return string_value(json.get_ref<const std::string&>(), messages);
    case Json::value_t::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (Json& item : json) items.push_back(from_json(std::move(item), messages));
      return Value::list(std::move(items));
    }
    case Json::value_t::object: {
      std::vector<std::pair<Value, Value>> items;
      items.reserve(json.size());
      for (auto& [key, value] : json.get_ref<Json::object_t&>())
        items.emplace_back(string_value(key, messages), from_json(std::move(value), messages));
      return make_dict(std::move(items));
    }
    default:
      fail(ErrorType::kUnsupported, "JSON of an unknown type is not supported");
  }
}

void add_variables(Json object, bool messages, const Program& program, std::vector<Value>* variables) {
  if (object.is_null()) return;
  if (!object.is_object())
    throw Error(ErrorKind::kUsage,
                program.name + ": expected an object of variables, found " + object.type_name());
  for (auto& [name, value] : object.get_ref<Json::object_t&>()) {
    const auto it = program.variable_numbers.find(name);
    if (it != program.variable_numbers.end())
      (*variables)[static_cast<size_t>(it->second)] = from_json(std::move(value), messages);
  }
}

std::string at_line(const Program& program, int line) {
  return program.name + ":" + std::to_string(line) + ": ";
}

// Returns the beginning of a text for a message. A template's own words, and values that an error shows, may
// be as long as the template's memory allows.
std::string shown(const std::string& text) {
  constexpr size_t kShown = 1000;
  if (text.size() <= kShown) return text;
  size_t end = kShown;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end) + "... (" + std::to_string(text.size()) + " bytes)";
}

[[noreturn]] void rethrow(const Program& program, int line, const RenderError& error) {
  const std::string text = shown(error.what());
  if (error.type() != ErrorType::kRaised) throw Error(ErrorKind::kUnsupported, at_line(program, line) + text);
  throw RaisedError(text.empty() ? at_line(program, line) + "the template refuses the messages without a word"
                                 : text);
}

MarkedText marked(Text text) { return {std::move(text.bytes), std::move(text.runs)}; }

}  // namespace

Template Template::parse(std::string_view source, std::string name) {
  if (source.size() > kMaxSource)
    throw Error(ErrorKind::kUnsupported,
                name + ": a template of more than " + std::to_string(kMaxSource) + " bytes is not supported");
  check_source(name, source);
  auto program = std::make_shared<Program>();
  program->name = std::move(name);
  Parser(tokenize(source, program->name), program.get()).parse();
  const Meter meter({}, program->name);
  resolve(program.get());
  return Template(std::move(program));
}

MarkedText Template::render(Json variables_from_files, Json variables_from_messages,
                            const RenderOptions& options) const {
  const Program& program = *program_;
  const Meter meter(options.limits, program.name);
  std::vector<Value> variables(program.variables.size());
  try {
    add_variables(std::move(variables_from_files), false, program, &variables);
    add_variables(std::move(variables_from_messages), true, program, &variables);
  } catch (const RenderError& error) {
    throw Error(ErrorKind::kUnsupported, program.name + ": " + error.what());
  }
  Interpreter interpreter(program, std::move(variables),
                          options.now == -1 ? std::time(nullptr) : options.now);
  try {
    return marked(interpreter.run());
  } catch (const RenderError& error) {
    rethrow(program, interpreter.line(), error);
  }
}

bool Template::refers_to(std::string_view variable) const { return program_->reads.count(variable) != 0; }

}  // namespace seer::jinja
