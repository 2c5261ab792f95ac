#include "models/weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "models/weight_binder.h"
#include "models/weight_format.h"
#include "models/weight_slots.h"
#include "seer/error.h"

namespace seer {
namespace {

using Owners = std::vector<std::shared_ptr<const void>>;

// Returns the rank's rows of a weight, or the whole weight if it is not divided by rows. The result is a
// view: the system reads only the pages of a mapped file that are accessed.
LinearWeights::Part row_slice(LinearWeights::Part part, const WeightSlot& slot) {
  if (slot.split != WeightSlot::Split::kRows) return part;
  if (part.weight) part.weight = part.weight.rows(slot.first, slot.count);
  if (part.bias) part.bias = part.bias.rows(slot.first, slot.count);
  return part;
}

// Returns the rank's columns of a weight. They lie apart in memory, so the result is a copy, which `owners`
// keep alive.
Tensor column_slice(const Tensor& weight, const WeightSlot& slot, Owners* owners) {
  const int64_t element = dtype_bytes(weight.dtype);
  const auto size = static_cast<size_t>(slot.count * element),
             pitch = static_cast<size_t>(slot.columns * element);
  const auto copy = std::make_shared<std::vector<std::byte>>(static_cast<size_t>(slot.rows) * size);
  const auto* from = static_cast<const std::byte*>(weight.data) + slot.first * element;
  for (size_t r = 0; r < static_cast<size_t>(slot.rows); ++r)
    std::memcpy(copy->data() + r * size, from + r * pitch, size);
  owners->push_back(copy);
  return Tensor(copy->data(), weight.dtype, {slot.rows, slot.count});
}

bool same_memory(const LinearWeights& a, const LinearWeights& b) {
  return a.parts.front().weight.data == b.parts.front().weight.data;
}

// Puts a rank's part of the bound weights where the backend uses it, one product after the other, so that a
// device with memory of its own needs room on the host for the copies of one product only. All arguments must
// outlive the placer.
class Placer {
 public:
  Placer(ModelWeights* weights, std::span<const WeightSlot> slots, std::span<const BoundWeight> bound,
         const Shard& shard, Backend* backend, WeightFormat format, const ModelWeights::Progress& on_progress)
      : weights_(*weights),
        slots_(slots),
        bound_(bound),
        shard_(shard),
        backend_(backend),
        format_(format),
        on_progress_(on_progress) {
    for (size_t i = 0; i < slots_.size(); ++i) bytes_total_ += local_bytes(i);
  }

  // Throws Error{kCancelled} if the progress callback returns false, and the errors of local_part().
  void run() {
    for_each_target(slots_, &weights_, [&](const WeightTarget& target, std::span<const WeightSlot> slots_of) {
      Owners owners;
      LinearWeights product;
      for (const WeightSlot& slot : slots_of) {
        const auto i = static_cast<size_t>(&slot - slots_.data());
        product.parts.push_back(local_of(slot, bound_[i], &owners));
        bytes_done_ += local_bytes(i);
      }
      if (on_progress_ && !on_progress_(bytes_done_, bytes_total_))
        throw Error(ErrorKind::kCancelled, "loading " + weights_.tensors.source() + " was cancelled");
      if (target.tensor != nullptr) {
        *target.tensor = backend_->to_device(product.parts.front().weight, &weights_.buffers);
      } else {
        *target.product = backend_->to_device(product, &weights_.buffers);
        if (takes_format(slots_of.front(), format_))
          *target.product = backend_->quantise(*target.product, format_, &weights_.buffers);
      }
      if (backend_->has_own_memory()) return;
      if (target.product != nullptr && !same_memory(*target.product, product)) return;
      for (std::shared_ptr<const void>& owner : owners) weights_.tensors.keep(std::move(owner));
    });
  }

