// Quantised weights on a GPU: their layout there, products of few rows with them, and inputs rounded to E4M3.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/linear_weights.h"

namespace seer::cuda {

// A quantised weight in device memory: weight = (code - zero) * scale.
//
// Rows of codes begin `pitch` bytes apart, a multiple of a chunk, and what lies between is zeros. Codes of 8
// bits are in order. Codes of 4 bits lie in the order in which the product kernel multiplies them: see
// pack.cu. The product kernel reads whole tiles: the memory of codes, scales and zeros goes on for kTileRows
// rows after the last, and these may hold anything.
struct CodeMatrix {
  DType type = DType::kU4;  // kF8E4M3, kI8 or kU4
  void* codes = nullptr;    // [d_out, pitch]
  float* scale = nullptr;   // [n_groups, d_out]; see spread_scale()
  uint8_t* zero = nullptr;  // [n_groups, d_out]; null: 8 for 4 bits, 0 for 8
  int64_t d_out = 0, d_in = 0, group = 0;

  int64_t pitch() const { return code_pitch(type, d_in); }
  int64_t n_groups() const { return (d_in + group - 1) / group; }

  // cuBLASLt's products of few rows are faster with scales of groups than with scales of rows, for which it
  // has one tile size and never divides columns. So if a weight's inputs are rounded by row, its scales are
  // followed by a second copy for groups of kSpreadGroup columns: [d_in / kSpreadGroup, d_out].
  static constexpr int64_t kSpreadGroup = 128;
  static bool spreads(InputCodes inputs, int64_t group, int64_t d_in) {
    return (inputs == InputCodes::kE4M3Token || inputs == InputCodes::kE4M3Static) && group >= d_in &&
           d_in % kSpreadGroup == 0;
  }
  float* spread_scale() const { return scale + d_out; }

  static constexpr int64_t kTileRows = 16;
  static constexpr int64_t kChunkCodes = 128;
  static int64_t code_pitch(DType type, int64_t d_in) {
    return (d_in + kChunkCodes - 1) / kChunkCodes * (kChunkCodes * dtype_bits(type) / 8);
  }
};

// Returns whether the kernels here take this weight's groups: all inputs, or a power of two of at least 64
// E4M3 codes or 32 codes of 4 bits.
bool code_groups_fit(DType type, int64_t group, int64_t d_in);

// ---- layout ----

// Brings n_rows rows of d_in codes, packed as LinearWeights::Part has them, into the layout of a CodeMatrix.
// `in` and `out` are device memory. d_in is a multiple of 8.
cudaError_t launch_pack_codes(void* out, const void* in, DType type, int64_t n_rows, int64_t d_in,
                              cudaStream_t stream);
// Copies the scales [d_out] of a weight whose inputs are rounded by row to each row of its spread_scale().
cudaError_t launch_spread_scales(const CodeMatrix& w, cudaStream_t stream);
// Copies column c of in [n_rows, n_columns] to out[c * ld + 0 .. n_rows).
cudaError_t launch_transpose(float* out, int64_t ld, const float* in, int64_t n_rows, int64_t n_columns,
                             cudaStream_t stream);
cudaError_t launch_transpose(uint8_t* out, int64_t ld, const uint8_t* in, int64_t n_rows, int64_t n_columns,
                             cudaStream_t stream);
// Writes the weights to out [d_out, d_in], bf16, each rounded once.
cudaError_t launch_to_bf16(void* out, const CodeMatrix& w, cudaStream_t stream);

// ---- plain weights ----

// Turns weights, bf16 [d_out, d_in], into E4M3 codes [d_out, pitch bytes] and scales [d_out], with the same
// bits as kernels/quantise.h.
cudaError_t launch_quantise_e4m3(void* codes, int64_t pitch, float* scale, const void* weight, int64_t d_out,
                                 int64_t d_in, cudaStream_t stream);
// Does the same for int4: codes [d_out, d_in / 2 bytes], not yet in the order of launch_pack_codes, and
// scales [d_in / group, d_out].
cudaError_t launch_quantise_int4(void* codes, float* scale, const void* weight, int64_t d_out, int64_t d_in,
                                 int64_t group, cudaStream_t stream);

// ---- products of few rows ----

struct CodeRowsParams {
  CodeMatrix w;
  void* out;         // bf16 or float32 [n, d_out]; bf16 [n, d_out / 2] with swiglu
  const void* x;     // bf16 [n, d_in]
  const void* bias;  // bf16 [d_out] or null
  const void* norm;  // bf16 [d_in]: x is RMS-normalised on the way in; null: x as it is
  float eps;         // of the norm
  int n;             // at most kMostCodeRows
  bool accumulate;   // out += ...; bf16 only
  bool float_out;
  bool swiglu;  // w is gate above up; out = silu(gate x) * (up x)
};

inline constexpr int kMostCodeRows = 16;
// Products with more rows of E4M3 codes round their inputs, if CudaBackend::rounds_inputs() says so.
inline constexpr int kMostExactRows = 8;
// Products with more rounded rows take scales of rows if the format has these, not spread_scale().
inline constexpr int64_t kMostSpreadRows = 64;
// Returns whether a norm can be part of the product. It can if the inputs fit into shared memory.
bool code_rows_take_norm(const CodeMatrix& w, int64_t n, int max_shared_bytes);
// Reads each weight once. Row r of out depends on row r of x alone, bit for bit, whatever n is.
cudaError_t launch_code_rows(const CodeRowsParams& params, int n_multiprocessors, int max_shared_bytes,
                             cudaStream_t stream);

// ---- inputs of FP8 products ----

// What is rounded: rows of x, or of its RMS norm, or silu(gate) * up. Each is a bf16 number before it is
// rounded to E4M3.
struct RoundedInputs {
  const void* x;     // bf16 [n, d_in]; [n, 2 d_in] with swiglu
  const void* norm;  // bf16 [d_in] or null
  float eps;
  bool swiglu;
  InputCodes codes;    // one of the E4M3 ones
  float static_scale;  // of kE4M3Static
  int64_t n, d_in;     // d_in a multiple of 8
  int64_t columns;     // of `scale`, if it has a row for every 128 inputs; 0: it is one row
};
// Writes codes to out, E4M3 [n, ld_out bytes]. If in.columns is 0, `scale` is [n]; otherwise it is [d_in /
// 128, columns]. kE4M3Token128 needs the second form; the other formats write the one scale of row i to all
// of column i there.
cudaError_t launch_round_inputs(void* out, int64_t ld_out, float* scale, const RoundedInputs& in,
                                cudaStream_t stream);

}  // namespace seer::cuda
