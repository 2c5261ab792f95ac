#include "tools/seer/serve/block_map.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "tools/seer/format.h"
#include "tools/seer/gate_summary.h"
#include "tools/seer/serve/api_error.h"
#include "tools/seer/sparse_options.h"

namespace seer::serve {
namespace {

constexpr int64_t kMostLayers = 100'000;  // more than any model has; the model's own limit is checked later

// Four digits show a score of 0.0001, the smallest that is drawn apart from 0.
double rounded(double value) { return std::round(1e4 * value) / 1e4; }

// Returns the cells up to the diagonal, a row for each block row. `cell(i)` is the value of a cell.
template <class Cell>
OrderedJson triangle(int64_t side, const Cell& cell) {
  OrderedJson rows = OrderedJson::array();
  for (int64_t i = 0; i < side; ++i) {
    OrderedJson row = OrderedJson::array();
    for (int64_t j = 0; j <= i; ++j) row.push_back(rounded(cell(static_cast<size_t>(i * side + j))));
    rows.push_back(std::move(row));
  }
  return rows;
}

OrderedJson cells_json(const cli::GateSummary& layer, const std::optional<int64_t>& head) {
  const int64_t first = head.value_or(0);
  const int64_t end = head ? first + 1 : layer.n_heads();
  const int64_t side = layer.map(first).side;
  const auto mean_kept = [&](size_t at) {
    double sum = 0.0;
    for (int64_t h = first; h < end; ++h) sum += layer.map(h).kept[at];
    return sum / static_cast<double>(end - first);
  };
  const auto largest_score = [&](size_t at) {
    double most = 0.0;
    for (int64_t h = first; h < end; ++h) most = std::max<double>(most, layer.map(h).score[at]);
    return most;
  };
  return {{"side", side}, {"kept", triangle(side, mean_kept)}, {"score", triangle(side, largest_score)}};
}

void check_index(const char* field, int64_t index, int64_t n) {
  if (index >= n)
    refuse(field,
           "this model has " + std::to_string(n) + ": expected 0 to " + std::to_string(n - 1) + ", found " +
               std::to_string(index),
           "invalid_value");
}

}  // namespace

BlockMapRequest parse_block_map(Json body) {
  BlockMapRequest request;
  const JsonFields fields(body);
  request.layer = fields.integer("layer", 0, kMostLayers).value_or(0);
  request.head = fields.integer("head", 0, kMostLayers);
  request.max_side = fields.integer("max_side", 1, kMaxMapSide).value_or(request.max_side);
  for (const char* own : {"layer", "head", "max_side"}) body.erase(own);
  const bool chat = body.contains("messages");
  request.generation = chat ? parse_chat(std::move(body)) : parse_completion(body);
  if (!chat && request.generation.prompts.size() != 1)
    refuse("prompt", "expected one prompt, found " + std::to_string(request.generation.prompts.size()),
           "invalid_value");
  return request;
}

SparseRule check_block_map(const BlockMapRequest& request, const std::optional<SparseRule>& standard_rule,
                           const ModelInfo& model) {
  if (!model.gates)
    throw ApiError(kBadRequest,
                   "this model has no gates, so no blocks are chosen: start the server with --gates DIR", "",
                   "no_gates");
  const SparseRule rule =
      cli::effective_rule(request.generation.sparse ? request.generation.sparse : standard_rule, model);
  if (rule.method == SparseRule::Method::kDense)
    refuse("sparse", "the prompt would be dense, so all blocks are kept: expected a sparse rule",
           "invalid_value");
  check_index("layer", request.layer, model.n_layers);
  if (request.head) check_index("head", *request.head, model.n_heads);
  return rule;
}

bool takes_pages_of_generations(int64_t n_tokens, const EngineInfo& info) {
  if (info.n_ranks > 1 && info.rank_split == RankSplit::kContext) return true;  // each rank has a part
  const auto pages = [&](int64_t n) { return (n + info.page_tokens - 1) / info.page_tokens; };
  return pages(n_tokens) + pages(info.ctx_size) > info.n_pages;
}

std::string block_map(const BlockMapRequest& request, const std::vector<int32_t>& prompt,
                      const SparseRule& rule, const std::string& model_name, Engine* engine,
                      const std::function<void()>& check) {
  const ModelInfo& model = engine->model();
  const bool softmaxed = rule.by_threshold();
  cli::GateSummary layer(model.n_kv_heads, softmaxed, request.max_side);
  EvaluateRequest evaluation;
  evaluation.tokens = prompt;
  evaluation.sparse = rule;
  evaluation.on_gate = [&](const GateRows& rows) {
    check();
    if (rows.layer == request.layer) layer.add(rows);
  };
  evaluation.on_progress = [&](const PrefillProgress&) {
    check();
    return true;
  };
  const double density = engine->new_session()->evaluate(evaluation).density;
  if (layer.n_rows() == 0)
    throw ApiError(kBadRequest,
                   "the prompt has " + std::to_string(prompt.size()) +
                       " tokens: expected at least a block of " + std::to_string(model.gates->gate_block),
                   "", "prompt_too_short");
  OrderedJson out = {{"object", "block_map"},
                     {"model", model_name},
                     {"sparse", rule.to_string()},
                     {"layer", request.layer},
                     {"head", request.head ? OrderedJson(*request.head) : OrderedJson()},
                     {"n_tokens", prompt.size()},
                     {"block_size", model.gates->gate_block},
                     {"n_blocks", layer.n_blocks()},
                     {"cell_blocks", layer.cell_blocks()},
                     {"density", rounded(density)},
                     {"layer_density", rounded(layer.density())}};
  if (request.head) out["head_density"] = rounded(layer.density(*request.head));
  out.update(cells_json(layer, request.head));
  return cli::to_text(out);
}

}  // namespace seer::serve
