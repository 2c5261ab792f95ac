// Mutates JSON texts so that they stay JSON, and most of them reach the checks after the parser.
#include <iterator>
#include <nlohmann/json.hpp>

#include "tests/fuzz/support.h"

namespace seer::fuzz {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaxNodes = 4096;

void collect(Json& node, std::vector<Json*>* nodes) {
  if (nodes->size() >= kMaxNodes) return;
  nodes->push_back(&node);
  if (node.is_structured())
    for (Json& child : node) collect(child, nodes);
}

Json extreme(Random& random) {
  static const std::vector<Json> kValues = {nullptr,
                                            true,
                                            false,
                                            0,
                                            -1,
                                            1,
                                            2,
                                            63,
                                            255,
                                            65536,
                                            INT32_MAX,
                                            int64_t{INT32_MAX} + 1,
                                            int64_t{1} << 53,
                                            INT64_MAX,
                                            INT64_MIN,
                                            UINT64_MAX,
                                            0.5,
                                            -0.0,
                                            1e308,
                                            5e-324,
                                            "",
                                            "auto",
                                            "\xEF\xBF\xBD",
                                            Json::array(),
                                            Json::object(),
                                            Json::array({Json::array({Json::array()})})};
  return kValues[random.below(kValues.size())];
}

void change_number(Json* node, Random& random) {
  if (node->is_number_float()) {
    const double factors[] = {-1.0, 2.0, 0.5, 1e10, 1e-10};
    *node = node->get<double>() * factors[random.below(5)];
    return;
  }
  const auto value = node->get<uint64_t>();  // modulo 2^64, so nothing overflows
  const uint64_t results[] = {value + 1, value - 1, value * 2,
                              value / 2, 0 - value, value ^ (uint64_t{1} << random.below(64))};
  *node = static_cast<int64_t>(results[random.below(6)]);
}

void change_container(Json* node, const std::vector<Json*>& nodes, Random& random) {
  const Json other = *nodes[random.below(nodes.size())];
  const size_t at = random.below(node->size());
  const auto item = std::next(node->begin(), static_cast<std::ptrdiff_t>(at));
  if (node->is_array()) {
    if (node->empty() || random.one_in(3)) return node->push_back(other);
    if (random.one_in(2)) return static_cast<void>(node->erase(item));
    return static_cast<void>(node->insert(item, random.one_in(2) ? other : Json(*item)));
  }
  if (node->empty()) return static_cast<void>((*node)["key"] = other);
  const std::string key = item.key();
  if (random.one_in(3)) return static_cast<void>(node->erase(key));
  std::string name = mutate_bytes(key, key.size() + 16);
  for (const Json* n : nodes)  // usually takes a key of another object
    if (n->is_object() && !n->empty() && random.one_in(4)) name = n->begin().key();
  (*node)[name] = random.one_in(2) ? other : Json((*node)[key]);
}

void change(const std::vector<Json*>& nodes, Random& random) {
  Json* node = nodes[random.below(nodes.size())];
  if (random.one_in(8)) {
    *node = extreme(random);
  } else if (random.one_in(8)) {
    const Json other = *nodes[random.below(nodes.size())];
    *node = other;
  } else if (node->is_number()) {
    change_number(node, random);
  } else if (node->is_string()) {
    const auto text = node->get<std::string>();
    *node = mutate_bytes(text, text.size() + 32);
  } else if (node->is_structured()) {
    change_container(node, nodes, random);
  } else {
    *node = extreme(random);
  }
}

}  // namespace

std::string mutate_json(const std::string& text, Random& random, size_t max_size) {
  Json json = random.one_in(8) ? Json(Json::value_t::discarded) : Json::parse(text, nullptr, false);
  if (json.is_discarded()) return mutate_bytes(text, max_size);
  for (uint64_t n = 1 + random.below(3); n > 0; --n) {
    std::vector<Json*> nodes;
    collect(json, &nodes);
    change(nodes, random);
  }
  std::string out = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  return out.size() <= max_size ? out : mutate_bytes(text, max_size);
}

}  // namespace seer::fuzz
