// Products of a warpgroup on the tensor cores (sm_90a; PTX ISA, "wgmma"). The left operand and the
// accumulators are registers in the layout of ptx/mma.cuh. Warp w of the group holds rows [16 w, 16 w + 16),
// and accumulator 4 j + i is register i of column group j, which has 8 columns. The right operand lies in
// shared memory and is given by a descriptor.
//
// Products run asynchronously. Call wgmma_fence() before the first product that uses registers which other
// instructions wrote. wgmma_commit() closes a group, and wgmma_wait<N>() waits until at most N groups are
// unfinished. Registers of an unfinished product may not be touched.
#pragma once

#include <cstdint>

namespace seer::cuda::ptx {

__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;\n" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;\n" ::: "memory");
}
template <int kPending>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;\n" ::"n"(kPending) : "memory");
}

// Keeps the compiler from moving uses of these registers across the begin or the end of an asynchronous
// product.
template <int kCount>
__device__ __forceinline__ void pin_registers(float (&x)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(x[i])::"memory");
}

// Makes ptxas keep these registers over a loop, by a use that it cannot analyse. Without it, ptxas 13.0
// reuses the registers of one product's left operand for another's, although the next round needs them again
// (seen with operands of 16 registers).
template <int kCount>
__device__ __forceinline__ void keep_registers(uint32_t (&x)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("lop3.b32 %0, %0, %0, %0, 0xf0;\n" : "+r"(x[i]));
}

// An operand in shared memory: rows of 128 bytes, swizzled in groups of eight (1024 bytes), as the copy
// engine's 128-byte swizzle leaves them. Only the lower half of its descriptor is computed, because the upper
// half is always the same.
struct SharedOperand {
  uint32_t low = 0;
  static constexpr uint32_t kHigh = 1U << 30 | 1024 >> 4;  // the swizzle, and the groups' stride

  // panel_stride: bytes from one 64-element panel to the next, for an operand that is contiguous along n and
  // wider than one panel.
  SharedOperand() = default;
  __device__ explicit SharedOperand(uint32_t address, uint32_t panel_stride = 16)
      : low((panel_stride >> 4) << 16 | (address & 0x3ffffU) >> 4) {}
  __device__ uint64_t descriptor() const { return static_cast<uint64_t>(kHigh) << 32 | low; }
};

// c [64, 64] += a [64, 16] b [16, 64], or c = a b if `accumulate` is false. b begins kOffset bytes into the
// operand; adding the offset does not overflow the descriptor's address field. If kContiguousN, b is
// contiguous along n, as values are; else along k, as keys are.
template <bool kContiguousN, int kOffset>
__device__ __forceinline__ void wgmma_64x64x16(float (&c)[32], const uint32_t (&a)[4], SharedOperand b,
                                               bool accumulate) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      ".reg .b32 low;\n"
      ".reg .b64 b;\n"
      "setp.ne.b32 p, %37, 0;\n"
      "add.u32 low, %36, %39;\n"
      "mov.b64 b, {low, %40};\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
      "{%32, %33, %34, %35}, b, p, 1, 1, %38;\n"
      "}\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]), "+f"(c[4]), "+f"(c[5]), "+f"(c[6]), "+f"(c[7]),
        "+f"(c[8]), "+f"(c[9]), "+f"(c[10]), "+f"(c[11]), "+f"(c[12]), "+f"(c[13]), "+f"(c[14]), "+f"(c[15]),
        "+f"(c[16]), "+f"(c[17]), "+f"(c[18]), "+f"(c[19]), "+f"(c[20]), "+f"(c[21]), "+f"(c[22]),
        "+f"(c[23]), "+f"(c[24]), "+f"(c[25]), "+f"(c[26]), "+f"(c[27]), "+f"(c[28]), "+f"(c[29]),
        "+f"(c[30]), "+f"(c[31])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b.low), "r"(static_cast<int>(accumulate)),
        "n"(kContiguousN ? 1 : 0), "n"(kOffset >> 4), "n"(SharedOperand::kHigh));
}

// The same for c [64, 128] and b [16, 128].
template <bool kContiguousN, int kOffset>
__device__ __forceinline__ void wgmma_64x128x16(float (&c)[64], const uint32_t (&a)[4], SharedOperand b,
                                                bool accumulate) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      ".reg .b32 low;\n"
      ".reg .b64 b;\n"
      "setp.ne.b32 p, %69, 0;\n"
      "add.u32 low, %68, %71;\n"
      "mov.b64 b, {low, %72};\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
      "{%64, %65, %66, %67}, b, p, 1, 1, %70;\n"
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
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b.low), "r"(static_cast<int>(accumulate)),
        "n"(kContiguousN ? 1 : 0), "n"(kOffset >> 4), "n"(SharedOperand::kHigh));
}

// c [64, N] += a [64, 16] b [16, N], or c = a b if `accumulate` is false, with float16 inputs. N is twice the
// number of accumulators. b is contiguous along k; its descriptor is SharedOperand::descriptor().
__device__ __forceinline__ void wgmma_64xNx16_f16(float (&c)[16], const uint32_t (&a)[4], uint64_t b,
                                                  bool accumulate) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.b32 p, %21, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n32k16.f32.f16.f16 {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, "
      "%12, %13, %14, %15}, "
      "{%16, %17, %18, %19}, %20, p, 1, 1, 0;\n"
      "}\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]), "+f"(c[4]), "+f"(c[5]), "+f"(c[6]), "+f"(c[7]),
        "+f"(c[8]), "+f"(c[9]), "+f"(c[10]), "+f"(c[11]), "+f"(c[12]), "+f"(c[13]), "+f"(c[14]), "+f"(c[15])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(accumulate)));
}
__device__ __forceinline__ void wgmma_64xNx16_f16(float (&c)[32], const uint32_t (&a)[4], uint64_t b,
                                                  bool accumulate) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.b32 p, %37, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, "
      "%12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
      "{%32, %33, %34, %35}, %36, p, 1, 1, 0;\n"
      "}\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]), "+f"(c[4]), "+f"(c[5]), "+f"(c[6]), "+f"(c[7]),
        "+f"(c[8]), "+f"(c[9]), "+f"(c[10]), "+f"(c[11]), "+f"(c[12]), "+f"(c[13]), "+f"(c[14]), "+f"(c[15]),
        "+f"(c[16]), "+f"(c[17]), "+f"(c[18]), "+f"(c[19]), "+f"(c[20]), "+f"(c[21]), "+f"(c[22]),
        "+f"(c[23]), "+f"(c[24]), "+f"(c[25]), "+f"(c[26]), "+f"(c[27]), "+f"(c[28]), "+f"(c[29]),
        "+f"(c[30]), "+f"(c[31])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(accumulate)));
}

// Move registers between the warpgroups of a block. All warps of a warpgroup must execute the same call.
template <int kRegisters>
__device__ __forceinline__ void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;\n" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ __forceinline__ void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;\n" ::"n"(kRegisters));
}

// Waits for the 128 threads of a warpgroup. kBarrier must not be 0, which is the block's own barrier.
template <int kBarrier>
__device__ __forceinline__ void warpgroup_barrier() {
  asm volatile("bar.sync %0, 128;\n" ::"n"(kBarrier) : "memory");
}

}  // namespace seer::cuda::ptx
