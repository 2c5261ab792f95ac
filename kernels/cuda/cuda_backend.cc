#include "kernels/cuda/cuda_backend.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstdio>

#include "kernels/cuda/attention/choose.h"
#include "kernels/cuda/attention/mma_prefill/params.h"
#include "kernels/cuda/attention/paged_decode/params.h"
#include "kernels/cuda/attention/sparse_prefill/params.h"
#include "kernels/cuda/check.h"
#include "kernels/cuda/few_rows.h"
#include "kernels/cuda/gate.h"
#include "kernels/cuda/kv_append.h"
#include "kernels/cuda/rows.h"

namespace seer {

std::unique_ptr<Backend> make_cuda_backend(int device) { return std::make_unique<cuda::CudaBackend>(device); }

bool built_with_cuda() { return true; }

}  // namespace seer

namespace seer::cuda {
namespace {

constexpr int64_t kMaxHead = 256;
constexpr int64_t kUsualChanges = 1024;  // of logits, a sequence

float* floats(const Tensor& t) { return t.as<float>(); }
int as_int(int64_t x) { return static_cast<int>(x); }

RopeTableParams rope_params(const RopeTable& out, std::span<const double> inv_freq, double scaling) {
  RopeTableParams p = {};
  p.cos = floats(out.cos);
  p.sin = floats(out.sin);
  p.n_rows = out.cos.dim(0);
  p.half = as_int(out.cos.dim(1));
  p.scaling = scaling;
  assert(p.half == as_int(static_cast<int64_t>(inv_freq.size())) && p.half <= kMaxHalfHead);
  std::copy(inv_freq.begin(), inv_freq.end(), p.inv_freq);
  return p;
}

bool one_of(int64_t x, std::initializer_list<int64_t> choices) {
  return std::find(choices.begin(), choices.end(), x) != choices.end();
}

}  // namespace

CudaBackend::CudaBackend(int device) : device_(Device::open(device)) {
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
  gemm_ = std::make_unique<GemmCublasLt>();
  const int64_t counter_bytes = kDecodeMaxGroups * static_cast<int64_t>(sizeof(int32_t));
  decode_counters_ = DeviceMemory(counter_bytes, "decode attention");
  check(cudaMemset(decode_counters_.get(), 0, static_cast<size_t>(counter_bytes)), "cudaMemset");
  decode_partials_ =
      DeviceMemory(decode_partial_bytes(kMaxHead, device_.n_multiprocessors), "decode attention");
}

CudaBackend::~CudaBackend() {
  (void)cudaSetDevice(device_.index);
  (void)cudaStreamSynchronize(stream_);
  for (const auto& [key, recording] : recordings_)
    if (recording.graph != nullptr) (void)cudaGraphExecDestroy(recording.graph);
  uploader_.reset();
  (void)cudaStreamDestroy(stream_);
}

void CudaBackend::use() const { check(cudaSetDevice(device_.index), "cudaSetDevice"); }

std::string CudaBackend::description() const {
  char text[160];
  std::snprintf(text, sizeof text, "cuda:%d (%s, %.0f GiB, compute capability %d.%d)", device_.index,
                device_.name.c_str(), static_cast<double>(device_.total_bytes) / (1 << 30),
                device_.compute_major, device_.compute_minor);
  return text;
}

std::optional<Backend::Memory> CudaBackend::memory() {
  use();
  size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return Memory{static_cast<int64_t>(total), static_cast<int64_t>(free)};
}

void CudaBackend::check_model(const ModelShape& s) const {
  const auto refuse = [](const std::string& what, int64_t found, const std::string& expected) {
    throw Error(ErrorKind::kUnsupported, "the CUDA backend expects " + what + " of " + expected + ", found " +
                                             std::to_string(found) + ". Use --device cpu for this model.");
  };
  if (!one_of(s.d_head, {64, 96, 128, 256})) refuse("a head size", s.d_head, "64, 96, 128 or 256");
  if (!one_of(s.page_tokens, {16, 32, 64, 128}))
    refuse("a gate block", s.page_tokens, "16, 32, 64 or 128 tokens");
  if (s.d_model % 8 != 0) refuse("a model width", s.d_model, "a multiple of 8");
  if (s.d_ff % 8 != 0) refuse("an MLP width", s.d_ff, "a multiple of 8");
  if (s.n_vocab % 8 != 0) refuse("a vocabulary", s.n_vocab, "a multiple of 8 tokens");
  if (s.d_gate != 0 && !one_of(s.d_gate, {64, 96, 128, 256}))
    refuse("a gate size", s.d_gate, "64, 96, 128 or 256");
  if (s.d_gate != 0 && s.n_blocks > gate_max_blocks())
    refuse("a context", s.n_blocks, "at most " + std::to_string(gate_max_blocks()) + " gate blocks");
}

Buffer CudaBackend::allocate(int64_t bytes, const std::string& purpose) {
  use();
  auto memory = std::make_shared<DeviceMemory>(bytes, purpose);
  return {memory, memory->get()};
}

Tensor CudaBackend::to_device(const Tensor& host, std::vector<Buffer>* keep) {
  use();
  Tensor out = host;
  if (host.dtype == DType::kI32 || host.dtype == DType::kU8) {
    keep->push_back(allocate(host.nbytes(), "a tensor"));
    out.data = keep->back().get();
    check(cudaMemcpyAsync(out.data, host.data, static_cast<size_t>(host.nbytes()), cudaMemcpyHostToDevice,
                          stream_),
          "cudaMemcpyAsync");
    check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
    return out;
  }
  out.dtype = DType::kBF16;
  keep->push_back(allocate(out.nbytes(), "weights"));
  out.data = keep->back().get();
  if (!uploader_) uploader_ = std::make_unique<Uploader>(stream_);
  uploader_->copy(out.data, host);
  return out;
}

// One matrix for all parts, so that they are one product.
LinearWeights CudaBackend::to_device(const LinearWeights& host, std::vector<Buffer>* keep) {
  use();
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

void CudaBackend::fill_random(const Tensor& out, uint64_t seed, float mean, float scale) {
  use();
  assert(out.dtype == DType::kBF16);
  check(launch_random_bf16(out.data, seed, mean, scale, out.numel(), stream_), "random_bf16");
}

void CudaBackend::read(void* host, const Tensor& device) {
  use();
  check(cudaMemcpyAsync(host, device.data, static_cast<size_t>(device.nbytes()), cudaMemcpyDeviceToHost,
                        stream_),
        "cudaMemcpyAsync");
  check(cudaStreamSynchronize(stream_), "a step on the GPU");
}

void CudaBackend::prepare(const StepLimits& limits) {
  use();
  uploader_.reset();
  step_.prepare(limits);
  sample_.reserve(std::max(limits.n_logits, limits.n_sequences), limits.n_sequences * kUsualChanges);
}

void CudaBackend::begin_step(const StepInput& in, int64_t page_tokens) {
  use();
  step_.begin(in, page_tokens, stream_);
}

void CudaBackend::run_step(int64_t key, const std::function<void()>& operations) {
  if (key == 0) return operations();
  const auto [found, first] = recordings_.try_emplace(key);
  Recording& recording = found->second;
  if (first) return operations();
  if (recording.graph == nullptr) record(&recording, operations);
  check(cudaGraphLaunch(recording.graph, stream_), "cudaGraphLaunch");
}

void CudaBackend::record(Recording* recording, const std::function<void()>& operations) {
  check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  recording_ = true;
  cudaGraph_t graph = nullptr;
  try {
    operations();
  } catch (...) {
    recording_ = false;
    (void)cudaStreamEndCapture(stream_, &graph);
    if (graph != nullptr) (void)cudaGraphDestroy(graph);
    throw;
  }
  recording_ = false;
  check(cudaStreamEndCapture(stream_, &graph), "cudaStreamEndCapture");
  const cudaError_t error = cudaGraphInstantiate(&recording->graph, graph, 0);
  (void)cudaGraphDestroy(graph);
  check(error, "cudaGraphInstantiate");
}

void CudaBackend::embed(const Tensor& out, const Tensor& table, std::span<const int32_t> ids) {
  assert(out.dim(0) == static_cast<int64_t>(ids.size()));
  (void)ids;  // begin_step brought them
  check(launch_embed(out.data, table.data, step_.ids(), out.dim(0), out.dim(1), stream_), "embed");
}

void CudaBackend::rms_norm(const Tensor& out, const Tensor& x, const Tensor& weight, double eps) {
  check(launch_rms_norm(out.data, x.data, weight.data, static_cast<float>(eps), x.dim(0), x.dim(1), stream_),
        "rms_norm");
}

bool CudaBackend::few_rows(const Tensor& out, const Tensor& x, const LinearWeights& w, const Tensor* norm,
                           double eps, bool accumulate, bool swiglu) {
  const LinearWeights::Part& part = w.parts.front();
  if (!few_rows_fits(x.dim(0), w.d_in(), device_.max_shared_bytes)) return false;
  FewRowsParams p = {};
  p.out = out.data;
  p.x = x.data;
  p.weight = part.weight.data;
  p.bias = part.bias.data;
  p.norm = norm == nullptr ? nullptr : norm->data;
  p.eps = static_cast<float>(eps);
  p.n = as_int(x.dim(0));
  p.d_in = w.d_in();
  p.d_out = w.d_out();
  p.accumulate = accumulate;
  p.float_out = out.dtype == DType::kF32;
  p.swiglu = swiglu;
  check(launch_few_rows(p, device_.n_multiprocessors, device_.max_shared_bytes, stream_), "few_rows");
  return true;
}

void CudaBackend::linear(const Tensor& out, const Tensor& x, const LinearWeights& w, bool accumulate) {
  assert(w.parts.size() == 1 && x.dim(1) == w.d_in() && out.dim(1) == w.d_out() && x.dim(0) == out.dim(0));
  if (few_rows(out, x, w, nullptr, 0.0, accumulate, false)) return;
  const LinearWeights::Part& part = w.parts.front();
  GemmShape s;
  s.n = x.dim(0);
  s.d_in = s.ld_x = s.ld_w = w.d_in();
  s.d_out = s.ld_out = w.d_out();
  s.float_out = out.dtype == DType::kF32;
  s.accumulate = accumulate;
  s.bias = static_cast<bool>(part.bias);
  gemm_->run(out.data, x.data, part.weight.data, part.bias.data, s, stream_);
}

void CudaBackend::silu_mul(const Tensor& out, const Tensor& gate_up) {
  check(launch_silu_mul(out.data, gate_up.data, out.dim(0), out.dim(1), stream_), "silu_mul");
}

void CudaBackend::norm_linear(const Tensor& out, const Tensor& h, const Tensor& x, const Tensor& norm,
                              double eps, const LinearWeights& w) {
  if (!few_rows(out, x, w, &norm, eps, false, false)) Backend::norm_linear(out, h, x, norm, eps, w);
}

void CudaBackend::norm_swiglu(const Tensor& out, const Tensor& h, const Tensor& gate_up, const Tensor& x,
                              const Tensor& norm, double eps, const LinearWeights& w) {
  if (!few_rows(out, x, w, &norm, eps, false, true)) Backend::norm_swiglu(out, h, gate_up, x, norm, eps, w);
}

void CudaBackend::gather_rows(const Tensor& out, const Tensor& x, std::span<const int64_t> rows) {
  assert(out.dim(0) == static_cast<int64_t>(rows.size()));
  (void)rows;  // begin_step brought them
  check(launch_gather_rows(out.data, x.data, step_.logit_rows(), out.dim(0), out.dim(1), stream_),
        "gather_rows");
}

void CudaBackend::rope_table(const RopeTable& out, int64_t start, int64_t stride,
                             std::span<const double> inv_freq, double scaling) {
  RopeTableParams p = rope_params(out, inv_freq, scaling);
  p.start = start;
  p.stride = stride;
  check(launch_rope_table(p, stream_), "rope_table");
}

void CudaBackend::rope_table(const RopeTable& out, std::span<const Segment> decodes,
                             std::span<const double> inv_freq, double scaling) {
  assert(out.cos.dim(0) == static_cast<int64_t>(decodes.size()));
  (void)decodes;  // begin_step brought their positions
  RopeTableParams p = rope_params(out, inv_freq, scaling);
  p.positions = step_.decode_positions();
  check(launch_rope_table(p, stream_), "rope_table");
}

void CudaBackend::append_kv(const Tensor& q, const PagedKv& kv, const Tensor& qkv, const RopeTable& rope,
                            const Step& step, const PooledBlocks* pooled) {
  const int64_t page = kv.page_tokens();
  const auto common = [&](int64_t row) {
    KvAppendParams c = {};
    c.q = q.rows(row, 1).data;
    c.k = kv.k.data;
    c.v = kv.v.data;
    c.qkv = qkv.rows(row, 1).data;
    c.cos = floats(rope.cos.rows(row, 1));
    c.sin = floats(rope.sin.rows(row, 1));
    c.n_heads = as_int(q.dim(1));
    c.n_kv_heads = as_int(kv.n_kv_heads());
    c.d_head = as_int(kv.d_head());
    c.page_tokens = as_int(page);
    return c;
  };
  int64_t block_row = 0;
  for (const Segment& segment : step.prefills) {
    PrefillAppendParams p = {};
    p.common = common(segment.row);
    p.page_table = step_.prefill_table(segment);
    p.start = segment.start;
    p.n_tokens = segment.n_tokens;
    if (pooled != nullptr) {
      p.q_pools = pooled->q_pools;
      p.k_pools = pooled->k_pools;
      p.pooled_q = pooled->q.rows(block_row, 1).data;
      p.pooled_k = pooled->k.rows(block_row, 1).data;
    }
    check(launch_prefill_append(p, stream_), "prefill_append");
    block_row += (segment.n_tokens + page - 1) / page;
  }
  if (step.decodes.empty()) return;
  DecodeAppendParams p = {};
  p.common = common(step.decodes.front().row);
  p.positions = step_.decode_positions();
  p.tables = step_.tables();
  p.table_offsets = step_.decode_table_offsets();
  p.n = as_int(static_cast<int64_t>(step.decodes.size()));
  check(launch_decode_append(p, stream_), "decode_append");
}

void CudaBackend::gate_project(const Tensor& gate_q, const PagedKv& kv, const PooledBlocks& pooled,
                               const GateView& gate, const RopeTable& rope, const Segment& segment) {
  const int64_t n_rows = gate_q.dim(0), n_heads = gate_q.dim(1), d_gate = gate_q.dim(2);
  const int64_t n_kv_heads = kv.n_kv_heads(), n_gate_heads = gate.n_gate_heads();
  assert(n_rows == pooled.q.dim(0) &&
         pooled.projected.numel() >= n_rows * std::max(n_heads, n_gate_heads) * d_gate);
  // out [n_rows, n_out, d_gate] = in [n_rows, n_in, size] times the head's [size, d_gate], heads of one group
  // sharing their input: a batch over the inputs for each place in a group.
  const auto project = [&](int64_t n_out, const Tensor& in, int64_t n_in, const Tensor& weights) {
    const int64_t size = weights.dim(1), group = n_out / n_in;
    GemmShape s;
    s.n = n_rows;
    s.d_in = size;
    s.d_out = d_gate;
    s.ld_x = n_in * size;
    s.ld_w = d_gate;
    s.ld_out = n_out * d_gate;
    s.w_transposed = false;
    s.float_out = true;
    s.n_batch = n_in;
    s.x_stride = size;
    s.w_stride = group * size * d_gate;
    s.out_stride = group * d_gate;
    for (int64_t g = 0; g < group; ++g)
      gemm_->run(floats(pooled.projected) + g * d_gate, in.data, weights.rows(g, 1).data, nullptr, s,
                 stream_);
  };
  GateRotateParams p = {};
  p.cos = floats(rope.cos);
  p.sin = floats(rope.sin);
  p.n_rows = n_rows;
  p.d_gate = as_int(d_gate);
  p.half = as_int(rope.cos.dim(1));

  project(n_gate_heads, pooled.k, n_kv_heads, gate.linear_k);
  p.out = kv.gate_k.data;
  p.in_f32 = floats(pooled.projected);
  p.table = step_.prefill_table(segment);
  p.first_block = segment.start / kv.page_tokens();
  p.n_heads = as_int(n_gate_heads);
  check(launch_gate_rotate(p, stream_), "gate_rotate");

  p.out = gate_q.data;
  p.table = nullptr;
  p.n_heads = as_int(n_heads);
  if (gate.linear_q) {
    project(n_heads, pooled.q, n_heads, gate.linear_q);
  } else {
    p.in_f32 = nullptr;
    p.in_bf16 = pooled.q.data;
  }
  check(launch_gate_rotate(p, stream_), "gate_rotate");
}

void CudaBackend::select_blocks(const BlockMask& mask, const Tensor* scores, const Tensor& gate_q,
                                const PagedKv& kv, const Segment& segment, const SelectRule& rule) {
  GateSelectParams p = {};
  p.counts = mask.counts.as<int32_t>();
  p.blocks = mask.blocks.as<int32_t>();
  p.scores = scores == nullptr ? nullptr : floats(*scores);
  p.gate_q = gate_q.data;
  p.gate_k = kv.gate_k.data;
  p.table = step_.prefill_table(segment);
  p.first_block = segment.start / kv.page_tokens();
  p.n_rows = gate_q.dim(0);
  p.row_capacity = mask.row_capacity();
  p.n_heads = as_int(gate_q.dim(1));
  p.n_gate_heads = as_int(kv.gate_k.dim(1));
  p.d_gate = as_int(gate_q.dim(2));
  p.rule = rule;
  check(launch_gate_select(p, stream_), "gate_select");
}

void CudaBackend::prefill_attention(const Tensor& out, const Tensor& q, const PagedKv& kv,
                                    const Segment& segment, const BlockMask* mask, int64_t first_token) {
  if (choose_prefill(device_, kv.d_head(), kv.page_tokens()) == PrefillKernel::kWgmma)
    return wgmma_prefill(out, q, kv, segment, mask, first_token);
  PrefillParams p = {};
  p.out = out.data;
  p.q = q.data;
  p.k = kv.k.data;
  p.v = kv.v.data;
  p.page_table = step_.prefill_table(segment);
  if (mask != nullptr) {
    p.counts = mask->counts.as<int32_t>();
    p.blocks = mask->blocks.as<int32_t>();
    p.row_capacity = mask->row_capacity();
    p.n_mask_rows = as_int(mask->n_rows());
  }
  p.row = segment.row;
  p.start = segment.start;
  p.n_tokens = segment.n_tokens;
  p.first_token = first_token;
  p.n_heads = as_int(q.dim(1));
  p.n_kv_heads = as_int(kv.n_kv_heads());
  p.d_head = as_int(kv.d_head());
  p.page_tokens = as_int(kv.page_tokens());
  p.scale = 1.0F / std::sqrt(static_cast<float>(kv.d_head()));
  check(launch_mma_prefill(p, stream_), "prefill_attention");
}

void CudaBackend::wgmma_prefill(const Tensor& out, const Tensor& q, const PagedKv& kv, const Segment& segment,
                                const BlockMask* mask, int64_t first_token) {
  WgmmaPrefillParams p = {};
  p.out = out.data;
  p.q = q.data;
  p.page_table = step_.prefill_table(segment);
  int64_t n_lists = 0;
  if (mask != nullptr) {
    p.counts = mask->counts.as<int32_t>();
    p.blocks = mask->blocks.as<int32_t>();
    p.row_capacity = mask->row_capacity();
    p.n_mask_rows = as_int(mask->n_rows());
    n_lists = mask->n_heads() * mask->n_rows();
  }
  if (n_lists >= pair_capacity_) {
    pair_scratch_ = DeviceMemory((n_lists + 1) * static_cast<int64_t>(sizeof(int32_t)), "attention");
    pair_capacity_ = n_lists + 1;
  }
  p.next_item = pair_scratch_.as<int32_t>();
  p.n_shared = p.next_item + 1;
  p.row = segment.row;
  p.start = segment.start;
  p.n_tokens = segment.n_tokens;
  p.first_token = first_token;
  p.n_heads = as_int(q.dim(1));
  p.n_kv_heads = as_int(kv.n_kv_heads());
  p.d_head = as_int(kv.d_head());
  p.scale = 1.0F / std::sqrt(static_cast<float>(kv.d_head()));
  PageMaps maps;
  if (!make_page_maps(&maps, kv.k.data, kv.v.data, kv.k.dim(0), p.n_kv_heads, p.d_head))
    throw Error(ErrorKind::kDevice,
                "the driver made no tensor map of a pool of " + std::to_string(kv.k.dim(0)) + " pages");
  check(launch_wgmma_prefill(p, maps, device_.n_multiprocessors, stream_), "prefill_attention");
}

void CudaBackend::decode_attention(const Tensor& out, const Tensor& q, const PagedKv& kv,
                                   std::span<const Segment> segments) {
  const int64_t row = segments.front().row;
  DecodeParams p = {};
  p.out = out.rows(row, 1).data;
  p.q = q.rows(row, 1).data;
  p.k = kv.k.data;
  p.v = kv.v.data;
  p.positions = step_.decode_positions();
  p.tables = step_.tables();
  p.table_offsets = step_.decode_table_offsets();
  p.n_sequences = as_int(static_cast<int64_t>(segments.size()));
  p.n_heads = as_int(q.dim(1));
  p.n_kv_heads = as_int(kv.n_kv_heads());
  p.d_head = as_int(kv.d_head());
  p.page_tokens = as_int(kv.page_tokens());
  p.n_splits = decode_splits(p.n_sequences, p.n_heads, p.n_kv_heads, device_.n_multiprocessors);
  p.scale = 1.0F / std::sqrt(static_cast<float>(kv.d_head()));
  p.counters = decode_counters_.as<int32_t>();
  p.partials = decode_partials_.as<float>();
  check(launch_paged_decode(p, stream_), "decode_attention");
}

void CudaBackend::sample(std::span<int32_t> ids, const Tensor& logits, std::span<const SampleRow> rows) {
  use();
  const auto n = static_cast<int64_t>(rows.size());
  assert(n == logits.dim(0) && rows.size() == ids.size());
  if (n == 0) return;
  SampleParams p = sample_.begin(rows, stream_);
  p.logits = floats(logits);
  p.n_vocab = as_int(logits.dim(1));
  check(launch_sample(p, n, stream_), "sample");
  timer_.end(Phase::kStep, stream_);  // a step's work ends here; what follows is the host's
  check(cudaStreamSynchronize(stream_), "a step on the GPU");
  std::copy_n(sample_.ids(), n, ids.begin());
}

void CudaBackend::begin_phase(Phase phase) {
  if (!recording_) timer_.begin(phase, stream_);
}

void CudaBackend::end_phase(Phase phase) {
  if (!recording_) timer_.end(phase, stream_);
}

int64_t CudaBackend::phase_ns(Phase phase) {
  use();
  return timer_.sum_ns(phase);
}

}  // namespace seer::cuda
