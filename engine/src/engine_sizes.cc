// Decides the sizes of a step, of a context and of the page pool from the options, the defaults and the
// memory.
#include <algorithm>
#include <string>

#include "engine/src/engine_impl.h"

namespace seer {
namespace {

constexpr int64_t kCpuChunk = 1024;      // tokens; enough for OpenBLAS's peak, with a few MB of activations
constexpr int64_t kGpuChunk = 8192;      // tokens; enough for the peak of every product, with few launches
constexpr int64_t kCpuMixedChunk = 64;   // tokens; a page, which takes some ten times a decode's work
constexpr int64_t kGpuMixedChunk = 256;  // tokens; an H200 takes 6 ms for these, and 4 ms to decode a token,
                                         // with an 8B model (engine/DESIGN.md)
constexpr int64_t kCpuBatch = 16;        // the CPU's kernels for few rows take at least as many at once
constexpr int64_t kGpuBatch = 64;        // steps that only decode are recorded for each size
constexpr int64_t kMaxBatch = 1024;      // keeps the page tables and logits of a step small
constexpr int64_t kDefaultPage = 64;     // tokens of a page if there are no gates
constexpr int64_t kLogitRows = 256;      // rows of logits computed at once
constexpr int64_t kGpuReserve = int64_t{512} << 20;  // bytes for modules, recorded steps and the library's
                                                     // own use
constexpr int64_t kMaxContext = ModelConfig::kMaxPositions;  // tokens

// Returns how many positions the model can use. They are more than max_position_embeddings if its rope
// scaling stretches an original length further, as people set it to use Qwen2.5 beyond 32768 tokens.
int64_t usable_positions(const ModelConfig& config) {
  using Type = RopeConfig::Type;
  const RopeConfig& rope = config.rope;
  if (rope.type != Type::kLinear && rope.type != Type::kDynamic && rope.type != Type::kYarn)
    return config.max_positions;
  const double stretched = rope.factor * static_cast<double>(rope.original_max_positions);
  return std::max(config.max_positions,
                  static_cast<int64_t>(std::min(stretched, static_cast<double>(kMaxContext))));
}

// Returns the tokens of a context. Attention has no window here, so a context must not be longer than the
// model's window: up to that length, attention with a window and without one are the same.
int64_t context_size(const ModelConfig& config, const EngineOptions& options) {
  const int64_t usual = std::min(config.max_positions, config.window.value_or(config.max_positions));
  const bool pool_decides = options.ctx_size == 0 && options.pool_size > 0;
  const int64_t ctx = pool_decides            ? std::min(usual, options.pool_size)
                      : options.ctx_size == 0 ? usual
                                              : options.ctx_size;
  if (ctx < 1 || ctx > kMaxContext)
    throw Error(ErrorKind::kUsage, "expected a context of 1 to " + std::to_string(kMaxContext) +
                                       " tokens, found " + std::to_string(ctx));
  if (config.window && ctx > *config.window)
    throw Error(ErrorKind::kUsage, "expected a context within the sliding attention window of " +
                                       std::to_string(*config.window) + " tokens that the model has, found " +
                                       std::to_string(ctx) +
                                       ": attention beyond a window is not supported. Use -c " +
                                       std::to_string(*config.window) + " or less.");
  return ctx;
}

}  // namespace

// Sets every size that the options decide without regard to memory.
void EngineImpl::size_steps() {
  const ModelConfig& config = model_.config();
  const int64_t page = model_.gates().configs().block().value_or(kDefaultPage);
  const int64_t ctx = context_size(config, options_);
  if (options_.ctx_size == 0 && ctx == config.window && ctx < config.max_positions)
    log(LogLevel::kWarning, "the context is the " + std::to_string(ctx) +
                                " tokens of the model's sliding attention window, not its " +
                                std::to_string(config.max_positions) + " positions");
  if (ctx > usable_positions(config))
    log(LogLevel::kWarning, "the context of " + std::to_string(ctx) + " tokens is beyond the " +
                                std::to_string(usable_positions(config)) +
                                " positions the model was made for");
  const int64_t usual = model_.backend().has_own_memory() ? kGpuChunk : kCpuChunk;
  const int64_t chunk = options_.chunk_size == 0 ? std::max(page, usual / page * page) : options_.chunk_size;
  if (chunk < page || chunk % page != 0)
    throw Error(ErrorKind::kUsage, "expected a chunk size that is a multiple of the gate block of " +
                                       std::to_string(page) + " tokens, found " + std::to_string(chunk));
  if (!(options_.gpu_memory_utilization > 0.0 && options_.gpu_memory_utilization <= 1.0))
    throw Error(ErrorKind::kUsage, "expected a GPU memory utilization above 0 and at most 1, found " +
                                       std::to_string(options_.gpu_memory_utilization));
  info_.ctx_size = ctx;
  info_.max_ctx_size = std::min({usable_positions(config), config.window.value_or(kMaxContext), kMaxContext});
  info_.page_tokens = page;
  info_.prefix_cache = options_.prefix_cache;
  info_.n_pages = (ctx + page - 1) / page;
  info_.chunk_size = std::min(chunk, info_.n_pages * page);
  size_batch();
  // A whole chunk has two runs of blocks for each rank.
  layout_.run = std::max<int64_t>(1, info_.chunk_size / page / (2 * layout_.n_owners));
  limits_.n_tokens = std::max(info_.chunk_size, info_.mixed_chunk_size + info_.max_batch_size);
  limits_.n_sequences = info_.max_batch_size;
  limits_.n_logits = std::min(std::max(kLogitRows, info_.max_batch_size), limits_.n_tokens);
  limits_.n_blocks = info_.n_pages;
  limits_.page_tokens = page;
  model_.check(page, info_.n_pages);
}

// Divides a step between decodes and prompts: mixed_chunk_size and max_batch_size.
void EngineImpl::size_batch() {
  const bool gpu = model_.backend().has_own_memory();
  const int64_t page = info_.page_tokens;
  const int64_t usual = std::max(page, (gpu ? kGpuMixedChunk : kCpuMixedChunk) / page * page);
  const int64_t mixed = options_.mixed_chunk_size == 0 ? usual : options_.mixed_chunk_size;
  if (mixed < page || mixed % page != 0)
    throw Error(ErrorKind::kUsage, "expected a mixed chunk size that is a multiple of the gate block of " +
                                       std::to_string(page) + " tokens, found " + std::to_string(mixed));
  info_.mixed_chunk_size = std::min(mixed, info_.chunk_size);
  info_.max_batch_size =
      options_.max_batch_size == 0 ? (gpu ? kGpuBatch : kCpuBatch) : options_.max_batch_size;
  if (info_.max_batch_size < 1 || info_.max_batch_size > kMaxBatch)
    throw Error(ErrorKind::kUsage, "expected a batch of 1 to " + std::to_string(kMaxBatch) +
                                       " requests, found " + std::to_string(info_.max_batch_size));
}

// Sets a pool of the requested size. It must hold at least one context, so that any request which the context
// admits can run alone.
void EngineImpl::size_pool() {
  const int64_t page = info_.page_tokens, pool = options_.pool_size;
  // Every rank gets the same number of pages, at least as many as its share of one full context.
  const auto set = [&](int64_t n_pages) {
    const int64_t n = layout_.n_owners;
    info_.n_pages = n * std::max((n_pages + n - 1) / n, layout_.most_blocks(limits_.n_blocks));
  };
  if (pool == 0) return set(limits_.n_blocks);
  if (pool < 1 || pool > kMaxContext)
    throw Error(ErrorKind::kUsage, "expected a pool of 1 to " + std::to_string(kMaxContext) +
                                       " tokens, found " + std::to_string(pool));
  if (pool < info_.ctx_size)
    throw Error(ErrorKind::kUsage, "expected a pool of at least the context's " +
                                       std::to_string(info_.ctx_size) + " tokens, found " +
                                       std::to_string(pool) +
                                       ". Use a larger --pool-size or a smaller --ctx-size.");
  set((pool + page - 1) / page);
}

// Returns how many KV pages fit on each rank, after the activations and after the rest of what a context of
// n_blocks needs.
int64_t EngineImpl::pages_that_fit(int64_t room, int64_t n_blocks) const {
  StepLimits limits = limits_;
  limits.n_blocks = n_blocks;
  const int64_t left = room - kGpuReserve - step_bytes(limits);
  return std::max<int64_t>(0, left / model_.page_bytes(info_.page_tokens));
}

// Returns the bytes that steps of these limits work in on each rank, next to weights and pages.
int64_t EngineImpl::step_bytes(const StepLimits& limits) const {
  int64_t bytes = model_.activation_bytes(limits);
  if (divided())
    bytes += ContextParallel::arena_bytes(model_.backend(), model_.config(), model_.gates().configs(), limits,
                                          layout_.n_owners, model_.kv_dtype());
  return bytes;
}

// Sets the sizes that memory decides. On a device with memory of its own, the pool gets the share of memory
// that may be used, minus weights and activations.
void EngineImpl::size_cache() {
  const std::optional<Backend::Memory> memory = model_.backend().memory();
  if (!memory) return size_pool();
  const int64_t page = info_.page_tokens;
  const auto may_use =
      static_cast<int64_t>(options_.gpu_memory_utilization * static_cast<double>(memory->total));
  const int64_t page_bytes = model_.page_bytes(page);
  const int64_t room = ranks_.least_room(&model_.backend(), options_.gpu_memory_utilization);
  // A context takes more than its pages, and that part grows with it: lists of blocks and, if ranks divide
  // prompts, the pages of one layer.
  const auto fits = [&](int64_t n_blocks) {
    return layout_.most_blocks(n_blocks) <= pages_that_fit(room, n_blocks);
  };
  int64_t largest = 0;  // in blocks of a context
  for (int64_t beyond = limits_.n_blocks + 1; largest + 1 < beyond;) {
    const int64_t middle = largest + (beyond - largest) / 2;
    (fits(middle) ? largest : beyond) = middle;
  }
  if (options_.ctx_size == 0 && largest < limits_.n_blocks && largest > 0) {
    limits_.n_blocks = largest;
    info_.ctx_size = largest * page;
    info_.chunk_size = std::min(info_.chunk_size, info_.ctx_size);
    info_.mixed_chunk_size = std::min(info_.mixed_chunk_size, info_.chunk_size);
    limits_.n_tokens = std::max(info_.chunk_size, info_.mixed_chunk_size + info_.max_batch_size);
  }
  const int64_t fitting = pages_that_fit(room, limits_.n_blocks);
  if (largest < limits_.n_blocks)
    throw Error(ErrorKind::kMemory,
                "a context of " + std::to_string(info_.ctx_size) +
                    " tokens does not fit on the GPU: expected room for " +
                    std::to_string(layout_.most_blocks(limits_.n_blocks)) + " pages of " +
                    std::to_string(page_bytes >> 10) + " KiB, found room for " + std::to_string(fitting) +
                    " (" + std::to_string(fitting * layout_.n_owners * page) + " tokens) in " +
                    std::to_string(may_use >> 20) + " MiB besides weights and activations. Use --ctx-size " +
                    std::to_string(largest * page) +
                    " or less, a smaller --chunk-size, or a higher --gpu-memory-utilization.");
  info_.n_pages = std::min(fitting, kMaxContext / page / layout_.n_owners) * layout_.n_owners;
  if (options_.pool_size == 0) return;
  size_pool();
  if (pages_of_rank() > fitting)
    throw Error(ErrorKind::kMemory,
                "a pool of " + std::to_string(options_.pool_size) +
                    " tokens does not fit on the GPU: found room for " +
                    std::to_string(fitting * layout_.n_owners * page) +
                    " tokens besides weights and activations. Use a smaller --pool-size.");
}

}  // namespace seer
