#include "kernels/cpu/cpu_backend.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/cpu/cores.h"
#include "kernels/cpu/memory.h"
#include "kernels/cpu/rotate.h"
#include "kernels/random_weights.h"
#include "seer/error.h"

namespace seer {
namespace {

constexpr int kMaxThreads = 1024;
constexpr int64_t kRowsPerTask = 32;

// Calls body(begin, end, thread) for runs of kRowsPerTask rows that together cover [0, n).
template <class Body>
void for_rows(ThreadPool& pool, int64_t n, Body&& body) {
  pool.run((n + kRowsPerTask - 1) / kRowsPerTask, [&](int64_t task, int thread) {
    const int64_t begin = task * kRowsPerTask;
    body(begin, std::min(n, begin + kRowsPerTask), thread);
  });
}

int checked_threads(int n_threads) {
  if (n_threads == 0) return available_cores();
  if (n_threads < 0 || n_threads > kMaxThreads)
    throw Error(ErrorKind::kUsage, "expected between 1 and " + std::to_string(kMaxThreads) +
                                       " threads, or 0 for one per core, found " + std::to_string(n_threads));
  return n_threads;
}

}  // namespace

simd::WeightType weight_type(DType dtype) {
  assert(dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16);
  return dtype == DType::kF16    ? simd::WeightType::kF16
         : dtype == DType::kBF16 ? simd::WeightType::kBF16
                                 : simd::WeightType::kF32;
}

std::unique_ptr<Backend> make_cpu_backend(int n_threads, bool round_inputs, bool bf16_inputs) {
  return std::make_unique<CpuBackend>(checked_threads(n_threads), round_inputs, bf16_inputs);
}

CpuBackend::CpuBackend(int n_threads, bool round_inputs, bool bf16_inputs)
    : round_inputs_(round_inputs),
      bf16_inputs_(bf16_inputs),
      pool_(n_threads),
      openblas_(n_threads),
      simd_(simd::functions()),
      thread_scratch_(static_cast<size_t>(n_threads)) {
  if (bf16_inputs && simd_.product_bf16 == nullptr)
    throw Error(ErrorKind::kUnsupported,
                std::string("activations of bf16 are not supported on this processor: expected one with "
                            "AVX512-BF16, AVX512-VNNI and AVX512-VBMI, found ") +
                    simd_.name + ". Use --activations f32.");
}

std::string CpuBackend::description() const {
  const int n = pool_.n_threads();
  return "cpu (" + std::to_string(n) + (n == 1 ? " thread, " : " threads, ") + simd_.name + ", OpenBLAS " +
         openblas_kernels() + (bf16_inputs_ ? ", bf16 inputs)" : ")");
}

float* CpuBackend::Scratch::reserve(int64_t n_floats) {
  if (n_floats > capacity_) {
    memory_ = nullptr;  // freed before the larger one is mapped
    capacity_ = 0;
    memory_ = allocate_lazily(n_floats * int64_t{sizeof(float)}, "scratch");
    data_ = static_cast<float*>(memory_.get());
    capacity_ = n_floats;
  }
  return data_;
}

void CpuBackend::reserve_thread_scratch(int64_t n_floats) {
  for (Scratch& s : thread_scratch_) s.reserve(n_floats);
}

Buffer CpuBackend::allocate(int64_t bytes, const std::string& purpose) {
  return allocate_lazily(bytes, purpose);
}

Tensor CpuBackend::to_device(const Tensor& host, std::vector<Buffer>*) { return host; }

LinearWeights CpuBackend::to_device(const LinearWeights& host, std::vector<Buffer>*) { return host; }

void CpuBackend::fill_random(const Tensor& out, uint64_t seed, float mean, float scale,
                             const RandomSlice& slice) {
  assert(out.dtype == DType::kBF16);
  auto* values = static_cast<uint16_t*>(out.data);
  const int64_t width = out.dim(out.rank - 1), stride = slice.stride == 0 ? width : slice.stride;
  for_rows(pool_, width == 0 ? 0 : out.numel() / width, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r)
      for (int64_t c = 0; c < width; ++c)
        values[r * width + c] =
            random_bf16(seed, static_cast<uint64_t>(slice.first + r * stride + c), mean, scale);
  });
}

void CpuBackend::read(void* host, const Tensor& device) {
  std::memcpy(host, device.data, static_cast<size_t>(device.nbytes()));
}

void CpuBackend::read_rows(std::byte* host, int64_t stride, const Tensor& device,
                           std::span<const int64_t> rows) {
  if (rows.empty()) return;
  const int64_t bytes = device.nbytes() / device.dim(0);
  for_rows(pool_, static_cast<int64_t>(rows.size()), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i)
      std::memcpy(host + i * stride,
                  static_cast<const std::byte*>(device.data) + rows[static_cast<size_t>(i)] * bytes,
                  static_cast<size_t>(bytes));
  });
}

