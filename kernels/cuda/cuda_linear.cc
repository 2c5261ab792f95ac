// Matrix products on the GPU: which kernel computes which.
//
//   plain weights  few_rows for 1 and 2 rows; cuBLASLt for more
//   E4M3           codes/product.cu up to 8 rows; for more, inputs are rounded to E4M3, then cuBLASLt
//   4 bits         codes/product.cu up to 8 rows; codes/batch.cu up to 64; for more as 8 bits
//   8 bits         codes/product.cu up to 48 rows, 16 at a time; for more, weights are widened to bf16, then
//                  cuBLASLt
//
// codes/batch.cu needs a Hopper GPU, and groups of whole chunks of 128; else 4 bits are done as 8 bits.
//
// Up to kMostSpreadRows, cuBLASLt gets E4M3 scales of rows as if they were scales of groups.
//
// Inputs are rounded to E4M3 on a Hopper GPU alone, for sizes that are multiples of 16, and if the backend
// was made to round them (make_cuda_backend). Else E4M3 products are done as those of 8 bits.
#include <algorithm>
#include <cassert>
#include <utility>

#include "kernels/cuda/check.h"
#include "kernels/cuda/codes/batch.h"
#include "kernels/cuda/codes/codes.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/few_rows/few_rows.h"
#include "kernels/cuda/rows.h"

