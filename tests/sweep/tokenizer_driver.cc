// Seer's results for tokenizers and texts, which tokenizer_sweep.py compares. Requests are lines of JSON on
// standard input; the answer to each is a line on standard output.
//
//   {"load": DIR}                              {} or {"error": TEXT}
//   {"encode": [TEXT], "special": BOOL}        {"ids": [[ID]]}, BOS and EOS added as the files say
//   {"decode": [[ID]], "skip": BOOL}           {"texts": [TEXT]}
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "seer/tokenizer.h"

namespace {

using nlohmann::json;

json answer(const json& request, std::shared_ptr<const seer::Tokenizer>* tokenizer) {
  if (request.contains("load")) {
    tokenizer->reset();
    *tokenizer = seer::Tokenizer::load(request["load"].get<std::string>());
    return json::object();
  }
  if (*tokenizer == nullptr) return {{"error", "no tokenizer is loaded"}};
  json results = json::array();
  if (request.contains("encode")) {
    for (const json& text : request["encode"])
      results.push_back((*tokenizer)
                            ->encode(text.get_ref<const std::string&>(), /*add_special=*/true,
                                     request["special"].get<bool>()));
    return {{"ids", results}};
  }
  for (const json& ids : request.at("decode"))
    results.push_back((*tokenizer)->decode(ids.get<std::vector<int32_t>>(), request["skip"].get<bool>()));
  return {{"texts", results}};
}

}  // namespace

int main() {
  std::ios::sync_with_stdio(false);
  std::shared_ptr<const seer::Tokenizer> tokenizer;
  for (std::string line; std::getline(std::cin, line);) {
    json result;
    try {
      result = answer(json::parse(line), &tokenizer);
    } catch (const std::exception& e) {
      result = {{"error", e.what()}};
    }
    std::cout << result.dump() << '\n' << std::flush;
  }
  return 0;
}
