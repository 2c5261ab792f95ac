// A fingerprint changes with everything on which a page's contents depend, and with nothing else.
#include "models/page_fingerprint.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/src/engine_impl.h"
#include "kernels/cpu/simd/simd.h"
#include "seer/ranks.h"
#include "tests/engine/demo.h"
#include "tests/engine/random_decode_gates.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer {
namespace {

namespace fs = std::filesystem;
using Names = std::set<std::string>;

PageFingerprint fingerprint_of(Engine& engine) {
  auto& impl = dynamic_cast<EngineImpl&>(engine);
  Scheduler::Lock lock(impl.scheduler().mutex());
  const Scheduler::Turn turn(&impl.scheduler(), &lock);
  return impl.fingerprint();
}

PageFingerprint fingerprint_of(const EngineOptions& options) {
  return fingerprint_of(*Engine::load(options));
}

// The names of the items in which two fingerprints differ.
Names differing(const PageFingerprint& a, const PageFingerprint& b) {
  Names names;
  for (const auto& [one, other] : {std::pair(&a, &b), std::pair(&b, &a)})
    for (const FingerprintItem& item : *one)
      if (std::find(other->begin(), other->end(), item) == other->end()) names.insert(item.name);
  CHECK((checksum_of(a) == checksum_of(b)) == names.empty());
  return names;
}

// A copy of one of the demo model's folders, in which files can be changed.
class Copy {
 public:
  explicit Copy(const std::string& name) {
    fs::copy(testing::demo_model() / name, dir_.path(), fs::copy_options::recursive);
  }
  std::string path() const { return dir_.path().string(); }
  template <class Value>
  Copy& set(const std::string& key, const Value& value) {
    const fs::path file = dir_.path() / "config.json";
    nlohmann::json json = nlohmann::json::parse(testing::read_file(file));
    json[key] = value;
    testing::write_file(file, json.dump());
    return *this;
  }
  // Changes the lowest bit of the last byte, which belongs to a tensor's data.
  Copy& change_last_byte(const std::string& file) {
    std::string bytes = testing::read_file(dir_.path() / file);
    bytes.back() ^= 1;
    testing::write_file(dir_.path() / file, bytes);
    return *this;
  }

