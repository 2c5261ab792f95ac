#include "tests/models/reference_forward.h"

#include <algorithm>
#include <cmath>

#include "tests/support/narrow_floats.h"

namespace seer::testing {
namespace {

using Row = std::vector<double>;

// Returns W x + b; b is added if the model has one.
Row linear(const TinyModel& model, const std::string& name, const Row& x) {
  const std::vector<float>& w = model.values(name + ".weight");
  Row y(w.size() / x.size());
  if (model.has(name + ".bias"))
    y.assign(model.values(name + ".bias").begin(), model.values(name + ".bias").end());
  for (size_t o = 0; o < y.size(); ++o)
    for (size_t i = 0; i < x.size(); ++i) y[o] += static_cast<double>(w[o * x.size() + i]) * x[i];
  return y;
}

Row rms_norm(const TinyModel& model, const std::string& name, const Row& x) {
  double squares = 0.0;
  for (const double v : x) squares += v * v;
  const double scale = 1.0 / std::sqrt(squares / static_cast<double>(x.size()) + 1e-5);
  Row y(x.size());
  for (size_t i = 0; i < x.size(); ++i) y[i] = x[i] * scale * static_cast<double>(model.values(name)[i]);
  return y;
}

// Normalises every head of x, if the model has such a norm.
void norm_heads(const TinyModel& model, const std::string& name, size_t d_head, Row& x) {
  if (!model.has(name)) return;
  for (auto head = x.begin(); head != x.end(); head += static_cast<std::ptrdiff_t>(d_head)) {
    const Row normed = rms_norm(model, name, Row(head, head + static_cast<std::ptrdiff_t>(d_head)));
    std::copy(normed.begin(), normed.end(), head);
  }
}

// Half-split rotation of every head, theta 10000.
void rotate(Row& x, size_t d_head, size_t position) {
  const size_t half = d_head / 2;
  for (size_t head = 0; head < x.size(); head += d_head)
    for (size_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(position) *
                           std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(d_head));
      const double a = x[head + i], b = x[head + i + half];
      x[head + i] = a * std::cos(angle) - b * std::sin(angle);
      x[head + i + half] = b * std::cos(angle) + a * std::sin(angle);
    }
}

// Adds one head's output for query token i to `out`.
void attend(double* out, const double* q, const std::vector<Row>& keys, const std::vector<Row>& values,
            size_t kv_begin, size_t d_head, const std::vector<size_t>& seen) {
  Row weights(seen.size());
  double largest = -INFINITY, sum = 0.0;
  for (size_t s = 0; s < seen.size(); ++s) {
    for (size_t d = 0; d < d_head; ++d) weights[s] += q[d] * keys[seen[s]][kv_begin + d];
    weights[s] /= std::sqrt(static_cast<double>(d_head));
    largest = std::max(largest, weights[s]);
  }
  for (double& w : weights) sum += w = std::exp(w - largest);
  for (size_t s = 0; s < seen.size(); ++s)
    for (size_t d = 0; d < d_head; ++d) out[d] += weights[s] / sum * values[seen[s]][kv_begin + d];
}

void add(Row& x, const Row& y) {
  for (size_t i = 0; i < x.size(); ++i) x[i] += y[i];
}

}  // namespace

std::vector<Row> reference_forward(const TinyModel& model, const std::vector<int32_t>& ids,
                                   const SeesToken& sees, bool bf16_pages) {
  const TinyShape& shape = model.shape();
  const auto d_model = static_cast<size_t>(shape.d_model), d_head = static_cast<size_t>(shape.d_head);
  const auto n_heads = static_cast<size_t>(shape.n_heads);
  const size_t group = n_heads / static_cast<size_t>(shape.n_kv_heads), n = ids.size();
  const std::vector<float>& table = model.values("model.embed_tokens.weight");
  std::vector<Row> x;  // [n, d_model]
  for (const int32_t id : ids) {
    const auto row = table.begin() + static_cast<std::ptrdiff_t>(id * shape.d_model);
    x.emplace_back(row, row + static_cast<std::ptrdiff_t>(d_model));
  }
  for (int64_t l = 0; l < shape.n_layers; ++l) {
    const std::string layer = "model.layers." + std::to_string(l) + ".", attn = layer + "self_attn.";
    std::vector<Row> q(n), k(n), v(n);
    for (size_t i = 0; i < n; ++i) {
      const Row h = rms_norm(model, layer + "input_layernorm.weight", x[i]);
      q[i] = linear(model, attn + "q_proj", h);
      k[i] = linear(model, attn + "k_proj", h);
      v[i] = linear(model, attn + "v_proj", h);
      norm_heads(model, attn + "q_norm.weight", d_head, q[i]);
      norm_heads(model, attn + "k_norm.weight", d_head, k[i]);
      rotate(q[i], d_head, i);
      rotate(k[i], d_head, i);
      if (!bf16_pages) continue;
      for (Row* stored : {&k[i], &v[i]})
        for (double& value : *stored) value = from_bf16(to_bf16(static_cast<float>(value)));
    }
    for (size_t i = 0; i < n; ++i) {
      Row out(n_heads * d_head);
      for (size_t h = 0; h < n_heads; ++h) {
        std::vector<size_t> seen;
        for (size_t j = 0; j <= i; ++j)
          if (!sees || sees(l, static_cast<int64_t>(h), static_cast<int64_t>(i), static_cast<int64_t>(j)))
            seen.push_back(j);
        attend(&out[h * d_head], &q[i][h * d_head], k, v, h / group * d_head, d_head, seen);
      }
      add(x[i], linear(model, attn + "o_proj", out));
      const Row h = rms_norm(model, layer + "post_attention_layernorm.weight", x[i]);
      Row act = linear(model, layer + "mlp.gate_proj", h);
      const Row up = linear(model, layer + "mlp.up_proj", h);
      for (size_t c = 0; c < act.size(); ++c) act[c] = act[c] / (1.0 + std::exp(-act[c])) * up[c];
      add(x[i], linear(model, layer + "mlp.down_proj", act));
    }
  }
  std::vector<Row> logits;
  for (const Row& row : x) {
    const Row h = rms_norm(model, "model.norm.weight", row);
    logits.push_back(linear(model, shape.tied ? "model.embed_tokens" : "lm_head", h));
  }
  return logits;
}

}  // namespace seer::testing
