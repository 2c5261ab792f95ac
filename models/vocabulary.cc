#include "models/vocabulary.h"

#include <vector>

namespace seer {

Vocabulary::Vocabulary(Backend* backend, Communicator* comm, const Shard& shard, const ModelWeights& weights,
                       Workspace* workspace, ContextParallel* context)
    : backend_(backend),
      comm_(comm),
      shard_(shard),
      weights_(weights),
      workspace_(workspace),
      context_(context) {}

void Vocabulary::embed(const Tensor& x) {
  if (x.dim(0) == 0) return;
  backend_->embed(x, weights_.embedding, shard_.first_id());
  if (shard_.size > 1) comm_->all_reduce_sum(x);  // one rank has the id's row, the others write zeros
}

Tensor Vocabulary::project(const Tensor& x, const Tensor& scratch, int64_t first, int64_t n) {
  if (context_ != nullptr) return project_divided(x, scratch, first, n);
  if (shard_.size > 1) return project_shard(x.rows(first, n), scratch.rows(0, n));
  const Tensor out = workspace_->logits.rows(0, n);
  norm_and_project(out, x.rows(first, n), scratch.rows(0, n));
  return out;
}

void Vocabulary::norm_and_project(const Tensor& out, const Tensor& x, const Tensor& scratch) {
  backend_->norm_linear(out, scratch, x, weights_.norm, shard_.local.rms_norm_eps, weights_.lm_head);
}

// Tensor parallelism: each rank computes the logits of its ids for all rows.
Tensor Vocabulary::project_shard(const Tensor& x, const Tensor& scratch) {
  const int64_t n = x.dim(0);
  const Tensor mine = workspace_->local_logits.rows(0, n * shard_.n_ids()).reshaped({n, shard_.n_ids()});
  norm_and_project(mine, x, scratch);
  std::vector<int64_t> counts = shard_.vocab;
  for (int64_t& count : counts) count *= n;
  if (shard_.rank != 0) {
    comm_->gather({}, mine, counts);
    return {};
  }
  const Tensor out = workspace_->logits.rows(0, n);
  if (n == 1) {  // gathering already puts the ranks' logits in the order of ids
    comm_->gather(out, mine, counts);
    return out;
  }
  const Tensor all = workspace_->gathered_logits.rows(0, n * shard_.local.n_vocab);
  comm_->gather(all, mine, counts);
  int64_t first_id = 0;
  for (const int64_t n_ids : shard_.vocab) {
    backend_->copy_columns(out, first_id, all.rows(n * first_id, n * n_ids).reshaped({n, n_ids}));
    first_id += n_ids;
  }
  return out;
}

// Context parallelism: each rank computes all logits of its rows.
Tensor Vocabulary::project_divided(const Tensor& x, const Tensor& scratch, int64_t first, int64_t n) {
  const ContextParallel::LogitRows rows = context_->logit_rows(first, n);
  const bool gathered = !context_->rank_0_has(first, n);
  const Tensor mine =
      (gathered ? context_->local_logits(workspace_->logits) : workspace_->logits).rows(0, rows.n);
  if (rows.n > 0) norm_and_project(mine, x.rows(rows.first, rows.n), scratch.rows(0, rows.n));
  if (gathered) context_->gather_logits(workspace_->logits.rows(0, n), mine, first, n);
  return comm_->rank() == 0 ? workspace_->logits.rows(0, n) : Tensor();
}

}  // namespace seer
