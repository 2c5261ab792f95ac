// Times single operations of the CUDA backend on the shapes of Llama-3.1-8B, beside what the GPU can do: a
// copy and a large product measured in the same run.
//
//   bench_gpu_ops [--heads Q/KV] [NAME...]     runs the groups whose names are given, all without:
//                                              linear codes append decode prefill gate sample
//
// --heads: query and key heads, of 128, in place of 32/8.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "seer/error.h"

namespace seer {
namespace {

constexpr int64_t kHead = 128, kModel = 4096, kFf = 14336, kPage = 64;

class Bench {
 public:
  struct Heads {
    long long q = 32, kv = 8;
  };

  explicit Bench(const Heads& heads) : gpu_(make_cuda_backend(0)), n_heads_(heads.q), n_kv_heads_(heads.kv) {
    std::printf("%s, %lld/%lld heads of 128\n", gpu_->description().c_str(), heads.q, heads.kv);
    // Roofs. A copy reads and writes each byte once.
    const Tensor a = random({8192, 8192}, 1.0F), b = tensor(DType::kBF16, {8192, 8192}),
                 w = random({8192, 8192}, 0.02F);
    std::vector<int64_t> rows(8192);
    std::iota(rows.begin(), rows.end(), 0);
    begin({}, rows, {}, {}, 8192);
    copy_rate_ = 2.0 * static_cast<double>(a.nbytes()) / time([&](int) { gpu_->gather_rows(b, a); });
    const LinearWeights weights = {{{w, {}}}};
    flop_rate_ = 2.0 * 8192.0 * 8192.0 * 8192.0 / time([&](int) { gpu_->linear(b, a, weights, false); });
    std::printf("roofs: copy %.2f TB/s, product of 8192 cubed %.0f TFLOP/s\n", copy_rate_ * 1e-12,
                flop_rate_ * 1e-12);
  }

  // A layer's products, and the output head, for a few rows. The bytes are those of the weights.
  void linear() {
    struct Shape {
      const char* name;
      int64_t d_out, d_in;
      bool swiglu;
    };
    for (const Shape& s :
         {Shape{"qkv", (n_heads_ + 2 * n_kv_heads_) * kHead, kModel, false},
          Shape{"output", kModel, n_heads_ * kHead, false}, Shape{"gate_up", 2 * kFf, kModel, true},
          Shape{"down", kModel, kFf, false}, Shape{"head", 128256, kModel, false}})
      for (const int64_t n : {1, 2, 4, 8, 16, 32, 64}) {
        const int64_t bytes = s.d_out * s.d_in * 2;
        const auto n_copies =
            static_cast<size_t>(std::max<int64_t>(1, (int64_t{400} << 20) / bytes));  // beyond L2
        std::vector<LinearWeights> copies;
        for (size_t i = 0; i < n_copies; ++i) copies.push_back({{{random({s.d_out, s.d_in}, 0.02F), {}}}});
        const Tensor x = random({n, s.d_in}, 1.0F), norm = random({s.d_in}, 1.0F),
                     h = tensor(DType::kBF16, {n, s.d_in});
        const Tensor out = tensor(DType::kBF16, {n, s.d_out}), act = tensor(DType::kBF16, {n, s.d_out / 2});
        const double seconds = time([&](int i) {
          const LinearWeights& w = copies[static_cast<size_t>(i) % n_copies];
          if (s.swiglu) {
            gpu_->norm_swiglu(act, h, out, x, norm, 1e-5, w, nullptr);
          } else {
            gpu_->linear(out, x, w, false);
          }
        });
        report("linear " + std::string(s.name) + " n=" + std::to_string(n), seconds,
               static_cast<double>(bytes), 0.0);
        kept_.clear();
      }
  }

