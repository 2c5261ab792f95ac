#include "tools/seer/serve/chat_messages.h"

#include <algorithm>
#include <utility>

#include "tools/seer/serve/api_error.h"

namespace seer::serve {
namespace {

std::string place(const std::string& array, size_t i) { return array + "[" + std::to_string(i) + "]"; }

[[noreturn]] void missing(const std::string& name, const std::string& expected) {
  throw ApiError(kBadRequest, "'" + name + "' is missing: expected " + expected, name, "missing_parameter");
}

std::string required_string(const JsonFields& fields, const char* name) {
  const std::optional<std::string> text = fields.string(name);
  if (!text) missing(fields.name(name), "a string");
  return *text;
}

// Returns a string, which is moved out of `value`, or text parts, which are joined by newlines.
std::string read_content(const JsonFields& message, Json& value) {
  const std::string name = message.name("content");
  if (value.is_string()) return std::move(value.get_ref<std::string&>());
  if (!value.is_array()) wrong_type(name, "a string or an array of text parts", value);
  std::string text;
  for (size_t i = 0; i < value.size(); ++i) {
    const std::string part_name = place(name, i);
    const Json& part = value[i];
    if (!part.is_object()) wrong_type(part_name, "an object", part);
    const JsonFields fields(part, part_name + ".");
    const std::optional<std::string> type = fields.string("type");
    if (type != "text")
      throw ApiError(kBadRequest,
                     "'" + part_name +
                         ".type': expected 'text', the only kind of part that this server reads, found " +
                         (type ? "'" + *type + "'" : "none"),
                     part_name + ".type", "unsupported_content");
    fields.check_known({"type", "text"}, {"cache_control"}, {});
    text += (i == 0 ? "" : "\n") + required_string(fields, "text");
  }
  return text;
}

size_t count_values(const Json& value) {
  size_t n = 1;
  if (value.is_structured())
    for (const Json& inner : value) n += count_values(inner);
  return n;
}

// Returns the value that the text of the arguments stands for, because templates write arguments as JSON. All
// texts of a request together may have as many values as its body.
Json read_arguments(const JsonFields& function, ValueLimit* values) {
  const Json* value = function.find("arguments");
  if (value == nullptr) return Json::object();
  const std::string name = function.name("arguments");
  if (value->is_object()) return *value;
  if (!value->is_string()) wrong_type(name, "the text of a JSON object", *value);
  const std::string& text = value->get_ref<const std::string&>();
  if (text.empty()) return Json::object();
  try {
    Json arguments = parse_json(text, "'" + name + "'", *values);
    values->left -= count_values(arguments);
    return arguments;
  } catch (const JsonError&) {
    return *value;  // the model may have written it, and may want to see it again
  }
}

Json read_tool_call(const Json& value, const std::string& name, ValueLimit* values) {
  if (!value.is_object()) wrong_type(name, "an object with a function", value);
  const JsonFields fields(value, name + ".");
  fields.check_known({"id", "type", "function"}, {"index"}, {});
  if (const std::optional<std::string> type = fields.string("type"); type && *type != "function")
    refuse(name + ".type", "expected 'function', found '" + *type + "'", "invalid_value");
  const Json* function = fields.find("function");
  if (function == nullptr) missing(name + ".function", "an object with name and arguments");
  if (!function->is_object()) wrong_type(name + ".function", "an object with name and arguments", *function);
  const JsonFields parts(*function, name + ".function.");
  parts.check_known({"name", "arguments"}, {}, {});
  Json call = Json::object();
  if (const std::optional<std::string> id = fields.string("id")) call["id"] = *id;
  call["type"] = "function";
  call["function"] = {{"name", required_string(parts, "name")}, {"arguments", read_arguments(parts, values)}};
  return call;
}

Json read_tool_calls(const JsonFields& message, ValueLimit* values) {
  Json calls = Json::array();
  const Json* value = message.find("tool_calls");
  if (value == nullptr) return calls;
  const std::string name = message.name("tool_calls");
  if (!value->is_array()) wrong_type(name, "an array", *value);
  for (size_t i = 0; i < value->size(); ++i)
    calls.push_back(read_tool_call((*value)[i], place(name, i), values));
  return calls;
}

std::string read_role(const JsonFields& fields) {
  const std::optional<std::string> role = fields.string("role");
  if (role == "developer") return "system";  // a newer name of the same role
  for (const char* known : {"system", "user", "assistant", "tool"})
    if (role == known) return *role;
  refuse(fields.name("role"),
         "expected 'system', 'developer', 'user', 'assistant' or 'tool', found " +
             (role ? "'" + *role + "'" : "none"),
         "invalid_value");
}

// Accepts the fields that the API's own answers have, since they come back in the next request.
void check_message_fields(const JsonFields& fields, const std::string& role) {
  std::vector<const char*> known = {"role", "content", "name"};
  if (role == "assistant") known.insert(known.end(), {"tool_calls", "reasoning_content", "reasoning"});
  if (role == "tool") known.emplace_back("tool_call_id");
  fields.check_known(known, {"annotations"},
                     {{"audio", {}},
                      {"function_call", {}},
                      {"refusal", {""}},
                      {"tool_calls", {}},
                      {"tool_call_id", {}},
                      {"reasoning_content", {""}},
                      {"reasoning", {""}}});
}

Json read_message(Json value, const std::string& name, ValueLimit* values) {
  if (!value.is_object()) wrong_type(name, "an object with role and content", value);
  const JsonFields fields(value, name + ".");
  const std::string role = read_role(fields);
  check_message_fields(fields, role);
  const bool assistant = role == "assistant";
  Json calls = assistant ? read_tool_calls(fields, values) : Json::array();
  std::optional<std::string> reasoning = assistant ? fields.string("reasoning_content") : std::nullopt;
  if (assistant && !reasoning) reasoning = fields.string("reasoning");
  const auto content = value.find("content");
  const bool has_content = content != value.end() && !content->is_null();
  if (!has_content && calls.empty() && !reasoning)
    missing(name + ".content", "a string or an array of text parts");

  Json message = {{"role", role}, {"content", has_content ? read_content(fields, *content) : ""}};
  for (const char* field : {"name", "tool_call_id"})
    if (const std::optional<std::string> text = fields.string(field)) message[field] = *text;
  if (reasoning) {  // some templates know one name, some the other
    message["reasoning_content"] = *reasoning;
    message["reasoning"] = *reasoning;
  }
  if (!calls.empty()) message["tool_calls"] = std::move(calls);
  return message;
}

Json read_tool(Json tool, const std::string& name) {
  if (!tool.is_object()) wrong_type(name, "an object with type and function", tool);
  const JsonFields fields(tool, name + ".");
  if (const std::optional<std::string> type = fields.string("type"); type != "function")
    refuse(name + ".type",
           "expected 'function', the only kind of tool that this server knows, found " +
               (type ? "'" + *type + "'" : "none"),
           "unsupported_parameter");
  const Json* function = fields.find("function");
  if (function == nullptr) missing(name + ".function", "an object with a name");
  if (!function->is_object()) wrong_type(name + ".function", "an object with a name", *function);
  const JsonFields parts(*function, name + ".function.");
  if (required_string(parts, "name").empty())
    refuse(parts.name("name"), "expected a function's name, found an empty string", "invalid_value");
  parts.string("description");
  if (const Json* parameters = parts.find("parameters"); parameters != nullptr && !parameters->is_object())
    wrong_type(parts.name("parameters"), "an object, a JSON schema", *parameters);
  tool["function"].erase("strict");  // it is meant for the server, and no model was trained to read it
  return tool;
}

}  // namespace

Json read_messages(Json messages) {
  if (messages.is_null()) missing("messages", "an array of messages");
  if (!messages.is_array() || messages.empty())
    wrong_type("messages", "an array of at least one message", messages);
  Json read = Json::array();
  ValueLimit values(kMaxChatValues);
  for (size_t i = 0; i < messages.size(); ++i)
    read.push_back(read_message(std::move(messages[i]), place("messages", i), &values));
  return read;
}

Json read_tools(Json tools) {
  if (tools.is_null()) return Json::array();
  if (!tools.is_array()) wrong_type("tools", "an array of tools", tools);
  for (size_t i = 0; i < tools.size(); ++i) tools[i] = read_tool(std::move(tools[i]), place("tools", i));
  return tools;
}

}  // namespace seer::serve