 private:
  testing::TempDir dir_;
};

EngineOptions base_options() { return testing::demo_options(512, 64); }

TEST_CASE("a fingerprint is the same for every load of a model, whatever the sizes of steps and pools") {
  const PageFingerprint base = fingerprint_of(base_options());
  Copy model("model"), gates("gates");  // in other folders, with other times
  EngineOptions options = testing::demo_options(1024, 128);
  options.model_dir = model.path();
  options.gates_dir = gates.set("seerattn_threshold", 0.25).path();  // the rule is a request's own
  options.threads = 1;
  options.pool_size = 4096;
  options.prefix_cache = true;
  CHECK(differing(base, fingerprint_of(options)) == Names{});
}

TEST_CASE("a change of the model changes the fingerprint in the item that says so") {
  const PageFingerprint base = fingerprint_of(base_options());
  const auto with_model = [&](Copy& model) {
    EngineOptions options = base_options();
    options.model_dir = model.path();
    return differing(base, fingerprint_of(options));
  };
  CHECK(with_model(Copy("model").change_last_byte("model.safetensors")) == Names{"the weights"});
  CHECK(with_model(Copy("model").set("rope_theta", 100001.0)) == Names{"RoPE"});
  for (const char* type : {"linear", "dynamic"})
    CHECK(with_model(Copy("model").set(
              "rope_scaling", nlohmann::json{{"rope_type", type}, {"factor", 2.0}})) == Names{"RoPE"});
  CHECK(with_model(Copy("model").set("rms_norm_eps", 2e-5)) == Names{"the model's shape"});
}

TEST_CASE("a change of the gates changes the fingerprint in the item that says so") {
  const PageFingerprint base = fingerprint_of(base_options());
  EngineOptions options = base_options();
  Copy other("gates");
  options.gates_dir = other.change_last_byte("attn_gate_weights.safetensors").path();
  CHECK(differing(base, fingerprint_of(options)) == Names{"the gates for prompts"});
  Copy sparse_to_the_end("gates");
  options.gates_dir = sparse_to_the_end.set("seerattn_last_block_dense", false).path();
  CHECK(differing(base, fingerprint_of(options)) == Names{"the gates for prompts"});
  Copy by_head("gates");
  const std::vector<std::vector<double>> factors(6, std::vector<double>(4, 1.5));
  options.gates_dir = by_head.set("seer_threshold_factors", factors).path();
  CHECK(differing(base, fingerprint_of(options)) == Names{"the gates for prompts"});
  options.gates_dir = "";
  const PageFingerprint none = fingerprint_of(options);
  CHECK(differing(base, none) == Names{"the gates for prompts", "a page"});

  options.gates_dir = (testing::demo_model() / "decode-gates").string();
  const PageFingerprint decode = fingerprint_of(options);
  CHECK(differing(none, decode) == Names{"the gates for decoding", "a page"});
  Copy other_decode("decode-gates");
  options.gates_dir = other_decode.change_last_byte("attn_gate_weights.safetensors").path();
  CHECK(differing(decode, fingerprint_of(options)) == Names{"the gates for decoding"});
  const testing::RandomDecodeGates small(32);
  options.gates_dir = small.path();
  CHECK(differing(decode, fingerprint_of(options)) == Names{"the gates for decoding", "a page"});
}

TEST_CASE("types and ranks change the fingerprint") {
  const auto engine = Engine::load(base_options());
  const PageFingerprint base = fingerprint_of(*engine);
  EngineOptions options = base_options();
  options.kv_cache_dtype = "bf16";
  CHECK(differing(base, fingerprint_of(options)) == Names{"the type of keys and values", "a page"});
  options = base_options();
  for (const char* type : {"fp8", "int4"}) {
    options.weights = type;
    CHECK(differing(base, fingerprint_of(options)) == Names{"the types of weights", "the weights"});
  }
  options = base_options();
  options.ranks = Ranks::start(2, {SEER_BINARY});
  const PageFingerprint tensor = fingerprint_of(options);
  // Rank 0 has half of the heads, and half of the bytes of a page.
  CHECK(differing(base, tensor) == Names{"the ranks", "the model's shape", "the weights",
                                         "the model on rank 1", "the gates for prompts", "a page"});
  options.rank_split = RankSplit::kContext;
  const PageFingerprint context = fingerprint_of(options);
  CHECK(differing(base, context) == Names{"the ranks", "the model on rank 1"});
  CHECK(differing(tensor, context).count("the ranks") == 1);
}

TEST_CASE("the rounding of products' inputs changes the fingerprint") {
  if (simd::functions().product_bf16 == nullptr) return testing::skip("the processor has no AVX512-BF16");
  EngineOptions options = base_options();
  const PageFingerprint base = fingerprint_of(options);
  options.activations = "bf16";
  CHECK(differing(base, fingerprint_of(options)) == Names{"the type of products' inputs"});
}

TEST_CASE("another format of pages is another fingerprint, and random weights have one of their own") {
  ModelFiles files;
  files.random_config = (testing::demo_model() / "gates" / "config.json").string();
  const auto of_seed = [&](uint64_t seed, int64_t format) {
    files.random_seed = seed;
    Model model(files);
    model.open(make_cpu_backend(1), Shard(model.config()), DType::kF32);
    model.load({});
    return page_fingerprint(model, 64, 2, format);
  };
  const PageFingerprint one = of_seed(1, kPageFormat);
  CHECK(differing(one, of_seed(1, kPageFormat)) == Names{});
  CHECK(differing(one, of_seed(1, kPageFormat + 1)) == Names{"the format of pages"});
  CHECK(differing(one, of_seed(2, kPageFormat)) == Names{"the weights", "the gates for prompts"});
}

}  // namespace
}  // namespace seer
