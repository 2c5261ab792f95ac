#include "models/quant/layer.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>

#include "models/finite_weights.h"
#include "seer/error.h"

namespace seer {
namespace {

static_assert(std::endian::native == std::endian::little, "packed codes are read byte by byte");

constexpr const char* kDamaged = ". The file may be damaged: use another copy.";

// Output j of a word of AWQ lies in nibble kAwqNibble[j].
constexpr std::array<int, 8> kAwqNibble = {0, 4, 1, 5, 2, 6, 3, 7};

[[noreturn]] void fail(const QuantLayer& layer, const std::string& what) {
  throw Error(ErrorKind::kFile, layer.source + ": " + layer.module + what);
}

// Allocates memory for a copy and returns the tensor in it.
Tensor copy_of(DType dtype, std::initializer_list<int64_t> shape,
               std::vector<std::shared_ptr<const void>>* owners) {
  Tensor t(nullptr, dtype, shape);
  const auto bytes = std::make_shared<std::vector<std::byte>>(static_cast<size_t>(t.nbytes()));
  t.data = bytes->data();
  owners->push_back(bytes);
  return t;
}

float to_float(const Tensor& t, int64_t i) {
  if (t.dtype == DType::kF32) return static_cast<const float*>(t.data)[i];
  const uint32_t bits = static_cast<const uint16_t*>(t.data)[i];
  if (t.dtype == DType::kBF16) return std::bit_cast<float>(bits << 16);
  const float magnitude = std::bit_cast<float>((bits & 0x7FFFU) << 13) * 0x1p112F;
  const uint32_t special = (bits & 0x7C00U) == 0x7C00U ? 0x7F800000U : 0U;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | special | (bits & 0x8000U) << 16);
}

int nibble(const Tensor& words, int64_t word, int n) {
  return static_cast<int>(static_cast<const uint32_t*>(words.data)[word] >> (4 * n) & 15U);
}

class Converter {
 public:
  Converter(const QuantLayer& layer, const MatrixRange& range,
            std::vector<std::shared_ptr<const void>>* owners)
      : layer_(layer), scheme_(*layer.scheme), range_(range), owners_(owners) {}

  LinearWeights::Part run() {
    find_groups();
    LinearWeights::Part out;
    out.group = n_groups_ == 1 ? range_.n_columns : layer_.group();
    out.input_order = input_order_;
    out.weight = codes();
    out.scale = scales();
    if (scheme_.asymmetric) out.zero = zeros();
    out.input_codes = scheme_.input_codes;
    if (scheme_.static_inputs()) out.input_scale = input_scale();
    return out;
  }

 private:
  // Finds which of the layer's groups the range has, and in which order their inputs come.
  void find_groups() {
    const int64_t group = layer_.group(), end = range_.column + range_.n_columns;
    const bool whole = range_.n_columns == layer_.d_in;
    if (scheme_.group != 0 && !whole &&
        (range_.column % group != 0 || (end % group != 0 && end != layer_.d_in)))
      throw Error(ErrorKind::kUnsupported,
                  layer_.module + ": ranks would divide its inputs within a group of " +
                      std::to_string(group) + ": expected parts of whole groups, found inputs " +
                      std::to_string(range_.column) + " to " + std::to_string(end) +
                      ". Use fewer ranks, or divide prompts instead of the model.");
    const auto by = [&](int64_t n) { return (range_.column | range_.n_columns) % n == 0; };
    const bool rows = scheme_.layout != QuantScheme::Layout::kAwq || (range_.row | range_.n_rows) % 8 == 0;
    if (!rows || (scheme_.codes == DType::kU4 && !by(8)))
      throw Error(ErrorKind::kUnsupported, layer_.module +
                                               ": ranks would divide a word of eight codes. Use fewer "
                                               "ranks, or divide prompts instead of the model.");
    first_group_ = scheme_.group == 0 ? 0 : range_.column / group;
    n_groups_ = scheme_.group == 0 ? 1 : (range_.n_columns + group - 1) / group;
    if (layer_.group_of_input) order_inputs(whole);
  }