namespace seer::cuda {
namespace {

// cuBLASLt accepts scales of groups only for multiples of this many rows.
constexpr int64_t kGroupRows = 4;

int64_t rows_with_padding(int64_t n) { return (n + kGroupRows - 1) / kGroupRows * kGroupRows; }

// Returns how many of the last rows a product of rounded inputs leaves to the kernel for few rows, because
// cuBLASLt takes scales of groups only for multiples of kGroupRows. Products of up to kMostSpreadRows are
// padded to a multiple instead.
int64_t rows_left_over(const LinearWeights& w, int64_t n) {
  const bool groups = w.parts.front().input_codes == InputCodes::kE4M3Token128;
  return groups && n > kMostSpreadRows ? n % kGroupRows : 0;
}

GemmShape shape_of(const Tensor& out, const LinearWeights& w, bool accumulate) {
  GemmShape s;
  s.n = out.dim(0);
  s.d_in = s.ld_x = s.ld_w = w.d_in();
  s.d_out = s.ld_out = w.d_out();
  s.float_out = out.dtype == DType::kF32;
  s.accumulate = accumulate;
  s.bias = static_cast<bool>(w.parts.front().bias);
  return s;
}

}  // namespace

bool CudaBackend::few_rows(const Product& product) {
  const LinearWeights& w = product.w;
  if (w.quantised()) return few_code_rows(product);
  const LinearWeights::Part& part = w.parts.front();
  if (!few_rows_fits(device_, product.x.dim(0), w.d_in())) return false;
  FewRowsParams p = {};
  p.out = product.out.data;
  p.x = product.x.data;
  p.weight = part.weight.data;
  p.bias = part.bias.data;
  p.norm = product.norm == nullptr ? nullptr : product.norm->data;
  p.eps = static_cast<float>(product.eps);
  p.n = static_cast<int>(product.x.dim(0));
  p.d_in = w.d_in();
  p.d_out = w.d_out();
  p.accumulate = product.accumulate;
  p.float_out = product.out.dtype == DType::kF32;
  p.swiglu = product.swiglu;
  check(launch_few_rows(p, device_, stream_), "few_rows");
  return true;
}

bool CudaBackend::rounds_inputs(const LinearWeights& w) const {
  const LinearWeights::Part& part = w.parts.front();
  if (!round_inputs_ || part.weight.dtype != DType::kF8E4M3) return false;
  if (w.d_in() % 16 != 0 || w.d_out() % 16 != 0) return false;
  return part.input_codes == InputCodes::kE4M3Token128
             ? part.group == 128 && w.d_in() % 128 == 0
             : part.input_codes != InputCodes::kNone && part.group >= w.d_in();
}

bool CudaBackend::takes_batches(const LinearWeights& w) const {
  return device_.is_hopper() && code_batch_fits(matrix(w));
}

// Returns up to how many rows the code kernels are used. Several passes over the codes take less time than
// widening them.
int64_t CudaBackend::most_code_rows(const LinearWeights& w) const {
  if (rounds_inputs(w)) return kMostExactRows;
  return takes_batches(w) ? kMostBatchRows : 3 * kMostCodeRows;
}

bool CudaBackend::few_code_rows(const Product& product) {
  const int64_t n = product.x.dim(0);
  if (n > most_code_rows(product.w)) return false;
  CodeRowsParams p = {};
  p.w = matrix(product.w);
  p.bias = product.w.parts.front().bias.data;
  p.norm = product.norm == nullptr ? nullptr : product.norm->data;
  p.eps = static_cast<float>(product.eps);
  p.accumulate = product.accumulate;
  p.float_out = product.out.dtype == DType::kF32;
  p.swiglu = product.swiglu;
  if (n >= kLeastBatchRows && takes_batches(product.w)) {
    prepare_codes(n);
    p.n = static_cast<int>(n);
    p.out = product.out.data;
    p.x = product.x.data;
    const CodeBatchScratch scratch{batch_inputs_.get(), widened_.as<float>()};
    check(launch_code_batch(p, scratch, device_.n_multiprocessors, device_.max_shared_bytes, stream_),
          "code_batch");
    return true;
  }
  if (product.norm != nullptr &&
      !code_rows_take_norm(p.w, std::min<int64_t>(n, kMostCodeRows), device_.max_shared_bytes))
    return false;
  for (int64_t row = 0; row < n; row += kMostCodeRows) {
    p.n = static_cast<int>(std::min<int64_t>(n - row, kMostCodeRows));
    p.out = product.out.rows(row, p.n).data;
    p.x = product.x.rows(row, p.n).data;
    check(launch_code_rows(p, device_.n_multiprocessors, device_.max_shared_bytes, stream_), "code_rows");
  }
  return true;
}

// cuBLASLt has no algorithm that adds a bf16 bias to some float32 results, so these start as the bias.
void CudaBackend::multiply(const Tensor& out, const void* x, const void* w, const Tensor& bias,
                           const GemmScales& scales, GemmShape shape) {
  if (shape.float_out && shape.bias) {
    assert(!shape.accumulate);
    check(launch_fill_rows(out.data, bias.data, shape.n, shape.d_out, stream_), "fill_rows");
    shape.bias = false;
    shape.accumulate = true;
  }
  gemm_->run(out.data, x, w, bias.data, scales, shape, stream_);
}

bool CudaBackend::takes_groups(const LinearWeights& w, int64_t n) {
  const LinearWeights::Part& part = w.parts.front();
  if (part.input_codes == InputCodes::kE4M3Token128) return true;
  return n <= kMostSpreadRows && CodeMatrix::spreads(part.input_codes, part.group, w.d_in());
}

void CudaBackend::round_for(const LinearWeights& w, RoundedInputs in, void* codes) {
  const LinearWeights::Part& part = w.parts.front();
  in.columns = takes_groups(w, in.n) ? rows_with_padding(in.n) : 0;
  in.codes = part.input_codes;
  in.static_scale = part.input_scale;
  in.d_in = w.d_in();
  check(launch_round_inputs(codes, CodeMatrix::code_pitch(DType::kF8E4M3, w.d_in()),
                            input_scales_.as<float>(), in, stream_),
        "round_inputs");
}

void CudaBackend::multiply_rounded(const Tensor& out, const void* codes, const LinearWeights& w,
                                   bool accumulate) {
  const LinearWeights::Part& part = w.parts.front();
  GemmShape s = shape_of(out, w, accumulate);
  const bool groups = takes_groups(w, s.n), rows = part.input_codes != InputCodes::kE4M3Token128;
  s.inputs = groups ? GemmInputs::kE4M3Groups : GemmInputs::kE4M3Rows;
  s.ld_x = s.ld_w = CodeMatrix::code_pitch(DType::kF8E4M3, w.d_in());
  const GemmScales scales{input_scales_.as<float>(),
                          groups && rows ? matrix(w).spread_scale() : part.scale.as<float>()};
  if (!groups || s.n % kGroupRows == 0) return multiply(out, codes, part.weight.data, part.bias, scales, s);
  // The rows of padding, and their outputs, may hold any values.
  s.n = rows_with_padding(s.n);
  s.accumulate = false;
  const Tensor padded(padded_.get(), out.dtype, {s.n, w.d_out()});
  multiply(padded, codes, part.weight.data, part.bias, scales, s);
  if (accumulate) return add(out, padded.rows(0, out.dim(0)));
  check(cudaMemcpyAsync(out.data, padded.data, static_cast<size_t>(out.nbytes()), cudaMemcpyDeviceToDevice,
                        stream_),
        "cudaMemcpyAsync");
}

void CudaBackend::linear_rounded(const Product& product, void* h) {
  const LinearWeights& w = product.w;
  const int64_t rest = rows_left_over(w, product.x.dim(0)), n = product.x.dim(0) - rest;
  prepare_codes(n);
  RoundedInputs in = {};
  in.x = product.x.data;
  in.norm = product.norm == nullptr ? nullptr : product.norm->data;
  in.eps = static_cast<float>(product.eps);
  in.n = n;
  void* codes = h == nullptr ? rounded_.get() : h;
  round_for(w, in, codes);
  multiply_rounded(product.out.rows(0, n), codes, w, product.accumulate);
  if (rest == 0) return;
  const Tensor out = product.out.rows(n, rest), x = product.x.rows(n, rest);
  Product last{.out = out, .x = x, .w = w, .norm = product.norm, .eps = product.eps};
  last.accumulate = product.accumulate;
  // Without a norm, the kernel for few rows always accepts.
  if (few_rows(last) || product.norm == nullptr) return;
  // The norm does not fit into shared memory, so the normalised rows of x go to the last rows of h, which
  // hold no codes.
  const Tensor normed(static_cast<char*>(h) + n * w.d_in() * dtype_bytes(DType::kBF16), x.dtype,
                      {rest, w.d_in()});
  rms_norm(normed, x, *product.norm, product.eps);
  (void)few_rows({.out = out, .x = normed, .w = w, .accumulate = product.accumulate});
}

void CudaBackend::linear_widened(const Product& product) {
  const LinearWeights& w = product.w;
  const LinearWeights::Part& part = w.parts.front();
  prepare_codes(product.x.dim(0));
  check(launch_to_bf16(widened_.get(), matrix(w), stream_), "to_bf16");
  multiply(product.out, product.x.data, widened_.get(), part.bias, {},
           shape_of(product.out, w, product.accumulate));
}

Tensor CudaBackend::ordered(const Tensor& x, const LinearWeights& w) {
  const Tensor& order = w.parts.front().input_order;
  if (!order) return x;
  prepare_codes(x.dim(0));
  const Tensor out(ordered_.get(), DType::kBF16, {x.dim(0), x.dim(1)});
  check(launch_order_columns(out.data, x.data, order.as<int32_t>(), x.dim(0), x.dim(1), stream_),
        "order_columns");
  return out;
}

void CudaBackend::linear(const Tensor& out, const Tensor& in, const LinearWeights& w, bool accumulate) {
  assert(w.parts.size() == 1 && in.dim(1) == w.d_in() && out.dim(1) == w.d_out() && in.dim(0) == out.dim(0));
  const Tensor x = ordered(in, w);
  if (const void* codes = std::exchange(act_codes_, nullptr)) {
    assert(codes == x.data);
    multiply_rounded(out, codes, w, accumulate);
    return;
  }
  const Product product{.out = out, .x = x, .w = w, .accumulate = accumulate};
  if (few_rows(product)) return;
  if (!w.quantised()) {
    const LinearWeights::Part& part = w.parts.front();
    multiply(out, x.data, part.weight.data, part.bias, {}, shape_of(out, w, accumulate));
  } else if (rounds_inputs(w)) {
    linear_rounded(product, nullptr);
  } else {
    linear_widened(product);
  }
}

void CudaBackend::norm_linear(const Tensor& out, const Tensor& h, const Tensor& x, const Tensor& norm,
                              double eps, const LinearWeights& w) {
  // The norm's weights are in the order of x's columns, so the norm comes before the columns are reordered.
  if (w.parts.front().input_order) return Backend::norm_linear(out, h, x, norm, eps, w);
  const Product product{.out = out, .x = x, .w = w, .norm = &norm, .eps = eps};
  if (few_rows(product)) return;
  if (w.quantised() && x.dim(0) > kMostExactRows && rounds_inputs(w)) {
    // Codes can go to h if its rows have room for them: a row of codes takes d_in bytes, rounded up to a
    // chunk, and a row of h takes 2 d_in bytes. This is so from one chunk on.
    linear_rounded(product, w.d_in() >= CodeMatrix::kChunkCodes ? h.data : nullptr);
  } else {
    Backend::norm_linear(out, h, x, norm, eps, w);
  }
}

bool CudaBackend::rounds_swiglu(const Tensor& act, const LinearWeights* next) const {
  return next != nullptr && next->quantised() && act.dim(0) > kMostExactRows && rounds_inputs(*next) &&
         rows_left_over(*next, act.dim(0)) == 0 && next->d_in() >= CodeMatrix::kChunkCodes;
}

void CudaBackend::norm_swiglu(const Tensor& out, const Tensor& h, const Tensor& gate_up, const Tensor& x,
                              const Tensor& norm, double eps, const LinearWeights& w,
                              const LinearWeights* next) {
  const bool in_order = !w.parts.front().input_order;
  if (in_order && few_rows({.out = out, .x = x, .w = w, .norm = &norm, .eps = eps, .swiglu = true})) return;
  if (w.quantised() && x.dim(0) <= most_code_rows(w)) {
    // The inputs and the norm do not fit into shared memory together, or the product takes another order.
    rms_norm(h, x, norm, eps);
    if (few_rows({.out = out, .x = ordered(h, w), .w = w, .swiglu = true})) return;
  }
  norm_linear(gate_up, h, x, norm, eps, w);
  if (!rounds_swiglu(out, next)) return silu_mul(out, gate_up);
  prepare_codes(out.dim(0));
  RoundedInputs in = {};
  in.x = gate_up.data;
  in.swiglu = true;
  in.n = out.dim(0);
  round_for(*next, in, out.data);
  act_codes_ = out.data;
}

}  // namespace seer::cuda
