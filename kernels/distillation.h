// The operations of a device that the training of gates needs: attention that also says how much each key
// block matters, and the operations of which the gates' forward and backward passes are made. They are an
// interface of their own, because nothing else needs them (Backend::distillation()).
//
// All tensors here are float32 on the device unless a comment says otherwise. Tensors of gates have their
// heads first, [n_heads, n_rows, width], so that the matrices of a head, or of all heads of a KV group, are
// contiguous. Sums are taken in an order that depends on the shapes alone, so that training twice gives the
// same bits, whatever the number of threads.
#pragma once

#include <cassert>
#include <cstdint>

#include "kernels/host_device.h"
#include "kernels/paged_kv.h"
#include "kernels/step.h"
#include "kernels/tensor.h"

namespace seer {

// The rows for which a gate's scores are computed: row i is at position first + i * stride. In gates for
// prompts a position is a query block, per_block is 1, and a row sees the blocks up to its own. In gates for
// decoding a position is a token, and a row sees the blocks before its own.
struct ScoredRows {
  int64_t first = 0, stride = 1, n = 0;
  int64_t per_block = 1;  // positions of a block
  bool own_block = true;

  SEER_HOST_DEVICE int64_t position(int64_t i) const { return first + i * stride; }
  // Returns how many blocks, from block 0 on, row i may choose from.
  SEER_HOST_DEVICE int64_t visible(int64_t i) const {
    return position(i) / per_block + static_cast<int64_t>(own_block);
  }
  // Returns the first row whose position is `at` or later, or n if there is none.
  int64_t row_from(int64_t at) const {
    const int64_t i = at <= first ? 0 : (at - first + stride - 1) / stride;
    return i < n ? i : n;
  }
};

// n matrices of one shape in device memory. Element (r, c) of matrix i is data[i * stride + r * row_stride +
// c], or data[i * stride + c * row_stride + r] if they are transposed.
struct Matrices {
  float* data = nullptr;
  int64_t n = 0, rows = 0, cols = 0;
  int64_t stride = 0, row_stride = 0;
  bool transposed = false;

  Matrices() = default;
  explicit Matrices(const Tensor& t)  // [n, rows, cols]
      : data(t.as<float>()),
        n(t.dim(0)),
        rows(t.dim(1)),
        cols(t.dim(2)),
        stride(t.dim(1) * t.dim(2)),
        row_stride(t.dim(2)) {}

  Matrices transpose() const {
    Matrices m = *this;
    m.rows = cols;
    m.cols = rows;
    m.transposed = !transposed;
    return m;
  }
  // Returns matrices `first`, first + step, first + 2 step and so on.
  Matrices every(int64_t step, int64_t first) const {
    assert(n % step == 0 && first < step);
    Matrices m = *this;
    m.data += first * stride;
    m.n = n / step;
    m.stride = stride * step;
    return m;
  }
};

// One step of AdamW (Loshchilov and Hutter, 2019, arXiv:1711.05101).
struct AdamWStep {
  double learning_rate = 0.0, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0.0;
  int64_t number = 1;           // the step's, from 1 on; the moments' bias is corrected by it
  double gradient_scale = 1.0;  // gradients are multiplied by it first, which clips their norm
};

// Operations are ordered with those of the Backend that returned this object.
class Distillation {
 public:
  // ---- attention and ground truth, of one window ----
  //
  // A window is one prefill segment, whose row and start are 0. It may be computed in parts, so that the
  // maxima of all its tokens need not be in memory at the same time. Parts come in the order of tokens, and
  // each begins with a block. Maxima and logarithms are then those of the part's tokens.