  // Sorts inputs by their groups, in the order in which each group has them.
  void order_inputs(bool whole) {
    const auto* groups = layer_.group_of_input.as<int32_t>();
    const int64_t n = layer_.d_in, group = layer_.group();
    bool in_place = true;
    std::vector<int64_t> sizes(static_cast<size_t>(layer_.n_groups()));
    for (int64_t i = 0; i < n; ++i) {
      if (groups[i] < 0 || groups[i] >= layer_.n_groups())
        fail(layer_, ".g_idx: expected groups from 0 to " + std::to_string(layer_.n_groups() - 1) +
                         ", found " + std::to_string(groups[i]) + " at " + std::to_string(i) + kDamaged);
      ++sizes[static_cast<size_t>(groups[i])];
      in_place = in_place && groups[i] == i / group;
    }
    if (in_place) return;
    for (size_t g = 0; g < sizes.size(); ++g) {
      const int64_t expected = std::min(group, n - static_cast<int64_t>(g) * group);
      if (sizes[g] != expected)
        fail(layer_, ".g_idx: expected " + std::to_string(expected) + " inputs in group " +
                         std::to_string(g) + ", found " + std::to_string(sizes[g]) + kDamaged);
    }
    if (!whole)
      throw Error(ErrorKind::kUnsupported,
                  layer_.module +
                      ": ranks cannot divide inputs that are ordered by activation (desc_act). Use one "
                      "rank, or divide prompts instead of the model.");
    input_order_ = copy_of(DType::kI32, {n}, owners_);
    auto* order = input_order_.as<int32_t>();
    std::iota(order, order + n, 0);
    std::stable_sort(order, order + n, [&](int32_t a, int32_t b) { return groups[a] < groups[b]; });
  }

  Tensor codes() {
    switch (scheme_.layout) {
      case QuantScheme::Layout::kRows:
        return row_codes();
      case QuantScheme::Layout::kPacked: {
        Tensor packed(layer_.codes.data, DType::kU4, {layer_.d_out, layer_.d_in});
        return columns(packed.rows(range_.row, range_.n_rows));
      }
      case QuantScheme::Layout::kGptq:
        return gptq_codes();
      case QuantScheme::Layout::kAwq:
        return awq_codes();
    }
    return {};
  }

  Tensor row_codes() {
    const Tensor rows = columns(layer_.codes.rows(range_.row, range_.n_rows));
    if (rows.dtype == DType::kF8E4M3) require_finite(rows, layer_.module + ".weight", layer_.source);
    return rows;
  }

  // Returns the range's columns of whole rows: a view of the rows if the range has all columns.
  Tensor columns(const Tensor& rows) {
    if (range_.n_columns == layer_.d_in) return rows;
    Tensor out = copy_of(rows.dtype, {range_.n_rows, range_.n_columns}, owners_);
    const auto bytes = [&](int64_t n) { return static_cast<size_t>(n * dtype_bits(rows.dtype) / 8); };
    const auto* from = static_cast<const std::byte*>(rows.data) + bytes(range_.column);
    auto* to = static_cast<std::byte*>(out.data);
    for (size_t r = 0; r < static_cast<size_t>(range_.n_rows); ++r)
      std::memcpy(to + r * bytes(range_.n_columns), from + r * bytes(layer_.d_in), bytes(range_.n_columns));
    return out;
  }

  // Copies the codes of GPTQ. A word of qweight [d_in / 8, d_out] has eight inputs of one output, which
  // become four bytes here.
  Tensor gptq_codes() {
    Tensor out = copy_of(DType::kU4, {range_.n_rows, range_.n_columns}, owners_);
    const auto* words = static_cast<const uint32_t*>(layer_.codes.data);
    auto* bytes = static_cast<uint8_t*>(out.data);
    const int64_t pitch = range_.n_columns / 2;
    if (!input_order_) {
      for (int64_t c = 0; c < range_.n_columns / 8; ++c) {
        const uint32_t* row = words + (range_.column / 8 + c) * layer_.d_out + range_.row;
        for (int64_t o = 0; o < range_.n_rows; ++o) std::memcpy(bytes + o * pitch + 4 * c, row + o, 4);
      }
      return out;
    }
    const auto* order = input_order_.as<int32_t>();
    const auto code = [&](int64_t o, int64_t i) {
      return nibble(layer_.codes, i / 8 * layer_.d_out + o, i % 8);
    };
    for (int64_t j = 0; j < range_.n_columns; j += 2)
      for (int64_t o = 0; o < range_.n_rows; ++o)
        bytes[o * pitch + j / 2] =
            static_cast<uint8_t>(code(range_.row + o, order[j]) | code(range_.row + o, order[j + 1]) << 4);
    return out;
  }

