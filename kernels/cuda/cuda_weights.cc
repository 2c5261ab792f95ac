// Brings weights to the GPU: plain ones as bf16, quantised ones as codes in the layout of codes/. Also turns
// plain ones into codes.
#include <algorithm>
#include <cassert>
#include <cstring>

#include "kernels/cuda/check.h"
#include "kernels/cuda/codes/batch.h"
#include "kernels/cuda/codes/codes.h"
#include "kernels/cuda/cuda_backend.h"

namespace seer::cuda {
namespace {

bool same_order(const Tensor& a, const Tensor& b) {
  if (!a || !b) return !a && !b;
  return std::memcmp(a.data, b.data, static_cast<size_t>(a.nbytes())) == 0;
}

// Throws if the parts do not make one matrix. q, k and v, or gate and up, are one product on a GPU.
void check_parts(const LinearWeights& host) {
  const LinearWeights::Part& first = host.parts.front();
  const auto refuse = [](const std::string& text) {
    throw Error(ErrorKind::kUnsupported, "quantised weights on a GPU: " + text + ". Use --device cpu.");
  };
  for (const LinearWeights::Part& part : host.parts) {
    if (part.weight.dtype != first.weight.dtype || part.group != first.group ||
        part.input_codes != first.input_codes || !part.quantised())
      refuse("expected q, k and v, and gate and up, in one format, found two");
    if (!same_order(part.input_order, first.input_order))
      refuse(
          "expected q, k and v, and gate and up, with one order of inputs, found two of GPTQ's desc_act "
          "(g_idx)");
  }
  if (!code_groups_fit(first.weight.dtype, first.group, host.d_in()))
    refuse("expected groups of 32 inputs or more, a power of two, found " + std::to_string(first.group));
}

}  // namespace

CodeMatrix CudaBackend::matrix(const LinearWeights& w) {
  const LinearWeights::Part& part = w.parts.front();
  return {part.weight.dtype,
          part.weight.data,
          part.scale.as<float>(),
          part.zero.as<uint8_t>(),
          part.weight.dim(0),
          part.weight.dim(1),
          part.group};
}

// Makes one matrix of all parts, so that they are one product.
LinearWeights CudaBackend::to_device(const LinearWeights& host, std::vector<Buffer>* keep) {
  use();
  if (host.quantised()) return codes_to_device(host, keep);
  bool bias = false;
  for (const LinearWeights::Part& part : host.parts) bias = bias || part.bias;
  LinearWeights::Part whole;
  whole.weight = Tensor(nullptr, DType::kBF16, {host.d_out(), host.d_in()});
  keep->push_back(allocate(whole.weight.nbytes(), "weights"));
  whole.weight.data = keep->back().get();
  if (bias) {
    whole.bias = Tensor(nullptr, DType::kBF16, {host.d_out()});
    keep->push_back(allocate(whole.bias.nbytes(), "weights"));
    whole.bias.data = keep->back().get();
    check(cudaMemsetAsync(whole.bias.data, 0, static_cast<size_t>(whole.bias.nbytes()), stream_),
          "cudaMemsetAsync");
  }
  if (!uploader_) uploader_ = std::make_unique<Uploader>(stream_);
  int64_t row = 0;
  for (const LinearWeights::Part& part : host.parts) {
    const int64_t n = part.weight.dim(0);
    uploader_->copy(whole.weight.rows(row, n).data, part.weight);
    if (part.bias) uploader_->copy(whole.bias.rows(row, n).data, part.bias);
    row += n;
  }
  return {{whole}};
}

bool CudaBackend::spreads_scales(InputCodes inputs, int64_t group, int64_t d_in) const {
  return round_inputs_ && CodeMatrix::spreads(inputs, group, d_in);
}

LinearWeights::Part CudaBackend::allocate_codes(DType type, int64_t d_out, int64_t d_in, int64_t group,
                                                InputCodes inputs, std::vector<Buffer>* keep) {
  LinearWeights::Part part;
  part.weight = Tensor(nullptr, type, {d_out, d_in});
  part.group = group;
  part.input_codes = inputs;
  part.scale = Tensor(nullptr, DType::kF32, {part.n_groups(), d_out});
  const int64_t spread = spreads_scales(inputs, group, d_in) ? d_in / CodeMatrix::kSpreadGroup : 0;
  keep->push_back(allocate((d_out + CodeMatrix::kTileRows) * CodeMatrix::code_pitch(type, d_in), "weights"));
  part.weight.data = keep->back().get();
  keep->push_back(allocate(
      ((part.n_groups() + spread) * d_out + CodeMatrix::kTileRows) * int64_t{sizeof(float)}, "weights"));
  part.scale.data = keep->back().get();
  return part;
}

void CudaBackend::finish_codes(const LinearWeights& weights) {
  const LinearWeights::Part& part = weights.parts.front();
  if (spreads_scales(part.input_codes, part.group, weights.d_in()))
    check(launch_spread_scales(matrix(weights), stream_), "spread_scales");
  if (rounds_inputs(weights)) {
    code_sizes_.row_bytes =
        std::max(code_sizes_.row_bytes, CodeMatrix::code_pitch(part.weight.dtype, weights.d_in()));
    code_sizes_.row_scales = std::max(code_sizes_.row_scales, part.n_groups());
    code_sizes_.group_scales = std::max(code_sizes_.group_scales, weights.d_in() / CodeMatrix::kSpreadGroup);
    code_sizes_.outputs = std::max(code_sizes_.outputs, weights.d_out());
  } else {
    code_sizes_.widened_bytes =
        std::max(code_sizes_.widened_bytes, part.weight.numel() * dtype_bytes(DType::kBF16));
  }
  if (part.input_order)
    code_sizes_.ordered_bytes =
        std::max(code_sizes_.ordered_bytes, weights.d_in() * dtype_bytes(DType::kBF16));
  if (!takes_batches(weights)) return;
  const CodeMatrix w = matrix(weights);
  // Partial sums are in widened_: no product needs both.
  code_sizes_.widened_bytes = std::max(code_sizes_.widened_bytes, CodeBatchScratch::partial_bytes(w));
  code_sizes_.batch_input_bytes = std::max(code_sizes_.batch_input_bytes, CodeBatchScratch::input_bytes(w));
}

LinearWeights CudaBackend::codes_to_device(const LinearWeights& host, std::vector<Buffer>* keep) {
  check_parts(host);
  const LinearWeights::Part& first = host.parts.front();
  const int64_t d_in = host.d_in(), d_out = host.d_out(), n_groups = first.n_groups();
  const DType type = first.weight.dtype;
  const int64_t pitch = CodeMatrix::code_pitch(type, d_in);
  if (!uploader_) uploader_ = std::make_unique<Uploader>(stream_);
  LinearWeights::Part whole = allocate_codes(type, d_out, d_in, first.group, first.input_codes, keep);
  // Allocates one of the tensors that only some parts have, filled with its value for the others.
  const auto take = [&](Tensor* tensor, int value) {
    keep->push_back(allocate(tensor->nbytes() + CodeMatrix::kTileRows, "weights"));
    tensor->data = keep->back().get();
    check(cudaMemsetAsync(tensor->data, value, static_cast<size_t>(tensor->nbytes()), stream_),
          "cudaMemsetAsync");
  };
  if (std::ranges::any_of(host.parts, [](const auto& part) { return static_cast<bool>(part.zero); })) {
    whole.zero = Tensor(nullptr, DType::kU8, {n_groups, d_out});
    take(&whole.zero, type == DType::kU4 ? 8 : 0);
  }
  if (std::ranges::any_of(host.parts, [](const auto& part) { return static_cast<bool>(part.bias); })) {
    whole.bias = Tensor(nullptr, DType::kBF16, {d_out});
    take(&whole.bias, 0);
  }
  if (first.input_order) whole.input_order = to_device(first.input_order, keep);
  int64_t row = 0;
  for (const LinearWeights::Part& part : host.parts) {
    const int64_t n = part.weight.dim(0);
    const auto staged = [&](const Tensor& t) {
      void* to = staging_.reserve(t.nbytes(), "loading weights");
      uploader_->copy_bytes(to, t.data, t.nbytes());
      return to;
    };
    check(launch_pack_codes(static_cast<char*>(whole.weight.data) + row * pitch, staged(part.weight), type, n,
                            d_in, stream_),
          "pack_codes");
    check(launch_transpose(whole.scale.as<float>() + row, d_out,
                           static_cast<const float*>(staged(part.scale)), n, n_groups, stream_),
          "transpose");
    if (part.zero)
      check(launch_transpose(whole.zero.as<uint8_t>() + row, d_out,
                             static_cast<const uint8_t*>(staged(part.zero)), n, n_groups, stream_),
            "transpose");
    if (part.bias) uploader_->copy(whole.bias.rows(row, n).data, part.bias);
    whole.input_scale = std::max(whole.input_scale, part.input_scale);
    row += n;
  }
  LinearWeights weights{{whole}};
  finish_codes(weights);
  return weights;
}

LinearWeights CudaBackend::quantise(const LinearWeights& plain, WeightFormat format,
                                    std::vector<Buffer>* buffers) {
  use();
  const LinearWeights::Part& from = plain.parts.front();
  assert(plain.parts.size() == 1 && from.weight.dtype == DType::kBF16);
  if (format == WeightFormat::kStored || format == WeightFormat::kBF16) return plain;
  const int64_t d_out = plain.d_out(), d_in = plain.d_in();
  LinearWeights::Part whole;
  if (format == WeightFormat::kE4M3) {
    whole = allocate_codes(DType::kF8E4M3, d_out, d_in, d_in, InputCodes::kE4M3Token, buffers);
    check(launch_quantise_e4m3(whole.weight.data, CodeMatrix::code_pitch(DType::kF8E4M3, d_in),
                               whole.scale.as<float>(), from.weight.data, d_out, d_in, stream_),
          "quantise_e4m3");
  } else {
    whole = allocate_codes(DType::kU4, d_out, d_in, int4_group(d_in).value(), InputCodes::kNone, buffers);
    void* staged = staging_.reserve(whole.weight.nbytes(), "loading weights");
    check(launch_quantise_int4(staged, whole.scale.as<float>(), from.weight.data, d_out, d_in, whole.group,
                               stream_),
          "quantise_int4");
    check(launch_pack_codes(whole.weight.data, staged, DType::kU4, d_out, d_in, stream_), "pack_codes");
  }
  whole.bias = from.bias;
  // The stream must have read the plain matrix before its memory is freed; freeing waits for the device.
  std::erase_if(*buffers, [&](const Buffer& buffer) { return buffer.get() == from.weight.data; });
  LinearWeights weights{{whole}};
  finish_codes(weights);
  return weights;
}

int64_t CudaBackend::scale_bytes(int64_t n_rows) const {
  return int64_t{sizeof(float)} *
         std::max(n_rows * code_sizes_.row_scales, kMostSpreadRows * code_sizes_.group_scales);
}

int64_t CudaBackend::padded_bytes() const {
  return int64_t{sizeof(float)} * kMostSpreadRows * code_sizes_.outputs;
}

int64_t CudaBackend::step_bytes(const StepLimits& limits) const {
  return limits.n_tokens * (code_sizes_.row_bytes + code_sizes_.ordered_bytes) +
         scale_bytes(limits.n_tokens) + code_sizes_.widened_bytes + padded_bytes() +
         code_sizes_.batch_input_bytes;
}

// Call this with the limits of steps. No later call for such a step allocates memory.
void CudaBackend::prepare_codes(int64_t n_rows) {
  rounded_.reserve(n_rows * code_sizes_.row_bytes, "rounded inputs");
  ordered_.reserve(n_rows * code_sizes_.ordered_bytes, "inputs in another order");
  input_scales_.reserve(scale_bytes(n_rows), "rounded inputs");
  padded_.reserve(padded_bytes(), "outputs of rounded inputs");
  widened_.reserve(code_sizes_.widened_bytes, "widened weights");
  batch_inputs_.reserve(code_sizes_.batch_input_bytes, "inputs of few rows");
}

}  // namespace seer::cuda
