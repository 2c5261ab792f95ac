// A C interface over the CUDA backend for tools/gpu/bench_attention.py. That script times the prefill kernel
// and the gate next to other projects' kernels, on data that PyTorch owns.
//
// Functions return 0, or 1 with the reason in seer_bench_error() of the calling thread; none throws or
// aborts. Device pointers must be of the backend's GPU. The backend works in a stream of its own: before a
// call, the caller must wait for its own writes, and a call returns when the GPU has finished.
#pragma once

#include <cstdint>

extern "C" {

#define SEER_BENCH_API __attribute__((visibility("default")))

struct SeerBench;  // a CUDA backend

// A causal prefill of one sequence from position 0.
struct SeerBenchAttention {
  void* out;  // bf16 [n_tokens, n_heads, d_head]
  void* q;    // bf16 [n_tokens, n_heads, d_head]
  void* k;    // bf16 [n_pages, n_kv_heads, page_tokens, d_head]
  void* v;    // bf16 [n_pages, n_kv_heads, page_tokens, d_head]
  // on the host, [n_tokens / page_tokens]: the page id of each block
  const int32_t* page_table;
  // i32 [n_heads, n_blocks], n_blocks = n_tokens / page_tokens; null for dense attention
  int32_t* counts;
  // i32 [n_heads, n_blocks, n_blocks]; a call may return the lists in another order
  int32_t* blocks;
  int64_t n_tokens;  // a multiple of page_tokens
  int64_t n_heads, n_kv_heads, d_head, page_tokens, n_pages;
};

// One layer of a sparse prefill in chunks, with random activations and gate weights. It pools the average of
// q and the maximum, minimum and average of k, has a weight for every query head, and d_gate = d_head.
struct SeerBenchGate {
  int64_t n_tokens, chunk;  // multiples of page_tokens
  int64_t n_heads, n_kv_heads, d_head, page_tokens;
  double threshold;  // 0: nz_ratio decides
  double nz_ratio;
  int32_t n_calls;  // how often each operation of each chunk runs, back to back
};

// The time in milliseconds of one call of each operation, summed over the chunks.
struct SeerBenchGateTimes {
  double append;         // RoPE and the write to the pages, without pooling
  double append_pooled;  // the same with the gate's pools; since one kernel does both, pooling takes the
                         // difference
  double project;        // gate queries and keys: their products and RoPE
  double select;         // scores and the choice of blocks
  double attention;      // over the chosen blocks
  double density;        // kept blocks divided by causal blocks
};

SEER_BENCH_API const char* seer_bench_error(void);
SEER_BENCH_API int seer_bench_open(SeerBench** out, int device);
SEER_BENCH_API void seer_bench_close(SeerBench* bench);
// Sets *ms to the milliseconds of one call, the mean of n_calls back to back.
SEER_BENCH_API int seer_bench_attention(SeerBench* bench, const SeerBenchAttention* what, int32_t n_calls,
                                        double* ms);
SEER_BENCH_API int seer_bench_gate(SeerBench* bench, const SeerBenchGate* what, SeerBenchGateTimes* out);
}
