#include <cblas.h>

#include <algorithm>
#include <cstring>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/input_codes.h"

namespace seer {
namespace {

// Up to this many input rows, each weight is widened in registers and used at once. With more rows it pays to
// widen a panel of weights into memory first, for OpenBLAS's blocking. If the processor has no loop of its
// own for a type of codes, they are widened more slowly, and product_bf16 is worth its packing from fewer
// rows on (kernels/cpu/DESIGN.md, chapter 1).
constexpr int64_t kFewRows = 32, kFewerRows = 16;
constexpr int64_t kDotInputs = 4;  // the inputs that simd's dot_rows takes at once

// A task multiplies kSlab input rows by kPanel outputs. OpenBLAS reaches its peak on one core from about 256
// rows on, and smaller tasks balance better.
constexpr int64_t kSlab = 256;
constexpr int64_t kPanel = 256;

// How many bytes of weights a task must have to be worth waking a thread for.
constexpr int64_t kTaskBytes = 32 << 10;

void add_bias(float* out, int64_t out_stride, const Tensor& bias, int64_t begin, int64_t n_rows,
              int64_t n_outputs, const simd::Functions& simd, float* scratch) {
  simd.to_float(scratch, bias.rows(begin, n_outputs).data, weight_type(bias.dtype), n_outputs);
  for (int64_t i = 0; i < n_rows; ++i)
    for (int64_t j = 0; j < n_outputs; ++j) out[i * out_stride + j] += scratch[j];
}

// Returns the distance, in numbers, between inputs that are rounded to bf16. It is an odd number of cache
// lines, so that they do not share the few places that a cache has for an address.
int64_t bf16_stride(int64_t d_in) { return (d_in + 63) / 64 * 64 + 32; }

simd::CodeType code_type(DType dtype) {
  assert(dtype == DType::kF8E4M3 || dtype == DType::kI8 || dtype == DType::kU4);
  return dtype == DType::kF8E4M3 ? simd::CodeType::kE4M3
         : dtype == DType::kI8   ? simd::CodeType::kI8
                                 : simd::CodeType::kU4;
}

// Returns rows [begin, begin + count) of a quantised weight.
simd::CodeRows code_rows(const LinearWeights::Part& part, int64_t begin, int64_t count) {
  return {code_type(part.weight.dtype),
          static_cast<const uint8_t*>(part.weight.rows(begin, count).data),
          part.scale.rows(begin, count).as<float>(),
          part.zero ? part.zero.rows(begin, count).as<uint8_t>() : nullptr,
          part.weight.dim(1),
          part.group};
}

// Returns whether both take the same inputs in the same order.
bool same_order(const LinearWeights::Part& a, const LinearWeights::Part& b) {
  if (!a.input_order || !b.input_order) return !a.input_order && !b.input_order;
  return a.input_order.data == b.input_order.data ||
         std::memcmp(a.input_order.data, b.input_order.data, static_cast<size_t>(a.input_order.nbytes())) ==
             0;
}

float largest_input_scale(const LinearWeights& w) {
  float scale = 0.0F;
  for (const LinearWeights::Part& part : w.parts) scale = std::max(scale, part.input_scale);
  return scale;
}

}  // namespace

// Returns the inputs for each part. q, k and v, or gate and up, take the same inputs, so these are rounded
// once, by the largest of the parts' scales.
std::vector<const float*> CpuBackend::inputs_of_parts(const Tensor& x, const LinearWeights& w) {
  const int64_t n = x.dim(0), d_in = x.dim(1);
  const float* in = x.as<float>();
  const InputCodes codes = round_inputs_ ? w.parts.front().input_codes : InputCodes::kNone;
  int64_t n_copies = codes == InputCodes::kNone ? 0 : 1;
  for (const LinearWeights::Part& part : w.parts) n_copies += part.input_order ? 1 : 0;
  if (n_copies == 0) return std::vector<const float*>(w.parts.size(), in);
  float* copy = scratch_.reserve(n_copies * n * d_in);
  if (codes != InputCodes::kNone) {
    const float scale = largest_input_scale(w);
    const float* exact = in;
    pool_.run(n,
              [&](int64_t r, int) { round_inputs(copy + r * d_in, exact + r * d_in, d_in, codes, scale); });
    in = copy;
    copy += n * d_in;
  }
  std::vector<const float*> inputs;
  for (size_t i = 0; i < w.parts.size(); ++i) {
    if (i > 0 && same_order(w.parts[i], w.parts[i - 1])) {
      inputs.push_back(inputs.back());
    } else if (!w.parts[i].input_order) {
      inputs.push_back(in);
    } else {
      const int32_t* order = w.parts[i].input_order.as<int32_t>();
      pool_.run(n, [&](int64_t r, int) {
        for (int64_t j = 0; j < d_in; ++j) copy[r * d_in + j] = in[r * d_in + order[j]];
      });
      inputs.push_back(copy);
      copy += n * d_in;
    }
  }
  return inputs;
}

std::vector<CpuBackend::FormedInputs> CpuBackend::formed_inputs(const Tensor& x, const LinearWeights& w) {
  const int64_t n = x.dim(0), d_in = w.d_in();
  const std::vector<const float*> inputs = inputs_of_parts(x, w);
  std::vector<FormedInputs> formed;
  int64_t n_floats = 0;
  for (size_t i = 0; i < w.parts.size(); ++i) {
    formed.push_back({inputs[i], d_in});
    if (w.parts[i].quantised()) n_floats += n * simd_.code_input_floats(code_rows(w.parts[i], 0, 0));
  }
  if (n_floats == 0) return formed;
  float* copy = formed_.reserve(n_floats);
  for (size_t i = 0; i < w.parts.size(); ++i) {
    if (!w.parts[i].quantised()) continue;
    const simd::CodeRows codes = code_rows(w.parts[i], 0, 0);
    const int64_t stride = simd_.code_input_floats(codes);
    if (stride == 0) continue;
    const bool same_form = i > 0 && inputs[i] == inputs[i - 1] && formed[i - 1].stride == stride &&
                           w.parts[i].weight.dtype == w.parts[i - 1].weight.dtype;
    if (same_form) {
      formed[i] = formed[i - 1];
      continue;
    }
    formed[i] = {copy, stride};
    pool_.run(
        n, [&](int64_t r, int) { simd_.prepare_code_input(copy + r * stride, inputs[i] + r * d_in, codes); });
    copy += n * stride;
  }
  return formed;
}

void CpuBackend::linear(const Tensor& out, const Tensor& x, const LinearWeights& w, bool accumulate) {
  assert(x.dim(1) == w.d_in() && out.dim(1) == w.d_out() && x.dim(0) == out.dim(0));
  const bool slow_codes = w.quantised() && simd_.code_input_floats(code_rows(w.parts.front(), 0, 0)) == 0;
  if (x.dim(0) <= (slow_codes || bf16_inputs_ ? kFewerRows : kFewRows)) {
    linear_few_rows(out, x, w, accumulate);
  } else {
    linear_many_rows(out, x, w, accumulate);
  }
}

void CpuBackend::linear_few_rows(const Tensor& out, const Tensor& x, const LinearWeights& w,
                                 bool accumulate) {
  const int64_t n = x.dim(0), d_in = w.d_in(), d_out = w.d_out();
  const int64_t row_bytes = std::max<int64_t>(1, d_in * dtype_bits(w.parts.front().weight.dtype) / 8);
  const std::vector<FormedInputs> inputs = formed_inputs(x, w);
  // Two tasks for each thread even out a core that is busy with other work. Whole groups of 8 rows suit the
  // kernel's tile.
  const int64_t wanted = std::max<int64_t>(kTaskBytes / row_bytes, d_out / (2 * pool_.n_threads()));
  const int64_t task_rows = std::max<int64_t>(8, (wanted + 7) / 8 * 8);
  reserve_thread_scratch(task_rows);
  pool_.run((d_out + task_rows - 1) / task_rows, [&](int64_t task, int thread) {
    const int64_t task_begin = task * task_rows, task_end = std::min(d_out, task_begin + task_rows);
    int64_t part_begin = 0;
    for (size_t i = 0; i < w.parts.size(); ++i) {
      const LinearWeights::Part& part = w.parts[i];
      const int64_t part_end = part_begin + part.weight.dim(0);
      const int64_t begin = std::max(task_begin, part_begin), end = std::min(task_end, part_end);
      if (begin < end) {
        float* o = out.as<float>() + begin;
        for (int64_t m = 0; m < n; m += kDotInputs) {
          const float* in = inputs[i].data + m * inputs[i].stride;
          const int64_t n_in = std::min(kDotInputs, n - m), count = end - begin;
          if (part.quantised()) {
            simd_.dot_code_rows(o + m * d_out, d_out, in, inputs[i].stride, n_in,
                                code_rows(part, begin - part_begin, count), count, accumulate);
          } else {
            const Tensor rows = part.weight.rows(begin - part_begin, count);
            simd_.dot_rows(o + m * d_out, d_out, in, d_in, n_in, rows.data, weight_type(rows.dtype), d_in,
                           count, accumulate);
          }
        }
        if (part.bias)
          add_bias(o, d_out, part.bias, begin - part_begin, n, end - begin, simd_, thread_scratch(thread));
      }
      part_begin = part_end;
    }
  });
}

std::vector<const uint16_t*> CpuBackend::rounded_inputs(const std::vector<const float*>& inputs, int64_t n,
                                                        const LinearWeights& w) {
  std::vector<const uint16_t*> rounded(w.parts.size(), nullptr);
  if (!bf16_inputs_) return rounded;
  const int64_t d_in = w.d_in(), stride = bf16_stride(d_in);
  auto* copy = reinterpret_cast<uint16_t*>(
      formed_.reserve((static_cast<int64_t>(w.parts.size()) * n * stride + 1) / 2));
  for (size_t i = 0; i < w.parts.size(); ++i) {
    const LinearWeights::Part& part = w.parts[i];
    if (part.quantised() ? !simd_.takes_bf16(code_rows(part, 0, 0)) : part.weight.dtype != DType::kBF16)
      continue;
    if (i > 0 && inputs[i] == inputs[i - 1] && rounded[i - 1] != nullptr) {
      rounded[i] = rounded[i - 1];
      continue;
    }
    rounded[i] = copy;
    pool_.run(n, [&](int64_t r, int) {
      simd_.to_bf16(copy + r * stride, inputs[i] + r * d_in, d_in);
      copy[r * stride + d_in] = 0;
    });
    copy += n * stride;
  }
  return rounded;
}

std::vector<CpuBackend::Panel> CpuBackend::panels_of(const Tensor& x, const LinearWeights& w) {
  const std::vector<const float*> inputs = inputs_of_parts(x, w);
  const std::vector<const uint16_t*> rounded = rounded_inputs(inputs, x.dim(0), w);
  std::vector<Panel> panels;
  int64_t column = 0;
  for (size_t i = 0; i < w.parts.size(); ++i) {
    const int64_t d_part = w.parts[i].weight.dim(0);
    for (int64_t begin = 0; begin < d_part; begin += kPanel)
      panels.push_back(
          {&w.parts[i], inputs[i], rounded[i], begin, std::min(d_part, begin + kPanel), column + begin});
    column += d_part;
  }
  return panels;
}

void CpuBackend::multiply_panel(float* out, int64_t d_out, const Panel& panel, int64_t row, int64_t n_rows,
                                bool accumulate, int thread) const {
  const LinearWeights::Part& part = *panel.part;
  const int64_t n_outputs = panel.end - panel.begin, d_in = part.weight.dim(1);
  const Tensor weight = part.weight.rows(panel.begin, n_outputs);
  if (panel.rounded != nullptr) {
    const int64_t stride = bf16_stride(d_in);
    const uint16_t* x = panel.rounded + row * stride;
    if (part.quantised())
      return simd_.product_codes_bf16(out, d_out, x, stride, n_rows, code_rows(part, panel.begin, n_outputs),
                                      n_outputs, accumulate);
    return simd_.product_bf16(out, d_out, x, stride, n_rows, static_cast<const uint16_t*>(weight.data), d_in,
                              n_outputs, accumulate);
  }
  const float* weights = static_cast<const float*>(weight.data);
  if (part.quantised()) {
    simd_.codes_to_float(thread_scratch(thread), code_rows(part, panel.begin, n_outputs), n_outputs);
    weights = thread_scratch(thread);
  } else if (weight.dtype != DType::kF32) {
    simd_.to_float(thread_scratch(thread), weight.data, weight_type(weight.dtype), weight.numel());
    weights = thread_scratch(thread);
  }
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(n_rows), static_cast<int>(n_outputs),
              static_cast<int>(d_in), 1.0F, panel.inputs + row * d_in, static_cast<int>(d_in), weights,
              static_cast<int>(d_in), accumulate ? 1.0F : 0.0F, out, static_cast<int>(d_out));
}

void CpuBackend::linear_many_rows(const Tensor& out, const Tensor& x, const LinearWeights& w,
                                  bool accumulate) {
  const std::vector<Panel> panels = panels_of(x, w);
  const int64_t n = x.dim(0), d_out = w.d_out();
  const int64_t n_panels = static_cast<int64_t>(panels.size()), n_slabs = (n + kSlab - 1) / kSlab;
  reserve_thread_scratch(kPanel * w.d_in());
  pool_.run(n_panels * n_slabs, [&](int64_t task, int thread) {
    const Panel& panel = panels[static_cast<size_t>(task / n_slabs)];
    const int64_t row = task % n_slabs * kSlab, n_rows = std::min(kSlab, n - row);
    float* o = out.as<float>() + row * d_out + panel.column;
    multiply_panel(o, d_out, panel, row, n_rows, accumulate, thread);
    if (panel.part->bias)
      add_bias(o, d_out, panel.part->bias, panel.begin, n_rows, panel.end - panel.begin, simd_,
               thread_scratch(thread));
  });
}

}  // namespace seer
