// The config.json of a checkpoint with the weights of another model.
#include "models/weights.h"

#include "models/config.h"
#include "tests/fuzz/support.h"
#include "tests/models/tiny_model.h"

namespace seer::fuzz::weights_target {
namespace {

constexpr size_t kMaxSize = 4096;

void run(const std::string& bytes) {
  static const testing::TinyModel model;
  static const std::unique_ptr<Backend> backend = make_cpu_backend(1);
  accepts([&] {
    const ModelConfig config = ModelConfig::parse(bytes, "config.json");
    const ModelWeights weights = ModelWeights::load(model.path(), config, backend.get(), {});
    expect(static_cast<int64_t>(weights.layers.size()) == config.n_layers, "the number of layers");
    expect(weights.embedding.dim(0) == config.n_vocab && weights.embedding.dim(1) == config.d_model,
           "the shape of the embedding");
  });
}

// config.json may ask for 65,536 layers, and the names of each one's missing weights take 4 kB.
const Registration kTarget({"weights", run, mutate_one_json<kMaxSize>, kMaxSize, 256, size_t{64} << 20});

}  // namespace
}  // namespace seer::fuzz::weights_target