void CpuBackend::write_rows(const Tensor& device, std::span<const int64_t> rows, const std::byte* host,
                            int64_t stride) {
  if (rows.empty()) return;
  const int64_t bytes = device.nbytes() / device.dim(0);
  for_rows(pool_, static_cast<int64_t>(rows.size()), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i)
      std::memcpy(static_cast<std::byte*>(device.data) + rows[static_cast<size_t>(i)] * bytes,
                  host + i * stride, static_cast<size_t>(bytes));
  });
}

void CpuBackend::embed(const Tensor& out, const Tensor& table, int64_t first_id) {
  const std::span<const int32_t> ids = step_.ids;
  const int64_t d_model = out.dim(1);
  assert(out.dim(0) == static_cast<int64_t>(ids.size()) && table.dim(1) == d_model);
  for_rows(pool_, out.dim(0), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t id = ids[static_cast<size_t>(i)] - first_id;
      float* row = out.as<float>() + i * d_model;
      if (id >= 0 && id < table.dim(0)) {
        simd_.to_float(row, table.rows(id, 1).data, weight_type(table.dtype), d_model);
      } else {
        std::fill_n(row, d_model, 0.0F);
      }
    }
  });
}

void CpuBackend::add(const Tensor& x, const Tensor& y) {
  const int64_t width = x.dim(1);
  assert(y.dim(0) == x.dim(0) && y.dim(1) == width);
  for_rows(pool_, x.dim(0), [&](int64_t begin, int64_t end, int) {
    float* out = x.as<float>();
    const float* in = y.as<float>();
    for (int64_t i = begin * width; i < end * width; ++i) out[i] += in[i];
  });
}

void CpuBackend::copy_columns(const Tensor& out, int64_t first, const Tensor& in) {
  const int64_t width = in.dim(1), out_width = out.dim(1);
  assert(out.dim(0) == in.dim(0) && first >= 0 && first + width <= out_width);
  for (int64_t i = 0; i < in.dim(0); ++i)
    std::memcpy(out.as<float>() + i * out_width + first, in.as<float>() + i * width,
                static_cast<size_t>(width) * sizeof(float));
}

void CpuBackend::copy_rows(const Tensor& out, std::span<const int64_t> out_rows, const Tensor& in,
                           std::span<const int64_t> in_rows) {
  const auto n = static_cast<int64_t>(out_rows.size());
  if (n == 0) return;
  const int64_t bytes = in.nbytes() / in.dim(0);
  assert(out_rows.size() == in_rows.size() && out.dtype == in.dtype && out.nbytes() / out.dim(0) == bytes);
  for_rows(pool_, n, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i)
      std::memcpy(static_cast<char*>(out.data) + out_rows[static_cast<size_t>(i)] * bytes,
                  static_cast<const char*>(in.data) + in_rows[static_cast<size_t>(i)] * bytes,
                  static_cast<size_t>(bytes));
  });
}

void CpuBackend::rms_norm(const Tensor& out, const Tensor& x, const Tensor& weight, double eps) {
  const int64_t d_model = x.dim(1);
  assert(weight.numel() == d_model && out.dim(0) == x.dim(0));
  float* w = scratch_.reserve(d_model);
  simd_.to_float(w, weight.data, weight_type(weight.dtype), d_model);
  for_rows(pool_, x.dim(0), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i)
      simd_.rms_norm(out.as<float>() + i * d_model, x.as<float>() + i * d_model, w, d_model,
                     static_cast<float>(eps));
  });
}

void CpuBackend::silu_mul(const Tensor& out, const Tensor& gate_up) {
  const int64_t d_ff = out.dim(1);
  assert(gate_up.dim(1) == 2 * d_ff && gate_up.dim(0) == out.dim(0));
  for_rows(pool_, out.dim(0), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const float* gate = gate_up.as<float>() + i * 2 * d_ff;
      simd_.silu_mul(out.as<float>() + i * d_ff, gate, gate + d_ff, d_ff);
    }
  });
}

void CpuBackend::gather_rows(const Tensor& out, const Tensor& x) {
  const std::span<const int64_t> rows = step_.logit_rows;
  const int64_t width = x.dim(1);
  assert(out.dim(0) == static_cast<int64_t>(rows.size()) && out.dim(1) == width);
  assert(std::all_of(rows.begin(), rows.end(), [&](int64_t row) { return row >= 0 && row < x.dim(0); }));
  for (size_t i = 0; i < rows.size(); ++i)
    std::memcpy(out.as<float>() + static_cast<int64_t>(i) * width, x.as<float>() + rows[i] * width,
                static_cast<size_t>(width) * sizeof(float));
}

void CpuBackend::rope_table(const RopeTable& out, int64_t start, int64_t stride,
                            std::span<const double> inv_freq, double scaling) {
  const int64_t half = static_cast<int64_t>(inv_freq.size());
  assert(out.cos.dim(1) == half && out.sin.dim(1) == half);
  for_rows(pool_, out.cos.dim(0), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      const auto position = static_cast<double>(start + r * stride);
      for (int64_t i = 0; i < half; ++i) {
        const double angle = position * inv_freq[static_cast<size_t>(i)];
        out.cos.as<float>()[r * half + i] = static_cast<float>(std::cos(angle) * scaling);
        out.sin.as<float>()[r * half + i] = static_cast<float>(std::sin(angle) * scaling);
      }
    }
  });
}

