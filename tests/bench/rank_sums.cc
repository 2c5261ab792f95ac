// Measures a sum over ranks that is added to the residual stream: over the memory that GPUs share, and by
// NCCL's all-reduce followed by an addition, in one run. Values are random; sums are recorded and replayed,
// as in decode steps.
//
//   bench_rank_sums [--ranks N] [--width N] [--device cuda|cuda:N]
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/comm/nccl.h"
#include "kernels/comm/processes.h"

namespace seer {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kMostRows = 8192;
constexpr int kSums = 20;     // in a replay: two for each layer
constexpr int kReplays = 10;  // timed together
constexpr int kAttempts = 5;  // the fastest attempt counts

struct Options {
  int ranks = 2;
  int64_t width = 4096;
  std::string device = "cuda";
};

Options parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (i + 1 == argc) throw Error(ErrorKind::kUsage, name + ": expected a value after it");
    const std::string value = argv[++i];
    if (name == "--ranks") {
      o.ranks = std::stoi(value);
    } else if (name == "--width") {
      o.width = std::stoll(value);
    } else if (name == "--device") {
      o.device = value;
    } else {
      throw Error(ErrorKind::kUsage, "expected --ranks, --width or --device, found " + name);
    }
  }
  return o;
}

class Bench {
 public:
  Bench(const Options& options, Communicator* host)
      : host_(*host),
        gpu_(make_cuda_backend(options.device == "cuda"
                                   ? host->local_rank() % std::max(1, cuda_device_count())
                                   : std::stoi(options.device.substr(5)))),
        comm_(make_nccl_communicator(host, gpu_.get())),
        width_(options.width) {
    const int64_t elements = kMostRows * width_;
    auto* at = static_cast<char*>(comm_->share_memory(elements * 2 + 3 * elements * 4));
    reaches_ = at != nullptr;
    if (!reaches_) {
      keep_ = gpu_->allocate(elements * 14, "a benchmark");
      at = static_cast<char*>(keep_.get());
    }
    x_ = Tensor(at, DType::kBF16, {kMostRows, width_});
    for (int i = 0; i < 3; ++i)
      shares_[i] = Tensor(at + elements * 2 + i * elements * 4, DType::kF32, {kMostRows, width_});
    narrow_ = shares_[1];
    narrow_.dtype = DType::kBF16;
  }

  void run() {
    if (leads())
      std::printf(
          "%s, %d ranks, width %lld: us a sum\n| rows | peers | by copy engines | NCCL bf16 + add | "
          "NCCL f32 + add |\n|---:|---:|---:|---:|---:|\n",
          gpu_->description().c_str(), comm_->size(), static_cast<long long>(width_));
    for (const int64_t rows : {1, 2, 8, 32, 64, 128, 512, 1024, 2048, 4096, 8192}) {
      const auto view = [&](const Tensor& t) { return t.rows(0, rows); };
      const Tensor x = view(x_);
      int turn = 0;
      double peers = NAN, engines = NAN;
      if (reaches_) peers = time([&] { comm_->add_sum(x, view(shares_[turn ^= 1])); });
      if (reaches_ && rows * width_ * (comm_->size() - 1) > Communicator::kSmallSummand)
        engines = time([&] { comm_->finish_sum(comm_->start_sum(x, view(shares_[0]), view(shares_[2]))); });
      const auto with_nccl = [&](const Tensor& share) {
        return time([&] {
          comm_->all_reduce_sum(view(share));
          gpu_->add(x, view(share));
        });
      };
      const double narrow = with_nccl(narrow_), wide = with_nccl(shares_[0]);
      if (!leads()) continue;
      std::printf("| %lld | %.1f | %.1f | %.1f | %.1f |\n", static_cast<long long>(rows), peers * 1e6,
                  engines * 1e6, narrow * 1e6, wide * 1e6);
      std::fflush(stdout);
    }
  }

 private:
  bool leads() const { return host_.rank() == 0; }

  double time(const std::function<void()>& sum) {
    // Small values, so that sums of sums stay finite.
    gpu_->fill_random(x_.reshaped({x_.numel()}), 1, 0.0F, 1.0F, {});
    for (Tensor share : shares_) {
      share.dtype = DType::kBF16;
      gpu_->fill_random(share.reshaped({share.numel()}), 2, 0.0F, 1e-30F, {});
    }
    const int64_t key = ++key_;
    const auto replay = [&] {
      gpu_->run_step(key, [&] {
        for (int i = 0; i < kSums; ++i) sum();
      });
    };
    double best = INFINITY;
    for (int i = 0; i < 3; ++i) replay();
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      finish();
      host_.barrier(Patience::kStep);
      const Clock::time_point begin = Clock::now();
      for (int i = 0; i < kReplays; ++i) replay();
      finish();
      best = std::min(best, std::chrono::duration<double>(Clock::now() - begin).count());
    }
    gpu_->forget_recordings();
    return best / (kSums * kReplays);
  }
  void finish() {
    uint16_t word[8];
    gpu_->read(word, x_.reshaped({x_.numel()}).rows(0, 8));
  }

  Communicator& host_;
  std::unique_ptr<Backend> gpu_;
  std::unique_ptr<Communicator> comm_;
  int64_t width_, key_ = 0;
  Buffer keep_;
  bool reaches_ = false;
  Tensor x_, shares_[3], narrow_;
};

int run(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::unique_ptr<Communicator> host = join_started_rank();
  if (!host) {
    std::vector<std::string> command(argv, argv + argc);
    command.front() = "/proc/self/exe";
    host = start_ranks(options.ranks, command);
  }
  try {
    Bench(options, host.get()).run();
  } catch (const Error& error) {
    host->abort(error.kind(), rank_prefix(host->rank(), host->size()) + error.what());
    throw;
  }
  host->barrier(Patience::kStep);
  return 0;
}

}  // namespace
}  // namespace seer

int main(int argc, char** argv) {
  try {
    return seer::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_rank_sums: %s\n", error.what());
    return 1;
  }
}
