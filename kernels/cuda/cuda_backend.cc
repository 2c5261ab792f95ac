#include "kernels/cuda/cuda_backend.h"

#include <algorithm>
#include <cassert>
#include <cstdio>
#include <thread>

#include "kernels/cuda/arguments.h"
#include "kernels/cuda/attention/paged_decode/params.h"
#include "kernels/cuda/check.h"
#include "kernels/cuda/decode_gate/params.h"
#include "kernels/cuda/few_rows/few_rows.h"
#include "kernels/cuda/gate/params.h"
#include "kernels/cuda/records/copier.h"
#include "kernels/cuda/records/large_memory.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/token_losses.h"

namespace seer {

std::unique_ptr<Backend> make_cuda_backend(int device, bool round_inputs) {
  return std::make_unique<cuda::CudaBackend>(device, round_inputs);
}

bool built_with_cuda() { return true; }

int cuda_device_count() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

}  // namespace seer

namespace seer::cuda {
namespace {

constexpr int64_t kMaxHead = 256;
constexpr int64_t kUsualChanges = 1024;  // changed logits of a sequence for which prepare() makes room

// Copies row rows[i] of `device` to or from host + i * stride, as `kind` says. It may return before the
// copies have ended. Rows that follow one another are one copy.
void copy_host_rows(cudaMemcpyKind kind, const Tensor& device, std::byte* host, int64_t stride,
                    std::span<const int64_t> rows, cudaStream_t stream) {
  const int64_t bytes = device.nbytes() / device.dim(0);
  const auto size = static_cast<size_t>(bytes), pitch = static_cast<size_t>(stride);
  for (size_t i = 0, end = 0; i < rows.size(); i = end) {
    for (end = i + 1; end < rows.size() && rows[end] == rows[i] + static_cast<int64_t>(end - i);) ++end;
    char* const there = static_cast<char*>(device.data) + rows[i] * bytes;
    std::byte* const here = host + i * pitch;
    const bool to_host = kind == cudaMemcpyDeviceToHost;
    check(to_host ? cudaMemcpy2DAsync(here, pitch, there, size, size, end - i, kind, stream)
                  : cudaMemcpy2DAsync(there, size, here, pitch, size, end - i, kind, stream),
          "cudaMemcpy2DAsync");
  }
}

bool one_of(int64_t x, std::initializer_list<int64_t> choices) {
  return std::find(choices.begin(), choices.end(), x) != choices.end();
}

}  // namespace

// The products of rounded inputs need a Hopper GPU.
CudaBackend::CudaBackend(int device, bool round_inputs)
    : device_(Device::open(device)),
      round_inputs_(round_inputs && device_.is_hopper()),
      decode_divider_(device_.n_multiprocessors, device_.is_hopper()) {
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
  gemm_ = std::make_unique<GemmCublasLt>();
  const int64_t counter_bytes = kDecodeMaxGroups * static_cast<int64_t>(sizeof(int32_t));
  decode_counters_ = DeviceMemory(counter_bytes, "decode attention");
  check(cudaMemsetAsync(decode_counters_.get(), 0, static_cast<size_t>(counter_bytes), stream_),
        "cudaMemset");
  prefill_counter_ = DeviceMemory(sizeof(int32_t), "prefill attention");
  check(cudaMemsetAsync(prefill_counter_.get(), 0, sizeof(int32_t), stream_), "cudaMemset");
  decode_partials_ =
      DeviceMemory(decode_partial_bytes(kMaxHead, device_.n_multiprocessors), "decode attention");
}

CudaBackend::~CudaBackend() {
  (void)cudaSetDevice(device_.index);
  (void)cudaStreamSynchronize(stream_);
  forget_recordings();
  uploader_.reset();
  distillation_.reset();
  (void)cudaStreamDestroy(stream_);
}

void CudaBackend::wait_until(const std::function<cudaError_t()>& done) {
  using Clock = std::chrono::steady_clock;
  constexpr auto kSpin = std::chrono::milliseconds(2);  // longer than most decode steps
  constexpr auto kLook = std::chrono::milliseconds(20);
  const Clock::time_point begin = Clock::now();
  Clock::time_point looked = begin;
  for (;;) {
    const cudaError_t state = done();
    if (state != cudaErrorNotReady) return check(state, "a step on the GPU");
    const Clock::time_point now = Clock::now();
    if (now - looked > kLook) {
      wait_check_(now - begin);
      looked = now;
    }
    if (now - begin > kSpin) std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
}

void CudaBackend::wait() {
  if (!wait_check_) return check(cudaStreamSynchronize(stream_), "a step on the GPU");
  wait_until([this] { return cudaStreamQuery(stream_); });
}

void CudaBackend::forget_recordings() {
  for (const auto& [key, recording] : recordings_)
    if (recording.graph != nullptr) (void)cudaGraphExecDestroy(recording.graph);
  recordings_.clear();
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
  const int64_t most_blocks = gate_max_blocks(device_.max_shared_bytes);
  if (s.d_gate != 0 && s.n_blocks > most_blocks)
    refuse("a context", s.n_blocks, "at most " + std::to_string(most_blocks) + " gate blocks");
  const int64_t most_decode_blocks =
      decode_gate_max_blocks(device_.max_shared_bytes, as_int(s.d_head), as_int(s.group));
  if (s.d_decode_gate != 0 && s.n_blocks > most_decode_blocks)
    refuse("a context", s.n_blocks,
           "at most " + std::to_string(most_decode_blocks) + " blocks of gates for decoding");
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

void CudaBackend::fill_random(const Tensor& out, uint64_t seed, float mean, float scale,
                              const RandomSlice& slice) {
  use();
  assert(out.dtype == DType::kBF16);
  const int64_t width = out.dim(out.rank - 1);
  check(launch_random_bf16(out.data, seed, mean, scale, out.numel(), width, slice.first,
                           slice.stride == 0 ? width : slice.stride, stream_),
        "random_bf16");
}

void CudaBackend::read(void* host, const Tensor& device) {
  use();
  // A copy to memory that is not pinned would wait inside the driver, without checks for failures.
  if (wait_check_) wait();
  check(cudaMemcpyAsync(host, device.data, static_cast<size_t>(device.nbytes()), cudaMemcpyDeviceToHost,
                        stream_),
        "cudaMemcpyAsync");
  wait();
}

void CudaBackend::read_rows(std::byte* host, int64_t stride, const Tensor& device,
                            std::span<const int64_t> rows) {
  use();
  if (rows.empty()) return;
  if (wait_check_) wait();  // as in read()
  copy_host_rows(cudaMemcpyDeviceToHost, device, host, stride, rows, stream_);
  wait();
}

void CudaBackend::write_rows(const Tensor& device, std::span<const int64_t> rows, const std::byte* host,
                             int64_t stride) {
  use();
  if (rows.empty()) return;
  if (wait_check_) wait();
  // The copy only reads the host's bytes.
  copy_host_rows(cudaMemcpyHostToDevice, device, const_cast<std::byte*>(host), stride, rows, stream_);
  wait();
}

std::unique_ptr<RecordCopier> CudaBackend::make_record_copier(const std::vector<RecordPart>& parts,
                                                              int64_t record_bytes) {
  return std::make_unique<CudaRecordCopier>([this] { use(); }, parts, record_bytes);
}

Buffer CudaBackend::allocate_host(int64_t bytes, const std::string& purpose) {
  constexpr int64_t kLarge = int64_t{64} << 20;
  use();
  if (bytes >= kLarge) {
    auto memory = std::make_shared<LargePinnedMemory>(bytes, purpose);
    return {memory, memory->get()};
  }
  auto memory = std::make_shared<PinnedMemory>(bytes, purpose);
  return {memory, memory->get()};
}

void CudaBackend::check_device() {
  use();
  const cudaError_t error = cudaStreamQuery(stream_);
  if (error != cudaErrorNotReady) check(error, "cudaStreamQuery");
}

void CudaBackend::prepare(const StepLimits& limits) {
  use();
  if (uploader_) uploader_->finish();
  uploader_.reset();
  step_.prepare(limits);
  staging_ = {};
  prepare_codes(limits.n_tokens);
  sample_.reserve(std::max(limits.n_logits, limits.n_sequences), limits.n_sequences * kUsualChanges);
}

void CudaBackend::begin_step(const StepInput& in, int64_t page_tokens) {
  use();
  act_codes_ = nullptr;  // left by a step that ended with an error
  if (wait_check_) wait_until([this] { return cudaEventQuery(step_.copied()); });
  step_.begin(in, page_tokens, stream_);
}

void CudaBackend::run_step(int64_t key, const std::function<void()>& operations) {
  if (key == 0) return operations();
  const auto [found, first] = recordings_.try_emplace({key, step_.longest_decode(), step_.longest_list()});
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

void CudaBackend::embed(const Tensor& out, const Tensor& table, int64_t first_id) {
  assert(out.dim(0) == step_.n_ids());
  check(launch_embed(out.data, table.data, step_.ids(), out.dim(0), out.dim(1), first_id, table.dim(0),
                     stream_),
        "embed");
}

void CudaBackend::add(const Tensor& x, const Tensor& y) {
  assert(x.numel() == y.numel() && (y.dtype == DType::kF32 || y.dtype == DType::kBF16));
  check(launch_add(x.data, y.data, y.dtype, x.numel(), stream_), "add");
}

void CudaBackend::copy_columns(const Tensor& out, int64_t first, const Tensor& in) {
  const auto pitch = [](const Tensor& t) { return static_cast<size_t>(t.dim(1)) * sizeof(float); };
  check(cudaMemcpy2DAsync(floats(out) + first, pitch(out), in.data, pitch(in), pitch(in),
                          static_cast<size_t>(in.dim(0)), cudaMemcpyDeviceToDevice, stream_),
        "cudaMemcpy2DAsync");
}

// Copies each run of rows that is contiguous on both sides in one call.
void CudaBackend::copy_rows(const Tensor& out, std::span<const int64_t> out_rows, const Tensor& in,
                            std::span<const int64_t> in_rows) {
  use();
  assert(out_rows.size() == in_rows.size() && out.dtype == in.dtype);
  if (out_rows.empty()) return;
  const int64_t bytes = in.nbytes() / in.dim(0);
  assert(out.nbytes() / out.dim(0) == bytes);
  for (size_t i = 0, end = 0; i < out_rows.size(); i = end) {
    for (end = i + 1; end < out_rows.size(); ++end) {
      const auto n = static_cast<int64_t>(end - i);
      if (out_rows[end] != out_rows[i] + n || in_rows[end] != in_rows[i] + n) break;
    }
    check(cudaMemcpyAsync(static_cast<char*>(out.data) + out_rows[i] * bytes,
                          static_cast<const char*>(in.data) + in_rows[i] * bytes,
                          (end - i) * static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice, stream_),
          "cudaMemcpyAsync");
  }
}

void CudaBackend::rms_norm(const Tensor& out, const Tensor& x, const Tensor& weight, double eps) {
  check(launch_rms_norm(out.data, x.data, weight.data, static_cast<float>(eps), x.dim(0), x.dim(1), stream_),
        "rms_norm");
}

void CudaBackend::silu_mul(const Tensor& out, const Tensor& gate_up) {
  check(launch_silu_mul(out.data, gate_up.data, out.dim(0), out.dim(1), stream_), "silu_mul");
}

void CudaBackend::gather_rows(const Tensor& out, const Tensor& x) {
  assert(out.dim(0) == step_.n_logit_rows());
  check(launch_gather_rows(out.data, x.data, step_.logit_rows(), out.dim(0), out.dim(1), stream_),
        "gather_rows");
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
  timer_.end(Phase::kStep, stream_);  // the GPU's work for a step ends here; the host does the rest
  wait();
  std::copy_n(sample_.ids(), n, ids.begin());
}

void CudaBackend::token_losses(std::span<double> losses, const Tensor& logits,
                               std::span<const int32_t> targets) {
  use();
  const auto n = static_cast<int64_t>(losses.size());
  assert(n == logits.dim(0) && targets.size() == losses.size());
  if (n == 0) return;
  if (n > token_losses_room_) {
    token_losses_room_ = 0;
    token_losses_ = PinnedMemory(n * static_cast<int64_t>(sizeof(double) + sizeof(int32_t)), "losses");
    token_losses_room_ = n;
  }
  TokenLossesParams p = {};
  p.losses = token_losses_.as<double>();
  auto* const host_targets = reinterpret_cast<int32_t*>(p.losses + n);
  std::copy(targets.begin(), targets.end(), host_targets);
  p.logits = floats(logits);
  p.targets = host_targets;
  p.n_vocab = logits.dim(1);
  check(launch_token_losses(p, n, stream_), "token_losses");
  wait();
  std::copy_n(p.losses, n, losses.begin());
}

Distillation* CudaBackend::distillation() {
  use();
  if (!distillation_) distillation_ = std::make_unique<CudaDistillation>(this);
  return distillation_.get();
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