  // A layer's products with quantised weights. The bytes are those of codes and scales. With more than 64
  // rows, the operations are the figure to look at.
  void codes() {
    struct Shape {
      const char* name;
      int64_t d_out, d_in;
      bool swiglu;
    };
    struct Format {
      const char* name;
      DType type;
      int64_t group;  // 0: a whole row
      InputCodes inputs;
    };
    for (const Format& f : {Format{"bf16", DType::kBF16, 0, InputCodes::kNone},
                            Format{"fp8", DType::kF8E4M3, 0, InputCodes::kE4M3Token},
                            Format{"fp8 blocks", DType::kF8E4M3, 128, InputCodes::kE4M3Token128},
                            Format{"int4", DType::kU4, 128, InputCodes::kNone}})
      for (const Shape& s : {Shape{"qkv", (n_heads_ + 2 * n_kv_heads_) * kHead, kModel, false},
                             Shape{"output", kModel, n_heads_ * kHead, false},
                             Shape{"gate_up", 2 * kFf, kModel, true}, Shape{"down", kModel, kFf, false}}) {
        const int64_t groups = f.type == DType::kBF16 ? 0
                               : f.group == 0         ? 1
                                                      : s.d_in / f.group,
                      bytes = s.d_out * (s.d_in * dtype_bits(f.type) / 8 + groups * 4);
        const auto n_copies =
            static_cast<size_t>(std::max<int64_t>(1, (int64_t{200} << 20) / bytes));  // beyond L2
        std::vector<LinearWeights> copies;
        for (size_t i = 0; i < n_copies; ++i)
          copies.push_back(f.type == DType::kBF16 ? LinearWeights{{{random({s.d_out, s.d_in}, 0.02F), {}}}}
                                                  : random_codes(s.d_out, s.d_in, f.type, f.group, f.inputs));
        for (const int64_t n : {1, 2, 4, 8, 16, 32, 64, 8192}) {
          const auto first_kept = kept_.size();
          const Tensor x = random({n, s.d_in}, 1.0F), norm = random({s.d_in}, 1.0F),
                       h = tensor(DType::kBF16, {n, s.d_in});
          const Tensor out = tensor(DType::kBF16, {n, s.d_out}), act = tensor(DType::kBF16, {n, s.d_out / 2});
          const double seconds = time([&](int i) {
            const LinearWeights& w = copies[static_cast<size_t>(i) % n_copies];
            if (s.swiglu) {
              gpu_->norm_swiglu(act, h, out, x, norm, 1e-5, w, nullptr);
            } else {
              gpu_->linear(out, x, w, false);
            }
          });
          report(std::string(f.name) + " " + s.name + " n=" + std::to_string(n), seconds,
                 static_cast<double>(bytes),
                 n < 1024 ? 0.0 : 2.0 * static_cast<double>(n * s.d_out * s.d_in));
          kept_.resize(first_kept);
        }
        kept_.clear();
      }
  }

  // A layer's append, with and without norms of heads and the gate's pools. The bytes are those of q, k and
  // v, read and written.
  void append() {
    const auto measure = [&](const std::string& name, int64_t n_tokens, const std::vector<Segment>& prefills,
                             const std::vector<Segment>& decodes, const Sequence& s) {
      const Tensor qkv = random({n_tokens, (n_heads_ + 2 * n_kv_heads_) * kHead}, 1.0F),
                   q = tensor(DType::kBF16, {n_tokens, n_heads_, kHead});
      const RopeTable rope{tensor(DType::kF32, {n_tokens, kHead / 2}),
                           tensor(DType::kF32, {n_tokens, kHead / 2})};
      const HeadNorms norms{random({kHead}, 1.0F), random({kHead}, 1.0F), 1e-6};
      PooledBlocks pooled{{false, false, true}, {true, true, true}, {}, {}, {}};
      pooled.q = tensor(DType::kBF16, {n_tokens / kPage + 1, n_heads_, kHead});
      pooled.k = tensor(DType::kBF16, {n_tokens / kPage + 1, n_kv_heads_, 3 * kHead});
      begin({}, {}, prefills, decodes, static_cast<int64_t>(s.table.size()) * kPage);
      gpu_->rope_table(rope, 0, 1, std::vector<double>(kHead / 2, 1.0), 1.0);
      for (const bool with_pools : {false, true})
        for (const bool with_norms : {false, true}) {
          if (with_pools && prefills.empty()) continue;
          report(name + (with_pools ? ", pools" : "") + (with_norms ? ", norms" : ""), time([&](int) {
                   gpu_->append_kv(q, s.kv, qkv, with_norms ? norms : HeadNorms{}, rope,
                                   {n_tokens, prefills, decodes}, with_pools ? &pooled : nullptr);
                 }),
                 2.0 * static_cast<double>(qkv.nbytes()), 0.0);
        }
      kept_.clear();
    };
    for (const int64_t length : {8192, 32768}) {
      const Sequence s = sequence(length);
      measure("prefill_append L=" + std::to_string(length), length, {{0, length, 0, s.table.data()}}, {}, s);
    }
    for (const int64_t n : {1, 64}) {
      const Sequence s = sequence(n * kPage);
      std::vector<Segment> decodes;
      for (int64_t i = 0; i < n; ++i) decodes.push_back({i, 1, kPage - 1, s.table.data() + i});
      measure("decode_append B=" + std::to_string(n), n, {}, decodes, s);
    }
  }

