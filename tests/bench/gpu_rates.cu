// Measures the highest rates of one multiprocessor's units that attention needs: products of the shapes that
// a kernel may be made of, and exponentials. Operands are random, because the GPU lowers its clock more or
// less depending on the numbers.
//
//   bench_gpu_rates
//
// Prints clocks of a product (a multiprocessor's, all warpgroups together), the share of the 4096 operations
// a clock that the data sheet promises, and TFLOP/s of the whole GPU.
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "kernels/cuda/ptx/mma.cuh"
#include "kernels/cuda/ptx/shared.cuh"
#include "kernels/cuda/ptx/tma.cuh"
#include "kernels/cuda/ptx/wgmma.cuh"

namespace {

namespace ptx = seer::cuda::ptx;

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "bench_gpu_rates: %s: %s\n", what, cudaGetErrorString(error));
  std::exit(1);
}

// c [64, 64] += a [64, 16] b [16, 64], both in shared memory and contiguous along k.
__device__ __forceinline__ void product_of_shared(float (&c)[32], uint32_t a, uint32_t b) {
  asm volatile(
      "{\n"
      ".reg .b64 a, b;\n"
      "mov.b64 a, {%32, %34};\n"
      "mov.b64 b, {%33, %34};\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
      "a, b, 1, 1, 1, 0, 0;\n"
      "}\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]), "+f"(c[4]), "+f"(c[5]), "+f"(c[6]), "+f"(c[7]),
        "+f"(c[8]), "+f"(c[9]), "+f"(c[10]), "+f"(c[11]), "+f"(c[12]), "+f"(c[13]), "+f"(c[14]), "+f"(c[15]),
        "+f"(c[16]), "+f"(c[17]), "+f"(c[18]), "+f"(c[19]), "+f"(c[20]), "+f"(c[21]), "+f"(c[22]),
        "+f"(c[23]), "+f"(c[24]), "+f"(c[25]), "+f"(c[26]), "+f"(c[27]), "+f"(c[28]), "+f"(c[29]),
        "+f"(c[30]), "+f"(c[31])
      : "r"(a), "r"(b), "n"(ptx::SharedOperand::kHigh));
}

// c [64, 128] += a [64, 16] b [16, 128], both in shared memory and contiguous along k.
__device__ __forceinline__ void product_of_shared(float (&c)[64], uint32_t a, uint32_t b) {
  asm volatile(
      "{\n"
      ".reg .b64 a, b;\n"
      "mov.b64 a, {%64, %66};\n"
      "mov.b64 b, {%65, %66};\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
      "a, b, 1, 1, 1, 0, 0;\n"
      "}\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]), "+f"(c[4]), "+f"(c[5]), "+f"(c[6]), "+f"(c[7]),
        "+f"(c[8]), "+f"(c[9]), "+f"(c[10]), "+f"(c[11]), "+f"(c[12]), "+f"(c[13]), "+f"(c[14]), "+f"(c[15]),
        "+f"(c[16]), "+f"(c[17]), "+f"(c[18]), "+f"(c[19]), "+f"(c[20]), "+f"(c[21]), "+f"(c[22]),
        "+f"(c[23]), "+f"(c[24]), "+f"(c[25]), "+f"(c[26]), "+f"(c[27]), "+f"(c[28]), "+f"(c[29]),
        "+f"(c[30]), "+f"(c[31]), "+f"(c[32]), "+f"(c[33]), "+f"(c[34]), "+f"(c[35]), "+f"(c[36]),
        "+f"(c[37]), "+f"(c[38]), "+f"(c[39]), "+f"(c[40]), "+f"(c[41]), "+f"(c[42]), "+f"(c[43]),
        "+f"(c[44]), "+f"(c[45]), "+f"(c[46]), "+f"(c[47]), "+f"(c[48]), "+f"(c[49]), "+f"(c[50]),
        "+f"(c[51]), "+f"(c[52]), "+f"(c[53]), "+f"(c[54]), "+f"(c[55]), "+f"(c[56]), "+f"(c[57]),
        "+f"(c[58]), "+f"(c[59]), "+f"(c[60]), "+f"(c[61]), "+f"(c[62]), "+f"(c[63])
      : "r"(a), "r"(b), "n"(ptx::SharedOperand::kHigh));
}

constexpr int kSharedBytes = 160 << 10, kRounds = 256;

__device__ uint32_t random_pair(uint32_t i) {  // two bf16 values of magnitude 0.5 to 1
  i = i * 747796405U + 2891336453U;
  i = ((i >> ((i >> 28) + 4)) ^ i) * 277803737U;
  return (i & 0x807f807fU) | 0x3f003f00U;
}

// The places of the operands: keys and values as in attention, and both in shared memory.
enum class Kind { kKeys, kValues, kShared };

