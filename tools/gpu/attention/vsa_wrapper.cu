// FastVideo's VSA forward kernel with a C interface, without PyTorch's headers. SEER_VSA_KERNEL names the
// device half of the user's copy of block_sparse_h100.cu, which rivals.py cuts out of it. The launch is that
// of the original: one CTA of 128 threads for each query block and head, with 54000 bytes of shared memory.
#include SEER_VSA_KERNEL

extern "C" {

// Takes bf16 q and out [n_heads, n_tokens, 128], k and v [n_kv_heads, n_tokens, 128]; f32 lse [n_heads,
// n_tokens]; i32 counts [n_heads, n_blocks], blocks [n_heads, n_blocks, row_capacity], block_sizes
// [n_blocks]. Returns a cudaError_t.
__attribute__((visibility("default"))) int seer_vsa_forward(void* out, void* lse, void* q, void* k, void* v,
                                                            void* blocks, void* counts, void* block_sizes,
                                                            int n_tokens, int n_heads, int n_kv_heads,
                                                            int row_capacity, void* stream) {
  using Globals = fwd_globals<128>;
  constexpr int kSharedBytes = 54000;
  const auto heads = static_cast<unsigned>(n_heads), kv_heads = static_cast<unsigned>(n_kv_heads),
             tokens = static_cast<unsigned>(n_tokens);
  const auto values = [](void* p) { return static_cast<kittens::bf16*>(p); };
  const auto ints = [](void* p) { return static_cast<int32_t*>(p); };
  try {
    Globals g{Globals::q_gl{values(q), 1U, heads, tokens, 128U},
              Globals::k_gl{values(k), 1U, kv_heads, tokens, 128U},
              Globals::v_gl{values(v), 1U, kv_heads, tokens, 128U},
              Globals::l_gl{static_cast<float*>(lse), 1U, heads, 1U, tokens},
              Globals::o_gl{values(out), 1U, heads, tokens, 128U},
              n_tokens,
              n_heads / n_kv_heads,
              row_capacity,
              ints(blocks),
              ints(counts),
              ints(block_sizes)};
    const cudaError_t error =
        cudaFuncSetAttribute(fwd_attend_ker<128>, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes);
    if (error != cudaSuccess) return error;
    fwd_attend_ker<128>
        <<<dim3(tokens / 64U, heads, 1U), 128, kSharedBytes, static_cast<cudaStream_t>(stream)>>>(g);
  } catch (...) {  // a tensor map that the driver refused
    return cudaErrorInvalidValue;
  }
  return cudaGetLastError();
}
}
