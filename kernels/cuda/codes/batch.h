// Products of up to 64 rows with codes of 4 bits, on Hopper GPUs. DESIGN.md in this folder has the
// arithmetic.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/codes/codes.h"

namespace seer::cuda {

inline constexpr int kMostBatchRows = 64;
// From this number of rows on, launch_code_batch() is faster than passes of launch_code_rows().
inline constexpr int kLeastBatchRows = 9;

// Memory that such products use while they run.
struct CodeBatchScratch {
  void* inputs = nullptr;     // input_bytes()
  float* partials = nullptr;  // partial_bytes()

  // The inputs as the tensor cores read them, and a factor for each row.
  static int64_t input_bytes(const CodeMatrix& w) { return factors_at(w) + kMostBatchRows * 4; }
  // Partial sums of all slices of columns. There are at most as many slices as chunks, and then the sums take
  // as many bytes as the weight takes in bf16.
  static int64_t partial_bytes(const CodeMatrix& w) {
    return kMostBatchRows * w.d_out * (w.pitch() * 2 / CodeMatrix::kChunkCodes) * 4;
  }
  float* factors(const CodeMatrix& w) const {
    return reinterpret_cast<float*>(static_cast<char*>(inputs) + factors_at(w));
  }

 private:
  static int64_t factors_at(const CodeMatrix& w) { return kMostBatchRows * w.pitch() * 4; }
};

// Returns whether the kernel takes this weight: codes of 4 bits in groups of whole chunks, and d_out a
// multiple of 16.
bool code_batch_fits(const CodeMatrix& w);

// The same product as launch_code_rows(), for 1 to kMostBatchRows rows; every norm can be part of it.
cudaError_t launch_code_batch(const CodeRowsParams& params, const CodeBatchScratch& scratch,
                              int n_multiprocessors, int max_shared_bytes, cudaStream_t stream);

}  // namespace seer::cuda