  // Returns how wide rows of maxima must be for n_blocks blocks. It is n_blocks or more, because a device may
  // write the maxima of several blocks together.
  virtual int64_t maxima_width(int64_t n_blocks) const { return n_blocks; }
  // Computes dense causal attention of a part of a window over the window's pages. `part` is the step's
  // segment; or it has the row and the start of the part's first token, the part's number of tokens, and the
  // page table of the step's segment. Element [h, r, b] of maxima gets the largest scaled score that row r of
  // query head h has with a key of block b. Elements after the row's own block are not defined. Element [h,
  // r] of log_sums gets the natural logarithm of the sum of the exponentials of all scaled scores of the row.
  // So exp(maxima - log_sums) is the largest probability in a block, and the whole map is never stored.
  virtual void attention_with_maxima(const Tensor& out,       // [n_tokens of the step, n_heads, d_head]
                                     const Tensor& maxima,    // [n_heads, part.n_tokens, maxima_width]
                                     const Tensor& log_sums,  // [n_heads, part.n_tokens]
                                     const Tensor& q,         // as out; both in the type of activations
                                     const PagedKv& kv, const Segment& part) = 0;
  // Computes the ground truth of gates for prompts: element [h, i, b] gets the largest probability that a
  // token of query block rows.position(i) gives to a key of block b, divided by the sum of these over the
  // blocks that the row sees. The other blocks get 0. The maxima are those of the tokens from first_token on.
  // Rows whose query blocks are not among these tokens stay as they are.
  virtual void prefill_truth(const Tensor& truth,  // [n_heads, rows.n, n_blocks]
                             const Tensor& maxima, const Tensor& log_sums, const ScoredRows& rows,
                             int64_t page_tokens, int64_t first_token) = 0;
  // Computes the ground truth of gates for decoding: element [h, i, b] gets the largest probability that
  // token rows.position(i) gives to a key of block b in any query head of KV head h, divided by the sum of
  // these over the blocks that the row sees. The other blocks get 0. As above, rows for whose tokens there
  // are no maxima stay as they are.
  virtual void decode_truth(const Tensor& truth,  // [n_kv_heads, rows.n, n_blocks]
                            const Tensor& maxima, const Tensor& log_sums, const ScoredRows& rows,
                            int64_t first_token) = 0;

  // ---- inputs of gates ----

  // Sets element [h, r, c] of out to element [r, h, c] of in, which has the type of activations. in may have
  // more rows than out.
  virtual void split_heads(const Tensor& out,      // [n_heads, n_rows, width]
                           const Tensor& in) = 0;  // [at least n_rows, n_heads, width]
  // Writes the queries of the tokens at the positions of `rows`, normalised as `norms` says and before RoPE.
  // A row of out has the query heads of a KV head's group one after the other, or their mean if out is only
  // one head wide.
  virtual void group_queries(const Tensor& out,  // [n_kv_heads, rows.n, group * d_head], or [.., d_head]
                             const Tensor& qkv,  // [n_tokens, (n_heads + 2 n_kv_heads) * d_head], activations
                             const HeadNorms& norms, const ScoredRows& rows, int64_t n_heads,
                             int64_t d_head) = 0;

  // ---- the parts of a gate's forward and backward passes ----

  // Computes out = scale * a b for each of the n matrices, or out += scale * a b if `accumulate` is true.
  virtual void multiply(const Matrices& out, const Matrices& a, const Matrices& b, float scale,
                        bool accumulate) = 0;
  // Rotates row r of each head by row r of `rope`, in place. If `back` is true, it multiplies by the
  // transpose of the rotation's matrix instead: this turns the gradient of the rotated rows into that of the
  // rows before.
  virtual void rotate_heads(const Tensor& x,  // [n_heads, n_rows, width]
                            const RopeTable& rope, bool back) = 0;
  // Writes the RMS norm of each row of x to out.
  virtual void normalise(const Tensor& out, const Tensor& x,  // [.., width]
                         const Tensor& weight,                // [width]
                         float eps) = 0;
  // Replaces dy, the gradient of what normalise() has written, by the gradient of x. The gradient of the
  // weight is added to d_weight, unless d_weight is empty.
  virtual void normalise_back(const Tensor& dy, const Tensor& d_weight, const Tensor& x, const Tensor& weight,
                              float eps) = 0;
  // Element [h, i] of losses gets KL(truth || softmax of the scores), over the blocks that the row sees. Each
  // score is replaced by the derivative of scale times the sum of the losses by that score; blocks that the
  // row does not see get 0. A row whose truth is 0 everywhere gets the loss 0 and no gradient. In the sum,
  // but not in `losses`, element i of `weights` multiplies the losses of row i. If `weights` is empty, all
  // are 1.
  virtual void kl_divergence(const Tensor& losses,  // [n_heads, rows.n]
                             const Tensor& scores,  // [n_heads, rows.n, n_blocks]
                             const Tensor& truth,
                             const Tensor& weights,  // [rows.n], or empty
                             const ScoredRows& rows, float scale) = 0;

  // ---- parameters: tensors of any shape, as one list of numbers ----

  virtual void fill(const Tensor& out, float value) = 0;
  virtual void copy(const Tensor& out, const Tensor& in) = 0;
  // Copies numbers of the host to the device. Returns when `host` may be changed.
  virtual void write(const Tensor& out, const float* host) = 0;
  // Waits for the device, and sets sums[i] on the host to the sum of squares of the first n numbers of row i.
  virtual void sums_of_squares(double* sums, const Tensor& x,  // [n_rows, at least n]
                               int64_t n) = 0;
  virtual void adamw(const Tensor& parameters, const Tensor& gradients, const Tensor& moments,
                     const Tensor& second_moments, const AdamWStep& step) = 0;

 protected:
  ~Distillation() = default;
};

}  // namespace seer
