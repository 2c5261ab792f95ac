#include "engine/src/select_rule.h"

#include <utility>

namespace seer {
namespace {

constexpr std::pair<SparseRule::Method, SelectRule::Method> kMethods[] = {
    {SparseRule::Method::kThreshold, SelectRule::Method::kThreshold},
    {SparseRule::Method::kHeadThreshold, SelectRule::Method::kHeadThreshold},
    {SparseRule::Method::kNzRatio, SelectRule::Method::kNzRatio},
    {SparseRule::Method::kNzRatioRow, SelectRule::Method::kNzRatioRow},
};

constexpr std::pair<SparseDecodeRule::Method, DecodeRule::Method> kDecodeMethods[] = {
    {SparseDecodeRule::Method::kThreshold, DecodeRule::Method::kThreshold},
    {SparseDecodeRule::Method::kBudget, DecodeRule::Method::kBudget},
    {SparseDecodeRule::Method::kRatio, DecodeRule::Method::kRatio},
};

}  // namespace

std::optional<SelectRule> select_rule(const SparseRule& rule, bool last_block_dense,
                                      int64_t n_prompt_blocks) {
  for (const auto& [named, followed] : kMethods)
    if (named == rule.method) return SelectRule{followed, rule.value, last_block_dense, n_prompt_blocks};
  return std::nullopt;
}

SparseRule sparse_rule(const SelectRule& rule) {
  for (const auto& [named, followed] : kMethods)
    if (followed == rule.method) return {named, rule.value};
  return {};
}

DecodeRule decode_rule(const SparseDecodeRule& rule) {
  for (const auto& [named, followed] : kDecodeMethods)
    if (named == rule.method) return {followed, rule.value};
  return {};
}

SparseDecodeRule sparse_decode_rule(const DecodeRule& rule) {
  for (const auto& [named, followed] : kDecodeMethods)
    if (followed == rule.method) return {named, rule.value};
  return {};
}

}  // namespace seer