  void decode() {
    for (const auto& [n_sequences, length] : std::vector<std::pair<int64_t, int64_t>>{
             {1, 128}, {1, 1024}, {1, 8192}, {1, 32768}, {32, 1024}, {64, 8192}}) {
      const Sequence s = sequence(n_sequences * length);
      std::vector<Segment> decodes;
      for (int64_t i = 0; i < n_sequences; ++i)
        decodes.push_back({i, 1, length - 1, s.table.data() + i * length / kPage});
      const Tensor q = random({n_sequences, n_heads_, kHead}, 1.0F), out = tensor(DType::kBF16, q);
      begin({}, {}, {}, decodes, length);
      const double seconds = time([&](int) { gpu_->decode_attention(out, q, s.kv); });
      const double bytes = 2.0 * static_cast<double>(n_sequences * length * n_kv_heads_ * kHead * 2);
      report("paged_decode B=" + std::to_string(n_sequences) + " L=" + std::to_string(length), seconds, bytes,
             0.0);
    }
  }

  void prefill() {
    for (const int64_t length : {8192, 32768, 131072}) {
      const Sequence s = sequence(length);
      const Segment segment{0, length, 0, s.table.data()};
      const Tensor q = random({length, n_heads_, kHead}, 1.0F), out = tensor(DType::kBF16, q);
      begin({}, {}, {segment}, {}, length);
      const int64_t n = length / kPage;
      const double pair_flops = 4.0 * static_cast<double>(kPage * kPage * kHead);
      const int64_t causal_blocks = n * (n + 1) / 2 * n_heads_;
      const auto causal = static_cast<double>(causal_blocks);
      const std::string name = "L=" + std::to_string(length);
      report("dense_prefill " + name,
             time([&](int) { gpu_->prefill_attention(out, q, s.kv, segment, nullptr, 0); }), 0.0,
             causal * pair_flops);
      for (const double density : {0.5, 0.1, 0.05})
        for (const bool shared : {true, false}) {
          if (length > 32768 && density != 0.1) continue;  // making masks of this size takes the host seconds
          const std::pair<BlockMask, int64_t> masked = random_mask(n, density, shared);
          const BlockMask& mask = masked.first;
          report("sparse_prefill " + name + " d=" + std::to_string(density).substr(0, 4) +
                     (shared ? " one mask" : " independent"),
                 time([&](int) { gpu_->prefill_attention(out, q, s.kv, segment, &mask, 0); }), 0.0,
                 static_cast<double>(masked.second) * pair_flops);
        }
      kept_.clear();
    }
  }

  // The choice of tokens, including the wait for their ids. The bytes are one pass over the logits.
  void sample() {
    constexpr int64_t kVocab = 128256;
    const std::vector<LogitChange> changes = {{1, 1.1F, 0.0F, false}, {2, 1.1F, 0.0F, false}};
    const std::pair<const char*, SampleRow> rules[] = {
        {"greedy", {}},
        {"plain", {0.8, 0, 1.0, 0.0, 0.5, {}}},
        {"top_k=40 top_p=0.95", {0.8, 40, 0.95, 0.0, 0.5, changes}},
        {"top_p=0.9", {0.8, 0, 0.9, 0.0, 0.5, changes}},
        {"top_p=0.95 hot", {4.0, 0, 0.95, 0.0, 0.5, {}}}};
    for (const int64_t n : {1, 8, 64}) {
      // The sum of six uniform numbers has a bell shape, as logits have.
      std::vector<float> logits(static_cast<size_t>(n * kVocab));
      for (float& x : logits)
        for (int i = 0; i < 6; ++i) x += static_cast<float>(next() >> 40) * 0x1p-22F - 2.0F;
      Tensor t = gpu_->to_device(Tensor(logits.data(), DType::kI32, {n, kVocab}), &kept_);  // bit by bit
      t.dtype = DType::kF32;
      for (const auto& [name, rule] : rules) {
        const std::vector<SampleRow> rows(static_cast<size_t>(n), rule);
        std::vector<int32_t> ids(rows.size());
        const double seconds = time([&](int) { gpu_->sample(ids, t, rows); });
        report("sample " + std::string(name) + " n=" + std::to_string(n), seconds,
               static_cast<double>(t.nbytes()), 0.0);
      }
      kept_.clear();
    }
  }

