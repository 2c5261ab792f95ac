// Renders templates for the comparison with jinja2 (jinja_fuzz.py). Reads a JSON object {"template",
// "context", "messages"} on each line, and writes {"text"} or {"error", "kind", "raised"} on a line.
#include <ctime>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/tokenizer/error_of.h"
#include "tokenizer/jinja/template.h"

namespace {

using Json = nlohmann::ordered_json;

Json run(const Json& request) {
  try {
    seer::jinja::RenderOptions options;
    options.now = 1795856703;  // 2026-11-28 09:05:03 UTC
    const auto t = seer::jinja::Template::parse(request.at("template").get<std::string>(), "t");
    const seer::MarkedText text = t.render(request.value("context", Json::object()),
                                           request.value("messages", Json::object()), options);
    Json answer{{"text", text.text}};
    const int n = request.value("repeat", 0);
    const std::clock_t begin = std::clock();
    for (int i = 0; i < n; ++i)
      t.render(request.value("context", Json::object()), request["messages"], options);
    if (n > 0) answer["seconds"] = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC / n;
    if (request.value("marks", false)) answer["marks"] = text.from_messages;
    return answer;
  } catch (const seer::jinja::RaisedError& e) {
    return {{"error", e.what()}, {"kind", "raised"}};
  } catch (const seer::Error& e) {
    return {{"error", e.what()}, {"kind", seer::testing::kind_name(e.kind())}};
  }
}

}  // namespace

int main() {
  std::ios::sync_with_stdio(false);
  for (std::string line; std::getline(std::cin, line);)
    std::cout << run(Json::parse(line)).dump() << std::endl;
}