 private:
  bool by_columns(const WeightSlot& slot) const {
    return shard_.size > 1 && slot.split == WeightSlot::Split::kColumns;
  }
  LinearWeights::Part local_of(const WeightSlot& slot, const BoundWeight& bound, Owners* owners) const {
    LinearWeights::Part part = row_slice(bound.plain, slot);
    if (by_columns(slot) && shard_.rank != 0) part.bias = {};  // the sum over ranks includes it once
    if (bound.quant) {
      const bool by_rows = slot.split == WeightSlot::Split::kRows;
      const MatrixRange matrix = {by_rows ? slot.first : 0, slot.local_rows(),
                                  by_columns(slot) ? slot.first : 0,
                                  by_columns(slot) ? slot.count : slot.columns};
      const Tensor bias = part.bias;
      part = local_part(*bound.quant, matrix, owners);
      part.bias = bias;
    } else if (by_columns(slot)) {
      part.weight = column_slice(part.weight, slot, owners);
    }
    return part;
  }
  // Returns the bytes of this rank's part of a weight: its codes or the plain weight, and the bias.
  int64_t local_bytes(size_t i) const {
    const WeightSlot& slot = slots_[i];
    const BoundWeight& bound = bound_[i];
    const DType dtype = bound.quant ? bound.quant->scheme->codes : bound.plain.weight.dtype;
    const int64_t n = slot.local_rows() * (slot.is_vector()   ? 1
                                           : by_columns(slot) ? slot.count
                                                              : slot.columns);
    return n * dtype_bits(dtype) / 8 +
           (bound.plain.bias ? slot.local_rows() * dtype_bytes(bound.plain.bias.dtype) : 0);
  }