  // Projection and selection for one chunk at the end of a prompt, and then for all its chunks: the gate's
  // part of one layer. There are weights and gate keys of so many layers that they do not stay in L2. The
  // pools are fresh from append_kv, as in a model.
  void gate() {
    constexpr int64_t kChunk = 8192, kRows = kChunk / kPage, kPools = 3;
    using Method = SelectRule::Method;
    for (const int64_t length : {8192, 32768, 131072, 1048576}) {
      const int64_t n = length / kPage;
      Sequence s = sequence(length, /*keys=*/false);
      const auto n_layers = static_cast<size_t>(length > 131072 ? 2 : 16);
      std::vector<PagedKv> layers(n_layers, s.kv);
      std::vector<GateView> gates(n_layers);
      for (size_t l = 0; l < n_layers; ++l) {
        layers[l].gate_k = random({n, n_heads_, kHead}, 1.0F);
        gates[l].linear_k = random({n_heads_, kPools * kHead, kHead}, 0.05F);
      }
      PooledBlocks pooled;
      pooled.q = random({kRows, n_heads_, kHead}, 1.0F);
      pooled.k = random({kRows, n_kv_heads_, kPools * kHead}, 1.0F);
      pooled.projected = tensor(DType::kF32, {kRows, n_heads_, kHead});
      const Tensor gate_q = tensor(DType::kBF16, {kRows, n_heads_, kHead});
      const RopeTable rope{tensor(DType::kF32, {kRows, kHead / 2}), tensor(DType::kF32, {kRows, kHead / 2})};
      const BlockMask mask{tensor(DType::kI32, {n_heads_, kRows}), tensor(DType::kI32, {n_heads_, kRows, n})};
      std::vector<double> inv_freq;
      for (int64_t i = 0; i < kHead / 2; ++i)
        inv_freq.push_back(std::pow(5e5, -2.0 * static_cast<double>(i) / static_cast<double>(kHead)));

      const auto project = [&](size_t layer, const Segment& segment) {
        gpu_->gate_project(gate_q, layers[layer], pooled, gates[layer], rope, segment);
      };
      const auto select = [&](size_t layer, const Segment& segment, const SelectRule& rule) {
        gpu_->select_blocks(mask, nullptr, gate_q, layers[layer], segment, rule);
      };
      const auto open = [&](int64_t start) {
        const Segment segment{0, kChunk, start, s.table.data()};
        begin({}, {}, {segment}, {}, length);
        gpu_->rope_table(rope, start, kPage, inv_freq, 1.0);
        return segment;
      };
      const std::string where = " chunk=8192 L=" + std::to_string(length);
      const Segment last = open(length - kChunk);
      report("gate_project" + where, time([&](int i) { project(static_cast<size_t>(i) % n_layers, last); }),
             static_cast<double>(gates[0].linear_k.nbytes()),
             2.0 * static_cast<double>(kRows * n_heads_ * kPools * kHead * kHead));
      const std::pair<const char*, SelectRule> rules[] = {
          {"threshold", {Method::kThreshold, 0.002, true, n}},
          {"nz_ratio", {Method::kNzRatio, 0.1, true, n}},
          {"nz_ratio_row", {Method::kNzRatioRow, 0.1, true, n}}};
      for (const auto& r : rules)
        report(std::string("gate_select ") + r.first + where,
               time([&](int i) { select(static_cast<size_t>(i) % n_layers, last, r.second); }),
               static_cast<double>(layers[0].gate_k.nbytes()),
               2.0 * static_cast<double>(n_heads_ * kRows * n * kHead));
      for (const auto& r : rules) {
        if (length > 131072) break;  // 128 chunks
        double seconds = 0.0;
        for (int64_t start = 0; start < length; start += kChunk) {
          const Segment segment = open(start);
          seconds += time([&](int i) {
            project(static_cast<size_t>(i) % n_layers, segment);
            select(static_cast<size_t>(i) % n_layers, segment, r.second);
          });
        }
        report(std::string("gate path per layer, whole prompt, ") + r.first + " L=" + std::to_string(length),
               seconds, 0.0, 0.0);
      }
      kept_.clear();
    }
  }