  // Copies the codes of AWQ. A word of qweight [d_in, d_out / 8] has eight outputs of one input. Sixteen
  // adjacent words are taken at once, because they share a cache line.
  Tensor awq_codes() {
    Tensor out = copy_of(DType::kU4, {range_.n_rows, range_.n_columns}, owners_);
    const auto* words = static_cast<const uint32_t*>(layer_.codes.data);
    auto* bytes = static_cast<uint8_t*>(out.data);
    const int64_t pitch = range_.n_columns / 2, width = layer_.d_out / 8;
    constexpr int64_t kWords = 16;
    for (int64_t first = 0; first < range_.n_rows / 8; first += kWords)
      for (int64_t i = 0; i < range_.n_columns; i += 2) {
        const uint32_t* low = words + (range_.column + i) * width + range_.row / 8;
        for (int64_t c = first; c < std::min(first + kWords, range_.n_rows / 8); ++c)
          for (size_t j = 0; j < kAwqNibble.size(); ++j) {
            const int shift = 4 * kAwqNibble[j];
            bytes[(8 * c + static_cast<int64_t>(j)) * pitch + i / 2] =
                static_cast<uint8_t>((low[c] >> shift & 15U) | (low[c + width] >> shift & 15U) << 4);
          }
      }
    return out;
  }

  // Returns the index of the scale of output o and group g. Scales are [rows or 1, groups], but [groups,
  // outputs] in GPTQ and AWQ.
  int64_t scale_index(int64_t o, int64_t g) const {
    if (scheme_.layout == QuantScheme::Layout::kGptq || scheme_.layout == QuantScheme::Layout::kAwq)
      return g * layer_.d_out + o;
    return (scheme_.row_block == 0 ? 0 : o / scheme_.row_block) * layer_.n_groups() + g;
  }

  Tensor scales() {
    Tensor out = copy_of(DType::kF32, {range_.n_rows, n_groups_}, owners_);
    auto* to = out.as<float>();
    for (int64_t o = 0; o < range_.n_rows; ++o)
      for (int64_t g = 0; g < n_groups_; ++g)
        to[o * n_groups_ + g] =
            checked_scale(layer_.scales, scale_index(range_.row + o, first_group_ + g), scheme_.scale);
    return out;
  }

  float checked_scale(const Tensor& scales, int64_t i, const char* name) const {
    const float scale = to_float(scales, i);
    if (!(scale > 0.0F) || std::isinf(scale))
      fail(layer_, "." + std::string(name) + ": expected positive numbers, found " + std::to_string(scale) +
                       " at " + std::to_string(i) + kDamaged);
    return scale;
  }
  float input_scale() const { return checked_scale(layer_.input_scale, 0, "input_scale"); }

  // Returns a stored zero, without the scheme's offset.
  int stored_zero(int64_t o, int64_t g) const {
    switch (scheme_.layout) {
      case QuantScheme::Layout::kAwq:
        return nibble(layer_.zeros, g * (layer_.d_out / 8) + o / 8, kAwqNibble[static_cast<size_t>(o % 8)]);
      case QuantScheme::Layout::kGptq:
        return nibble(layer_.zeros, g * (layer_.d_out / 8) + o / 8, static_cast<int>(o % 8));
      default:  // packed along the outputs
        return nibble(layer_.zeros, o / 8 * layer_.n_groups() + g, static_cast<int>(o % 8));
    }
  }

  // Returns the zeros, or an empty tensor if all are 8, the middle, as in symmetric files.
  Tensor zeros() {
    std::vector<std::shared_ptr<const void>> owner;
    Tensor out = copy_of(DType::kU8, {range_.n_rows, n_groups_}, &owner);
    auto* to = out.as<uint8_t>();
    bool middle = true;
    for (int64_t o = 0; o < range_.n_rows; ++o)
      for (int64_t g = 0; g < n_groups_; ++g) {
        const int zero = stored_zero(range_.row + o, first_group_ + g) + scheme_.zero_offset;
        to[o * n_groups_ + g] = static_cast<uint8_t>(zero);
        middle = middle && zero == 8;
      }
    if (middle) return {};
    owners_->push_back(owner.front());
    return out;
  }

  const QuantLayer& layer_;
  const QuantScheme& scheme_;
  const MatrixRange range_;
  std::vector<std::shared_ptr<const void>>* owners_;
  int64_t first_group_ = 0, n_groups_ = 0;
  Tensor input_order_;
};

}  // namespace

LinearWeights::Part local_part(const QuantLayer& layer, const MatrixRange& range,
                               std::vector<std::shared_ptr<const void>>* owners) {
  return Converter(layer, range, owners).run();
}

}  // namespace seer