  ModelWeights& weights_;
  std::span<const WeightSlot> slots_;
  std::span<const BoundWeight> bound_;
  const Shard& shard_;
  Backend* backend_;
  WeightFormat format_;
  const ModelWeights::Progress& on_progress_;
  int64_t bytes_done_ = 0, bytes_total_ = 0;
};

// Changes the size, type and text in `w` to those of a model whose matrices were brought to a format.
void describe_format(WeightFormat format, std::span<const WeightSlot> slots, int64_t plain_bytes,
                     ModelWeights* w) {
  if (format == WeightFormat::kStored) return;
  const FormatSize size = format_size(format, slots);
  w->n_bytes += size.n_bytes - plain_bytes;
  if (2 * size.n_params > w->n_params) w->dtype = format_dtype(format);
  w->quantisation = format_text(format, size, w->n_bytes, w->n_params);
}

// Returns the bytes of a rank's part of a weight that is made in BF16.
int64_t local_bytes(const WeightSlot& slot) {
  return slot.local_rows() * (slot.is_vector() ? 1 : slot.local_columns()) * dtype_bytes(DType::kBF16);
}

}  // namespace

void find_vocabulary(const std::string& model_dir, ModelConfig* config) {
  if (config->n_vocab_given) return;
  const TensorMap tensors = read_checkpoint(model_dir);
  const Tensor* embedding = tensors.find(WeightBinder(tensors, *config).embedding());
  if (embedding == nullptr || embedding->rank != 2 || embedding->dim(0) == config->n_vocab) return;
  config->set_vocabulary(embedding->dim(0));
}

ModelWeights ModelWeights::load(const std::string& model_dir, const ModelConfig& config, const Shard& shard,
                                Backend* backend, const Progress& on_progress, WeightFormat format) {
  ModelWeights w;
  w.tensors = read_checkpoint(model_dir);
  w.layers.resize(static_cast<size_t>(config.n_layers));
  WeightBinder binder(w.tensors, config);
  w.tied = binder.tied();
  const std::vector<WeightSlot> slots = weight_slots(config, shard, w.tied);
  std::vector<BoundWeight> bound;
  bound.reserve(slots.size());
  for (const WeightSlot& slot : slots) bound.push_back(binder.bind(slot));
  binder.finish();
  w.notes = binder.notes();
  w.skipped = binder.skipped();
  w.dtype = binder.dtype();
  w.n_params = binder.n_params();
  w.n_bytes = binder.n_bytes();
  w.quantisation = binder.quantisation();
  int64_t plain_bytes = 0;
  for (size_t i = 0; i < slots.size(); ++i)
    if (takes_format(slots[i], format)) plain_bytes += bound[i].plain.weight.nbytes();
  describe_format(format, slots, plain_bytes, &w);
  Placer(&w, slots, bound, shard, backend, format, on_progress).run();
  if (w.tied) w.lm_head.parts = {{w.embedding, {}}};
  if (backend->has_own_memory()) w.tensors = {};  // all weights were copied to the device
  return w;
}

ModelWeights ModelWeights::random(const ModelConfig& config, const Shard& shard, Backend* backend,
                                  uint64_t seed, const Progress& on_progress, WeightFormat format) {
  ModelWeights w;
  w.dtype = dtype_name(DType::kBF16);
  w.tied = config.tied_embeddings;
  w.layers.resize(static_cast<size_t>(config.n_layers));
  const auto allocate = [&](Tensor t) {
    w.buffers.push_back(backend->allocate(t.nbytes(), "random weights"));
    t.data = w.buffers.back().get();
    return t;
  };
  // Each weight is one random tensor of the whole model, and a rank makes its own rows or columns of it.
  // Norms are ones. The embedding's values are uniform in +-1. The others are uniform in +-sqrt(3 / d_in), so
  // that inputs of unit variance give products of unit variance.
  const auto fill = [&](const Tensor& rows, const WeightSlot& slot) {
    const bool by_columns = slot.split == WeightSlot::Split::kColumns;
    const int64_t first = by_columns ? slot.first : slot.first * slot.columns;
    const float d_in = slot.role == WeightRole::kEmbedding ? 3.0F : static_cast<float>(slot.columns);
    const float scale = slot.is_vector() ? 0.0F : std::sqrt(3.0F / d_in);
    backend->fill_random(rows, seed++, slot.is_vector() ? 1.0F : 0.0F, scale, {first, slot.columns});
  };
  const std::vector<WeightSlot> slots = weight_slots(config, shard, w.tied);
  int64_t bytes_done = 0, bytes_total = 0;
  for (const WeightSlot& slot : slots) bytes_total += local_bytes(slot);
  for_each_target(slots, &w, [&](const WeightTarget& target, std::span<const WeightSlot> slots_of) {
    for (const WeightSlot& slot : slots_of) bytes_done += local_bytes(slot);
    if (on_progress && !on_progress(bytes_done, bytes_total))
      throw Error(ErrorKind::kCancelled, "making random weights was cancelled");
    const WeightSlot& like = slots_of.front();
    int64_t n_rows = 0, row = 0;
    for (const WeightSlot& slot : slots_of) n_rows += slot.local_rows();
    // The parts of a product are made as one matrix, as a device has them.
    LinearWeights::Part whole;
    whole.weight = allocate(like.is_vector() ? Tensor(nullptr, DType::kBF16, {n_rows})
                                             : Tensor(nullptr, DType::kBF16, {n_rows, like.local_columns()}));
    for (const WeightSlot& slot : slots_of) {
      fill(whole.weight.rows(row, slot.local_rows()), slot);
      row += slot.local_rows();
      w.n_params += slot.numel();
    }
    if (like.bias) {
      whole.bias = allocate(Tensor(nullptr, DType::kBF16, {n_rows}));
      backend->fill_random(whole.bias, seed, 0.0F, 0.0F, {});
    }
    if (target.tensor != nullptr) {
      *target.tensor = whole.weight;
    } else {
      target.product->parts = {whole};
      if (takes_format(like, format))
        *target.product = backend->quantise(*target.product, format, &w.buffers);
    }
  });
  w.n_bytes = w.n_params * dtype_bytes(DType::kBF16);
  describe_format(format, slots, format_size(WeightFormat::kBF16, slots).n_bytes, &w);
  if (w.tied) w.lm_head.parts = {{w.embedding, {}}};
  return w;
}

}  // namespace seer
