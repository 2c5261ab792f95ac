#include "models/shard.h"

#include <string>

#include "seer/error.h"

namespace seer {
namespace {

constexpr int64_t kIdUnit = 8;  // a rank's share of the vocabulary is a multiple of this: the ids that GPU
                                // kernels load at once
constexpr int kMostNamed = 64;

// Returns whether each rank has whole heads. If there are fewer KV heads than ranks, each rank has the query
// heads of one KV head.
bool heads_divide(const ModelConfig& m, int size) {
  return m.n_heads % size == 0 && (m.n_kv_heads % size == 0 || size % m.n_kv_heads == 0);
}

bool divides(const ModelConfig& m, int size) {
  return heads_divide(m, size) && m.d_ff % size == 0 && m.n_vocab >= size;
}

[[noreturn]] void refuse(const ModelConfig& m, int size, const std::string& what) {
  std::string possible;
  for (int n = 1; n <= kMostNamed; ++n)
    if (divides(m, n)) possible += (possible.empty() ? "" : ", ") + std::to_string(n);
  throw Error(ErrorKind::kUnsupported, what + " cannot be split among " + std::to_string(size) +
                                           " ranks. Counts of ranks that work for this model: " + possible +
                                           ".");
}

}  // namespace

Shard::Shard(const ModelConfig& model, int rank_, int size_) : rank(rank_), size(size_), local(model) {
  if (!heads_divide(model, size))
    refuse(model, size,
           std::to_string(model.n_heads) + " attention heads with " + std::to_string(model.n_kv_heads) +
               " KV heads");
  if (model.d_ff % size != 0)
    refuse(model, size, "an MLP of " + std::to_string(model.d_ff) + " (intermediate_size)");
  if (model.n_vocab < size) refuse(model, size, "a vocabulary of " + std::to_string(model.n_vocab));
  local.n_heads = model.n_heads / size;
  local.d_ff = model.d_ff / size;
  local.n_kv_heads = size <= model.n_kv_heads ? model.n_kv_heads / size : 1;
  first_head = rank * local.n_heads;
  first_kv_head = first_head / (model.n_heads / model.n_kv_heads);
  first_ff = rank * local.d_ff;
  const int64_t unit = model.n_vocab >= kIdUnit * size ? kIdUnit : 1;
  const int64_t n_units = model.n_vocab / unit;
  int64_t begin = 0;
  for (int r = 0; r < size; ++r) {
    const int64_t end = r + 1 == size ? model.n_vocab : n_units * (r + 1) / size * unit;
    vocab.push_back(end - begin);
    begin = end;
  }
}

int64_t Shard::first_id() const {
  int64_t first = 0;
  for (int r = 0; r < rank; ++r) first += vocab[static_cast<size_t>(r)];
  return first;
}

}  // namespace seer