// Rounds of 8 products that each warpgroup starts together and waits for, as attention does.
template <int kN, Kind kKind, int kWarpgroups>
__global__ void __launch_bounds__(kWarpgroups * 128, 1) rate_kernel(float* sink, long long* clocks) {
  extern __shared__ __align__(1024) unsigned char shared[];
  for (uint32_t i = threadIdx.x; i < kSharedBytes / 4; i += blockDim.x)
    reinterpret_cast<uint32_t*>(shared)[i] = random_pair(i + blockIdx.x);
  ptx::fence_async_proxy();
  __syncthreads();
  float c[kN / 2] = {};
  uint32_t a[8][4];
  for (int i = 0; i < 8; ++i)
    for (int r = 0; r < 4; ++r) a[i][r] = random_pair(threadIdx.x * 32 + i * 4 + r);
  const uint32_t warpgroup = threadIdx.x / 128, base = ptx::shared_address(shared);
  const ptx::SharedOperand left(base + (96U << 10) + warpgroup * (16U << 10));
  const long long begin = clock64();
  for (int round = 0; round < kRounds; ++round) {
    ptx::wgmma_fence();
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const uint32_t offset = kKind == Kind::kValues ? i % 4 * 2048 : i / 4 * 16384 + i % 4 * 32;
      const ptx::SharedOperand right(base + warpgroup * (32U << 10) + offset,
                                     kKind == Kind::kValues ? 8192 : 16);
      if constexpr (kKind == Kind::kShared) {
        product_of_shared(c, left.low + i / 4 * 512 + i % 4 * 2, right.low);
      } else if constexpr (kN == 64) {
        ptx::wgmma_64x64x16<kKind == Kind::kValues, 0>(c, a[i], right, true);
      } else {
        ptx::wgmma_64x128x16<kKind == Kind::kValues, 0>(c, a[i], right, true);
      }
    }
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    ptx::pin_registers(c);
  }
  const long long end = clock64();
  float sum = 0.0F;
  for (const float x : c) sum += x;
  if (sum == 12345.0F) *sink = sum;
  if (threadIdx.x == 0 && blockIdx.x == 0) *clocks = end - begin;
}

__global__ void exp_kernel(float* sink, long long* clocks) {
  float x[16];
  for (int i = 0; i < 16; ++i) x[i] = -1.0F - static_cast<float>(threadIdx.x + i) / 1024.0F;
  __syncthreads();
  const long long begin = clock64();
  for (int round = 0; round < kRounds; ++round)
#pragma unroll
    for (float& v : x) v = ptx::exp2_approx(v) - 2.0F;
  __syncthreads();
  const long long end = clock64();
  float sum = 0.0F;
  for (const float v : x) sum += v;
  if (sum == 12345.0F) *sink = sum;
  if (threadIdx.x == 0 && blockIdx.x == 0) *clocks = end - begin;
}

struct Gpu {
  int n_multiprocessors = 0;
  float* sink = nullptr;
  long long* clocks = nullptr;

  template <class Launch>
  double milliseconds(Launch&& launch, long long* n_clocks) const {
    cudaEvent_t begin = nullptr, end = nullptr;
    check(cudaEventCreate(&begin), "an event");
    check(cudaEventCreate(&end), "an event");
    for (int i = 0; i < 20; ++i) launch();
    check(cudaEventRecord(begin), "a time");
    for (int i = 0; i < 50; ++i) launch();
    check(cudaEventRecord(end), "a time");
    check(cudaEventSynchronize(end), "a kernel");
    float ms = 0.0F;
    check(cudaEventElapsedTime(&ms, begin, end), "a time");
    check(cudaMemcpy(n_clocks, clocks, sizeof(*n_clocks), cudaMemcpyDeviceToHost), "the clocks");
    return ms / 50;
  }
};

template <int kN, Kind kKind, int kWarpgroups>
void measure(const Gpu& gpu) {
  const auto kernel = rate_kernel<kN, kKind, kWarpgroups>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes),
        "shared memory");
  long long clocks = 0;
  const double ms = gpu.milliseconds(
      [&] { kernel<<<gpu.n_multiprocessors, kWarpgroups * 128, kSharedBytes>>>(gpu.sink, gpu.clocks); },
      &clocks);
  const double products = 8.0 * kRounds * kWarpgroups, each = static_cast<double>(clocks) / products;
  const double flops = 2.0 * 64 * kN * 16;
  constexpr const char* kNames[] = {"registers x shared, along k", "registers x shared, along n",
                                    "shared x shared, along k"};
  std::printf("wgmma m64n%-3dk16  %-28s %d warpgroups  %5.1f clocks (%3.0f%%)  %4.0f TFLOP/s\n", kN,
              kNames[static_cast<int>(kKind)], kWarpgroups, each, 100.0 * flops / 4096 / each,
              flops * products * gpu.n_multiprocessors / ms * 1e-9);
}

template <int kN, Kind kKind>
void measure_all(const Gpu& gpu) {
  measure<kN, kKind, 1>(gpu);
  measure<kN, kKind, 2>(gpu);
  measure<kN, kKind, 3>(gpu);
}

}  // namespace

int main() {
  Gpu gpu;
  int device = 0, major = 0;
  check(cudaGetDevice(&device), "no GPU");
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "the GPU's kind");
  if (major != 9) {
    std::fprintf(stderr, "bench_gpu_rates: wgmma needs a GPU of compute capability 9.0, this one has %d\n",
                 major);
    return 1;
  }
  check(cudaDeviceGetAttribute(&gpu.n_multiprocessors, cudaDevAttrMultiProcessorCount, device),
        "the GPU's size");
  check(cudaMalloc(&gpu.sink, sizeof(float)), "memory");
  check(cudaMalloc(&gpu.clocks, sizeof(long long)), "memory");
  measure_all<64, Kind::kKeys>(gpu);
  measure_all<128, Kind::kKeys>(gpu);
  measure_all<64, Kind::kValues>(gpu);
  measure_all<128, Kind::kValues>(gpu);
  measure_all<64, Kind::kShared>(gpu);
  measure_all<128, Kind::kShared>(gpu);
  for (const int n_warps : {4, 8, 12, 16}) {
    long long clocks = 0;
    gpu.milliseconds([&] { exp_kernel<<<gpu.n_multiprocessors, n_warps * 32>>>(gpu.sink, gpu.clocks); },
                     &clocks);
    std::printf("exp2  %2d warps  %.1f a clock\n", n_warps,
                16.0 * kRounds * n_warps * 32 / static_cast<double>(clocks));
  }
  return 0;
}