 private:
  struct Sequence {
    PagedKv kv;
    std::vector<int32_t> table;
  };

  Tensor tensor(DType dtype, std::initializer_list<int64_t> shape) {
    Tensor t(nullptr, dtype, shape);
    kept_.push_back(gpu_->allocate(t.nbytes(), "a bench"));
    t.data = kept_.back().get();
    return t;
  }
  Tensor tensor(DType dtype, const Tensor& like) {
    Tensor t = like;
    t.dtype = dtype;
    kept_.push_back(gpu_->allocate(t.nbytes(), "a bench"));
    t.data = kept_.back().get();
    return t;
  }
  Tensor random(std::initializer_list<int64_t> shape, float scale) {
    const Tensor t = tensor(DType::kBF16, shape);
    gpu_->fill_random(t, seed_++, 0.0F, scale, {});
    return t;
  }

  // Random codes, none of which is an E4M3 NaN, with scales that give weights of a size of about 0.02.
  LinearWeights random_codes(int64_t d_out, int64_t d_in, DType type, int64_t group, InputCodes inputs) {
    std::vector<uint64_t> words(static_cast<size_t>(d_out * d_in * dtype_bits(type) / 64));
    for (uint64_t& w : words) w = next() & (type == DType::kF8E4M3 ? 0xF7F7F7F7F7F7F7F7U : ~uint64_t{0});
    LinearWeights::Part part;
    part.weight = Tensor(words.data(), type, {d_out, d_in});
    part.group = group == 0 ? d_in : group;
    std::vector<float> scales(static_cast<size_t>(d_out * part.n_groups()));
    for (float& s : scales) s = static_cast<float>(1 + next() % 8) * (type == DType::kU4 ? 1e-3F : 5e-5F);
    part.scale = Tensor(scales.data(), DType::kF32, {d_out, part.n_groups()});
    part.input_codes = inputs;
    return gpu_->to_device(LinearWeights{{part}}, &kept_);
  }

  Sequence sequence(int64_t n_tokens, bool keys = true) {
    const int64_t n_pages = n_tokens / kPage;
    Sequence s;
    if (keys) {
      s.kv.k = random({n_pages, n_kv_heads_, kPage, kHead}, 1.0F);
      s.kv.v = random({n_pages, n_kv_heads_, kPage, kHead}, 1.0F);
    } else {
      s.kv.k = Tensor(nullptr, DType::kBF16, {n_pages, n_kv_heads_, kPage, kHead});
    }
    s.table.resize(static_cast<size_t>(n_pages));
    std::iota(s.table.begin(), s.table.end(), 0);
    for (size_t i = s.table.size() - 1; i > 0; --i) std::swap(s.table[i], s.table[next() % (i + 1)]);
    return s;
  }

  // Returns the diagonal and random other blocks of every row, ascending.
  std::pair<BlockMask, int64_t> random_mask(int64_t n, double density, bool shared) {
    std::vector<int32_t> counts, blocks(static_cast<size_t>(n_heads_ * n * n));
    int64_t n_kept = 0;
    for (int64_t h = 0; h < n_heads_; ++h)
      for (int64_t r = 0; r < n; ++r) {
        int32_t* row = blocks.data() + (h * n + r) * n;
        int32_t count = 0;
        if (shared && h > 0) {
          count = counts[static_cast<size_t>(r)];
          std::copy(blocks.data() + r * n, blocks.data() + r * n + count, row);
        } else {
          for (int64_t j = 0; j <= r; ++j)
            if (j == r || static_cast<double>(next() >> 11) * 0x1p-53 < density)
              row[count++] = static_cast<int32_t>(j);
        }
        counts.push_back(count);
        n_kept += count;
      }
    const auto upload = [&](const std::vector<int32_t>& values, std::initializer_list<int64_t> shape) {
      return gpu_->to_device(Tensor(const_cast<int32_t*>(values.data()), DType::kI32, shape), &kept_);
    };
    return {{upload(counts, {n_heads_, n}), upload(blocks, {n_heads_, n, n})}, n_kept};
  }

