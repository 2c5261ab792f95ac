// Times products of the CPU backend on the shapes of a model of 1B parameters. Every round times each type of
// weights in turn, so that other programs on the machine slow all types alike.
//
//   bench_cpu_linear [--threads N] [--rounds N] [--bf16-inputs] [--types bf16,e4m3,i8,u4,u4z,u4g32] [ROWS...]
//
// ROWS are numbers of input rows of a product; 1 if none are given. Each type has the weights of several
// layers, which together fit into no cache.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/cpu/cpu_backend.h"

namespace seer {
namespace {

constexpr int64_t kModel = 2048, kFf = 8192, kQkv = 3072;
constexpr int64_t kBytes = int64_t{200} << 20;  // of a type's weights, several times the caches

struct Layer {
  LinearWeights qkv, o, gate_up, down;
};

class Bench {
 public:
  Bench(int n_threads, int rounds, bool bf16_inputs)
      : cpu_(std::make_unique<CpuBackend>(n_threads, false, bf16_inputs)), rounds_(rounds) {
    std::printf("%s\n", cpu_->description().c_str());
  }

  void run(const std::vector<std::string>& types, const std::vector<int64_t>& rows) {
    for (const std::string& type : types) layers_.push_back(make_layers(type));
    for (const int64_t n : rows) {
      std::vector<std::vector<double>> times(types.size());
      for (int round = 0; round < rounds_; ++round)
        for (size_t t = 0; t < types.size(); ++t) times[t].push_back(layer_seconds(layers_[t], n));
      double first = 0.0;
      for (size_t t = 0; t < types.size(); ++t) {
        std::sort(times[t].begin(), times[t].end());
        const double median = times[t][times[t].size() / 2], best = times[t].front();
        if (t == 0) first = median;
        std::printf("%4lld rows  %-6s  layer %8.3f ms (best %8.3f)  %6.1f GB/s  %7.1f GFLOP/s  %5.2f x %s\n",
                    static_cast<long long>(n), types[t].c_str(), 1e3 * median, 1e3 * best,
                    1e-9 * layer_bytes(layers_[t].front()) / median,
                    2e-9 * static_cast<double>(n * (kQkv + kModel + 3 * kFf) * kModel) / median,
                    first / median, types[0].c_str());
      }
    }
  }

 private:
  Tensor random(DType dtype, std::initializer_list<int64_t> shape) {
    buffers_.push_back(cpu_->allocate(Tensor(nullptr, dtype, shape).nbytes(), "weights"));
    const Tensor t(buffers_.back().get(), dtype, shape);
    auto* bytes = static_cast<uint8_t*>(t.data);
    if (dtype == DType::kBF16) {
      cpu_->fill_random(t, 1, 0.0F, 0.02F, {});
    } else if (dtype == DType::kF32) {
      for (int64_t i = 0; i < t.numel(); ++i) t.as<float>()[i] = 0.01F + 1e-4F * static_cast<float>(i % 7);
    } else {
      for (int64_t i = 0; i < t.nbytes(); ++i)
        bytes[i] = static_cast<uint8_t>((state_ = state_ * 1664525U + 1013904223U) >> 25);
    }
    return t;
  }

  LinearWeights weights(const std::string& type, int64_t d_out, int64_t d_in) {
    if (type == "bf16") return {{{random(DType::kBF16, {d_out, d_in}), {}}}};
    LinearWeights::Part part{};
    const bool is_u4 = type[0] == 'u';
    part.group = type == "u4g32" ? 32 : type == "i8" ? d_in : 128;
    part.weight = random(type == "e4m3" ? DType::kF8E4M3 : is_u4 ? DType::kU4 : DType::kI8, {d_out, d_in});
    part.scale = random(DType::kF32, {d_out, part.n_groups()});
    if (type == "u4z") part.zero = random(DType::kU8, {d_out, part.n_groups()});
    return {{part}};
  }

  static double layer_bytes(const Layer& layer) {
    double bytes = 0.0;
    for (const LinearWeights* w : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down})
      for (const LinearWeights::Part& p : w->parts)
        bytes += static_cast<double>(p.weight.nbytes() + (p.scale ? p.scale.nbytes() : 0) +
                                     (p.zero ? p.zero.nbytes() : 0));
    return bytes;
  }

  std::vector<Layer> make_layers(const std::string& type) {
    std::vector<Layer> layers;
    do {
      layers.push_back({weights(type, kQkv, kModel), weights(type, kModel, kModel),
                        weights(type, 2 * kFf, kModel), weights(type, kModel, kFf)});
    } while (layer_bytes(layers.front()) * static_cast<double>(layers.size()) < static_cast<double>(kBytes));
    return layers;
  }

  double layer_seconds(const std::vector<Layer>& layers, int64_t n) {
    const Tensor x = random(DType::kF32, {n, kModel}), ff = random(DType::kF32, {n, kFf});
    const Tensor qkv = random(DType::kF32, {n, kQkv}), gate_up = random(DType::kF32, {n, 2 * kFf}),
                 out = random(DType::kF32, {n, kModel});
    const size_t n_layers = n > 64 ? 1 : layers.size();
    const auto start = std::chrono::steady_clock::now();
    for (size_t i = 0; i < n_layers; ++i) {
      cpu_->linear(qkv, x, layers[i].qkv, false);
      cpu_->linear(out, x, layers[i].o, false);
      cpu_->linear(gate_up, x, layers[i].gate_up, false);
      cpu_->linear(out, ff, layers[i].down, false);
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    buffers_.resize(buffers_.size() - 5);
    return seconds / static_cast<double>(n_layers);
  }

  std::unique_ptr<Backend> cpu_;
  int rounds_;
  uint32_t state_ = 1;
  std::vector<Buffer> buffers_;
  std::vector<std::vector<Layer>> layers_;
};

}  // namespace
}  // namespace seer

int main(int argc, char** argv) {
  int n_threads = 2, rounds = 9;
  bool bf16_inputs = false;
  std::string types = "bf16,e4m3,i8,u4,u4z,u4g32";
  std::vector<int64_t> rows;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg.rfind("--", 0) != 0) {
      rows.push_back(std::atoll(argv[i]));
    } else if (arg == "--bf16-inputs") {
      bf16_inputs = true;
    } else if (i + 1 == argc || (arg != "--threads" && arg != "--rounds" && arg != "--types")) {
      std::fprintf(stderr,
                   "usage: bench_cpu_linear [--threads N] [--rounds N] [--bf16-inputs] [--types NAME,...] "
                   "[ROWS...]\n");
      return 2;
    } else if (arg == "--types") {
      types = argv[++i];
    } else {
      (arg == "--threads" ? n_threads : rounds) = std::atoi(argv[++i]);
    }
  }
  std::vector<std::string> names;
  std::istringstream list(types);
  for (std::string name; std::getline(list, name, ',');) names.push_back(name);
  if (rows.empty()) rows.push_back(1);
  seer::Bench(n_threads, rounds, bf16_inputs).run(names, rows);
}