void CpuBackend::decode_rope_table(const RopeTable& out, std::span<const double> inv_freq, double scaling,
                                   int64_t multiple) {
  const std::span<const Segment> decodes = step_.step.decodes;
  assert(out.cos.dim(0) == static_cast<int64_t>(decodes.size()));
  for (size_t i = 0; i < decodes.size(); ++i)
    rope_table({out.cos.rows(static_cast<int64_t>(i), 1), out.sin.rows(static_cast<int64_t>(i), 1)},
               decodes[i].start / multiple * multiple, 1, inv_freq, scaling);
}

CpuBackend::FloatNorms CpuBackend::float_norms(const HeadNorms& norms, int64_t d_head) {
  if (!norms) return {};
  assert(norms.q.numel() == d_head && norms.k.numel() == d_head);
  float* weights = scratch_.reserve(2 * d_head);
  simd_.to_float(weights, norms.q.data, weight_type(norms.q.dtype), d_head);
  simd_.to_float(weights + d_head, norms.k.data, weight_type(norms.k.dtype), d_head);
  return {weights, weights + d_head, static_cast<float>(norms.eps)};
}

void CpuBackend::append_kv(const Tensor& q, const PagedKv& kv, const Tensor& qkv, const HeadNorms& norms,
                           const RopeTable& rope, const Step& step, const PooledBlocks* pooled) {
  const int64_t n_heads = q.dim(1), d_head = q.dim(2), n_kv_heads = kv.n_kv_heads(), page = kv.page_tokens();
  const int64_t width = (n_heads + 2 * n_kv_heads) * d_head, half = d_head / 2;
  assert(qkv.dim(1) == width && rope.cos.dim(1) == half && kv.d_head() == d_head);
  // Pooling normalises the heads once more, a page of one head at a time, because qkv stays as it is. That is
  // about as much work as their rotation.
  const FloatNorms float_norms = this->float_norms(norms, d_head);
  reserve_thread_scratch((page + 1) * d_head);  // room for a page of normalised heads, and a rotated one
  assert(kv.v.dtype == kv.k.dtype && (kv.k.dtype == DType::kF32 || kv.k.dtype == DType::kBF16));
  const auto store = [&](void* head, int64_t slot, const float* in) {
    if (kv.k.dtype == DType::kBF16) {
      simd_.to_bf16(static_cast<uint16_t*>(head) + slot * d_head, in, d_head);
    } else {
      std::memcpy(static_cast<float*>(head) + slot * d_head, in, static_cast<size_t>(d_head) * sizeof(float));
    }
  };
  const auto normalised = [&](const float* in, const float* weight, int thread) {
    return normalise({in, d_head}, 1, weight, float_norms.eps, d_head, thread).data;
  };
  const auto append_segment = [&](const Segment& segment) {
    for_rows(pool_, segment.n_tokens, [&](int64_t begin, int64_t end, int thread) {
      for (int64_t t = begin; t < end; ++t) {
        const int64_t row = segment.row + t, position = segment.start + t;
        const float* in = qkv.as<float>() + row * width;
        const float* cos = rope.cos.as<float>() + row * half;
        const float* sin = rope.sin.as<float>() + row * half;
        for (int64_t h = 0; h < n_heads; ++h)
          rotate(q.as<float>() + (row * n_heads + h) * d_head,
                 normalised(in + h * d_head, float_norms.q, thread), cos, sin, half);
        const int64_t page_id = segment.page_table[position / page];
        if (page_id < 0) continue;
        for (int64_t h = 0; h < n_kv_heads; ++h) {
          const float *k_in = in + (n_heads + h) * d_head, *v_in = k_in + n_kv_heads * d_head;
          float* rotated = thread_scratch(thread) + page * d_head;
          rotate(rotated, normalised(k_in, float_norms.k, thread), cos, sin, half);
          store(kv.k_head(page_id, h), position % page, rotated);
          store(kv.v_head(page_id, h), position % page, v_in);
        }
      }
    });
  };
  for (const Segment& segment : step.prefills) append_segment(segment);
  for (const Segment& segment : step.decodes) append_segment(segment);
  if (pooled == nullptr) return;
  int64_t first_row = 0;
  for (const Segment& segment : step.prefills) {
    pool_blocks(*pooled, first_row, qkv, float_norms, kv, segment);
    first_row += (segment.n_tokens + page - 1) / page;
  }
}

void CpuBackend::begin_phase(Phase phase) {
  phase_begin_[static_cast<size_t>(phase)] = std::chrono::steady_clock::now();
}

void CpuBackend::end_phase(Phase phase) {
  const auto i = static_cast<size_t>(phase);
  phase_ns_[i] += std::chrono::nanoseconds(std::chrono::steady_clock::now() - phase_begin_[i]).count();
}

int64_t CpuBackend::phase_ns(Phase phase) { return phase_ns_[static_cast<size_t>(phase)]; }

void CpuBackend::reset_phases() { phase_ns_ = {}; }

}  // namespace seer