  void begin(const std::vector<int32_t>& ids, const std::vector<int64_t>& rows,
             const std::vector<Segment>& prefills, const std::vector<Segment>& decodes, int64_t length) {
    StepLimits limits;
    limits.n_tokens = static_cast<int64_t>(std::max(ids.size(), rows.size()));
    limits.n_sequences = static_cast<int64_t>(prefills.size() + decodes.size());
    limits.n_blocks = length / kPage + 1;
    gpu_->prepare(limits);
    gpu_->begin_step({ids, {0, prefills, decodes}, rows}, kPage);
  }

  // Seconds of one call: the median of several rounds of back-to-back calls.
  double time(const std::function<void(int)>& call) {
    const auto round = [&](int n) {
      gpu_->reset_phases();
      gpu_->begin_phase(Phase::kAttention);
      for (int i = 0; i < n; ++i) call(i);
      gpu_->end_phase(Phase::kAttention);
      return static_cast<double>(gpu_->phase_ns(Phase::kAttention)) * 1e-9 / n;
    };
    round(2);
    const int n = std::clamp(static_cast<int>(0.01 / std::max(round(1), 1e-6)), 1, 200);
    std::array<double, 5> seconds{};
    for (double& s : seconds) s = round(n);
    std::nth_element(seconds.begin(), seconds.begin() + 2, seconds.end());
    return seconds[2];
  }

  void report(const std::string& name, double seconds, double bytes, double flops) const {
    std::printf("%-56s %9.4f ms", name.c_str(), seconds * 1e3);
    if (bytes > 0)
      std::printf("  %6.2f TB/s (%3.0f%% of copy)", bytes / seconds * 1e-12,
                  100.0 * bytes / seconds / copy_rate_);
    if (flops > 0)
      std::printf("  %6.0f TFLOP/s (%3.0f%% of product)", flops / seconds * 1e-12,
                  100.0 * flops / seconds / flop_rate_);
    std::printf("\n");
    std::fflush(stdout);
  }

  uint64_t next() {
    state_ += 0x9e3779b97f4a7c15ULL;
    uint64_t x = state_;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
  }

  std::unique_ptr<Backend> gpu_;
  int64_t n_heads_, n_kv_heads_;
  std::vector<Buffer> kept_;
  uint64_t seed_ = 1, state_ = 1;
  double copy_rate_ = 1.0, flop_rate_ = 1.0;
};

int run(int argc, char** argv) {
  Bench::Heads heads;
  std::vector<std::string> names(argv + 1, argv + argc);
  if (names.size() >= 2 && names[0] == "--heads") {
    if (std::sscanf(names[1].c_str(), "%lld/%lld", &heads.q, &heads.kv) != 2 || heads.kv < 1 ||
        heads.q < heads.kv || heads.q % heads.kv != 0)
      throw Error(ErrorKind::kUsage, "expected --heads Q/KV, Q a multiple of KV, found --heads " + names[1]);
    names.erase(names.begin(), names.begin() + 2);
  }
  Bench bench(heads);
  const auto wanted = [&](const char* name) {
    return names.empty() || std::find(names.begin(), names.end(), name) != names.end();
  };
  if (wanted("linear")) bench.linear();
  if (wanted("codes")) bench.codes();
  if (wanted("append")) bench.append();
  if (wanted("decode")) bench.decode();
  if (wanted("prefill")) bench.prefill();
  if (wanted("gate")) bench.gate();
  if (wanted("sample")) bench.sample();
  return 0;
}

}  // namespace
}  // namespace seer

int main(int argc, char** argv) {
  try {
    return seer::run(argc, argv);
  } catch (const seer::Error& error) {
    std::fprintf(stderr, "bench_gpu_ops: %s\n", error.what());
    return 1;
  }
}
