// Brings plain weights to another format, row by row.
#include "kernels/quantise.h"

#include <algorithm>
#include <cassert>
#include <vector>

#include "kernels/cpu/cpu_backend.h"

namespace seer {
namespace {

constexpr int64_t kQuantisedRowsPerTask = 16;

bool in_format(const LinearWeights::Part& part, WeightFormat format) {
  return format == WeightFormat::kStored ||
         (format == WeightFormat::kBF16 && part.weight.dtype == DType::kBF16);
}

}  // namespace

LinearWeights::Part CpuBackend::quantise_part(const LinearWeights::Part& plain, WeightFormat format,
                                              std::vector<Buffer>* buffers) {
  assert(!plain.quantised());
  const int64_t d_out = plain.weight.dim(0), d_in = plain.weight.dim(1);
  const auto make = [&](DType dtype, int64_t width) {
    Tensor tensor(nullptr, dtype, {d_out, width});
    buffers->push_back(allocate(tensor.nbytes(), "quantised weights"));
    tensor.data = buffers->back().get();
    return tensor;
  };
  LinearWeights::Part out;
  out.bias = plain.bias;
  switch (format) {
    case WeightFormat::kStored:
      return plain;
    case WeightFormat::kBF16:
      out.weight = make(DType::kBF16, d_in);
      break;
    case WeightFormat::kE4M3:
      out.weight = make(DType::kF8E4M3, d_in);
      out.group = d_in;
      out.input_codes = InputCodes::kE4M3Token;
      break;
    case WeightFormat::kU4:
      out.weight = make(DType::kU4, d_in);
      out.group = int4_group(d_in).value();
      break;
  }
  if (out.group != 0) out.scale = make(DType::kF32, out.n_groups());
  reserve_thread_scratch(d_in);
  pool_.run((d_out + kQuantisedRowsPerTask - 1) / kQuantisedRowsPerTask, [&](int64_t task, int thread) {
    float* values = thread_scratch(thread);
    const int64_t end = std::min(d_out, (task + 1) * kQuantisedRowsPerTask);
    for (int64_t row = task * kQuantisedRowsPerTask; row < end; ++row) {
      simd_.to_float(values, plain.weight.rows(row, 1).data, weight_type(plain.weight.dtype), d_in);
      void* to = out.weight.rows(row, 1).data;
      float* scale = out.scale ? out.scale.as<float>() + row * out.n_groups() : nullptr;
      if (format == WeightFormat::kBF16) {
        simd_.to_bf16(static_cast<uint16_t*>(to), values, d_in);
      } else if (format == WeightFormat::kE4M3) {
        quantise_e4m3(static_cast<uint8_t*>(to), scale, values, d_in);
      } else {
        quantise_int4(static_cast<uint8_t*>(to), scale, values, d_in, out.group);
      }
    }
  });
  return out;
}

LinearWeights CpuBackend::quantise(const LinearWeights& plain, WeightFormat format,
                                   std::vector<Buffer>* buffers) {
  LinearWeights out;
  for (const LinearWeights::Part& part : plain.parts) {
    if (in_format(part, format)) {
      out.parts.push_back(part);
      continue;
    }
    out.parts.push_back(quantise_part(part, format, buffers));
    std::erase_if(*buffers, [&](const Buffer& buffer) { return buffer.get() == part.weight.data; });
  }
  return out;
}

}  // namespace seer
