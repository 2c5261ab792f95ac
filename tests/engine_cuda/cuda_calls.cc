#include "tests/engine_cuda/cuda_calls.h"

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <atomic>
#include <mutex>
#include <utility>

#include "kernels/cuda/cublaslt.h"

namespace seer::testing {
namespace {

std::mutex mutex;
struct {
  bool active = false, lasting = false;
  CudaCalls calls = CudaCalls::kMemory;
  int64_t index = 0, n_called = 0;
  std::string struck;
} fault;
std::atomic<int64_t> n_live = 0;

bool strikes(CudaCalls calls, const char* name) {
  const std::lock_guard lock(mutex);
  if (!fault.active || fault.calls != calls) return false;
  const int64_t i = fault.n_called++;
  if (i != fault.index && !(fault.lasting && i > fault.index)) return false;
  if (fault.struck.empty()) fault.struck = name;
  return true;
}

// Returns whether the GPU is failing. It is for calls that only query the GPU, which are not counted.
bool failing(const char* name) {
  const std::lock_guard lock(mutex);
  if (!fault.active || !fault.lasting || fault.calls != CudaCalls::kWork || fault.n_called <= fault.index)
    return false;
  if (fault.struck.empty()) fault.struck = name;
  return true;
}

// cuBLASLt is opened at run time, so the linker does not see its functions. The table of them has this one in
// place of the library's.
decltype(&cublasLtMatmul) real_matmul = nullptr;

cublasStatus_t wrapped_matmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t product, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                              cublasLtMatrixLayout_t c_layout, void* d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace, size_t workspace_bytes,
                              cudaStream_t stream) {
  if (strikes(CudaCalls::kWork, "cublasLtMatmul")) return CUBLAS_STATUS_EXECUTION_FAILED;
  return real_matmul(handle, product, alpha, a, a_layout, b, b_layout, beta, c, c_layout, d, d_layout,
                     algorithm, workspace, workspace_bytes, stream);
}

void wrap_matmul() {
  static std::once_flag once;
  std::call_once(once, [] { real_matmul = std::exchange(cuda::cublaslt().matmul, wrapped_matmul); });
}

template <class Call>
cudaError_t allocate(const char* name, Call call) {
  if (strikes(CudaCalls::kMemory, name)) return cudaErrorMemoryAllocation;
  const cudaError_t error = call();
  if (error == cudaSuccess) ++n_live;
  return error;
}

}  // namespace

CudaFault::CudaFault(CudaCalls calls, int64_t index, bool lasting) {
  wrap_matmul();
  const std::lock_guard lock(mutex);
  fault = {true, lasting, calls, index, 0, {}};
}

CudaFault::~CudaFault() {
  const std::lock_guard lock(mutex);
  fault.active = false;
}

int64_t CudaFault::n_called() {
  const std::lock_guard lock(mutex);
  return fault.n_called;
}

const std::string& CudaFault::struck() { return fault.struck; }

int64_t n_cuda_allocations() { return n_live; }

}  // namespace seer::testing

// A call of the library's function `name` arrives at __wrap_name; __real_name is CUDA's own function.
#define SEER_WRAP_CUDA(name, parameters, arguments)                                                    \
  extern "C" cudaError_t __real_##name parameters;                                                     \
  extern "C" cudaError_t __wrap_##name parameters;                                                     \
  extern "C" cudaError_t __wrap_##name parameters {                                                    \
    if (seer::testing::strikes(seer::testing::CudaCalls::kWork, #name)) return cudaErrorLaunchFailure; \
    return __real_##name arguments;                                                                    \
  }

SEER_WRAP_CUDA(cudaLaunchKernelExC, (const cudaLaunchConfig_t* config, const void* kernel, void** arguments),
               (config, kernel, arguments))
SEER_WRAP_CUDA(cudaMemcpyAsync,
               (void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream),
               (to, from, bytes, kind, stream))
SEER_WRAP_CUDA(cudaMemsetAsync, (void* to, int value, size_t bytes, cudaStream_t stream),
               (to, value, bytes, stream))
SEER_WRAP_CUDA(cudaEventCreateWithFlags, (cudaEvent_t * event, unsigned flags), (event, flags))
SEER_WRAP_CUDA(cudaEventRecord, (cudaEvent_t event, cudaStream_t stream), (event, stream))
SEER_WRAP_CUDA(cudaEventSynchronize, (cudaEvent_t event), (event))
SEER_WRAP_CUDA(cudaEventElapsedTime, (float* ms, cudaEvent_t from, cudaEvent_t to), (ms, from, to))
SEER_WRAP_CUDA(cudaStreamSynchronize, (cudaStream_t stream), (stream))
SEER_WRAP_CUDA(cudaStreamWaitEvent, (cudaStream_t stream, cudaEvent_t event, unsigned flags),
               (stream, event, flags))
SEER_WRAP_CUDA(cudaStreamBeginCapture, (cudaStream_t stream, cudaStreamCaptureMode mode), (stream, mode))
SEER_WRAP_CUDA(cudaGraphInstantiate, (cudaGraphExec_t * out, cudaGraph_t graph, unsigned long long flags),
               (out, graph, flags))
SEER_WRAP_CUDA(cudaGraphLaunch, (cudaGraphExec_t graph, cudaStream_t stream), (graph, stream))

extern "C" {
cudaError_t __real_cudaMalloc(void** out, size_t bytes);
cudaError_t __real_cudaMallocHost(void** out, size_t bytes);
cudaError_t __real_cudaFree(void* memory);
cudaError_t __real_cudaFreeHost(void* memory);
cudaError_t __wrap_cudaMalloc(void** out, size_t bytes);
cudaError_t __wrap_cudaMallocHost(void** out, size_t bytes);
cudaError_t __wrap_cudaFree(void* memory);
cudaError_t __wrap_cudaFreeHost(void* memory);
cudaError_t __real_cudaStreamQuery(cudaStream_t stream);
cudaError_t __wrap_cudaStreamQuery(cudaStream_t stream);

cudaError_t __wrap_cudaStreamQuery(cudaStream_t stream) {
  return seer::testing::failing("cudaStreamQuery") ? cudaErrorLaunchFailure : __real_cudaStreamQuery(stream);
}
cudaError_t __wrap_cudaMalloc(void** out, size_t bytes) {
  return seer::testing::allocate("cudaMalloc", [&] { return __real_cudaMalloc(out, bytes); });
}
cudaError_t __wrap_cudaMallocHost(void** out, size_t bytes) {
  return seer::testing::allocate("cudaMallocHost", [&] { return __real_cudaMallocHost(out, bytes); });
}
cudaError_t __wrap_cudaFree(void* memory) {
  --seer::testing::n_live;
  return __real_cudaFree(memory);
}
cudaError_t __wrap_cudaFreeHost(void* memory) {
  --seer::testing::n_live;
  return __real_cudaFreeHost(memory);
}
}
