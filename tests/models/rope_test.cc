// RoPE frequencies against transformers.
#include "models/rope.h"

#include "tests/support/catch.h"

namespace seer {
namespace {

using Type = RopeConfig::Type;

// The origin of every list below: transformers 5.24.0, modeling_rope_utils.ROPE_INIT_FUNCTIONS[type](config,
// None, seq_len) with the head_dim, max_position_embeddings and rope_parameters of each case, computed in
// float64 (numpy arrays in place of torch tensors).
void check_frequencies(const RopeFrequencies& found, const std::vector<double>& expected) {
  REQUIRE(found.inv_freq.size() == expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    INFO("frequency " << i);
    CHECK(found.inv_freq[i] == Approx(expected[i]).epsilon(1e-12));
  }
}

RopeConfig rope_of(Type type, double factor, int64_t original) {
  RopeConfig rope;
  rope.type = type;
  rope.factor = factor;
  rope.original_max_positions = original;
  return rope;
}

TEST_CASE("rope: default frequencies are powers of theta") {
  RopeConfig rope;
  check_frequencies(rope_frequencies(rope, 8, 1), {1.0, 0.1, 0.01, 0.001});
  CHECK(rope_frequencies(rope, 8, 1).attention_scaling == 1.0);
  rope.theta = 16.0;
  check_frequencies(rope_frequencies(rope, 4, 1), {1.0, 0.25});
  check_frequencies(rope_frequencies(rope, 2, 1), {1.0});
}

TEST_CASE("rope: linear divides every frequency") {
  const RopeFrequencies f = rope_frequencies(rope_of(Type::kLinear, 4.0, 2048), 8, 1);
  check_frequencies(f, {0.25, 0.025, 0.0025, 0.00025});
  CHECK(f.attention_scaling == 1.0);
}

TEST_CASE("rope: dynamic changes nothing up to the original length and grows after it") {
  const RopeConfig rope = rope_of(Type::kDynamic, 2.0, 2048);
  const std::vector<double> plain = {1.0,  0.31622776601683794, 0.1,   0.03162277660168379,
                                     0.01, 0.00316227766016838, 0.001, 0.00031622776601683794};
  for (const int64_t seq_len : {1, 100, 2047, 2048})
    check_frequencies(rope_frequencies(rope, 16, seq_len), plain);
  check_frequencies(rope_frequencies(rope, 16, 2049),
                    {1.0, 0.3161836740214936, 0.09997211571773013, 0.031609550847333814, 0.00999442392107922,
                     0.0031600736750951298, 0.0009991637047701816, 0.000315919251123163});
  check_frequencies(rope_frequencies(rope, 16, 8192),
                    {1.0, 0.2394813560059838, 0.05735131987446476, 0.013734571852269752, 0.003289173891343177,
                     0.0007876958236383426, 0.00018863846396516057, 4.517539514526257e-05});
  CHECK(rope_frequencies(rope, 16, 8192).attention_scaling == 1.0);
}

// head_dim 32, max_position_embeddings 32768, factor 8, original_max_position_embeddings 4096.
const std::vector<double> kYarn = {
    1.0,      0.5623413251903491,    0.31622776601683794,   0.1778279410038923,
    0.1,      0.056234132519034905,  0.02766992952647332,   0.013337095575291922,
    0.00625,  0.0028117066259517455, 0.0011858541225631424, 0.0004445698525097308,
    0.000125, 7.029266564879364e-05, 3.952847075210474e-05, 2.2228492625486534e-05};

TEST_CASE("rope: yarn interpolates between whole dimensions") {
  const RopeFrequencies f = rope_frequencies(rope_of(Type::kYarn, 8.0, 4096), 32, 1);
  check_frequencies(f, kYarn);
  CHECK(f.attention_scaling == Approx(1.2079441541679836).epsilon(1e-12));
}

TEST_CASE("rope: yarn without truncate interpolates between the exact dimensions") {
  RopeConfig rope = rope_of(Type::kYarn, 8.0, 4096);
  rope.truncate = false;
  check_frequencies(rope_frequencies(rope, 32, 1),
                    {1.0, 0.5623413251903491, 0.31622776601683794, 0.1778279410038923, 0.1,
                     0.056234132519034905, 0.02811208084703974, 0.013224133901796551, 0.005983133441317673,
                     0.0025472880550898944, 0.000972857759153073, 0.0002886330319452514, 0.000125,
                     7.029266564879364e-05, 3.952847075210474e-05, 2.2228492625486534e-05});
}

TEST_CASE("rope: yarn with other rotations, beta_fast 16 and beta_slow 2") {
  RopeConfig rope = rope_of(Type::kYarn, 8.0, 4096);
  rope.beta_fast = 16.0;
  rope.beta_slow = 2.0;
  check_frequencies(rope_frequencies(rope, 32, 1),
                    {1.0, 0.5623413251903491, 0.31622776601683794, 0.1778279410038923, 0.1,
                     0.056234132519034905, 0.03162277660168379, 0.014670805132821114, 0.006500000000000001,
                     0.002671121294654158, 0.0009486832980505138, 0.00022228492625486537, 0.000125,
                     7.029266564879364e-05, 3.952847075210474e-05, 2.2228492625486534e-05});
}

TEST_CASE("rope: yarn whose ramp leaves the dimensions there are") {
  // head_dim 4, original_max_position_embeddings 16: the range would begin below 0.
  check_frequencies(rope_frequencies(rope_of(Type::kYarn, 4.0, 16), 4, 1), {1.0, 0.0025});
  // original_max_position_embeddings 4: the range would end below 0 too, and has no width.
  check_frequencies(rope_frequencies(rope_of(Type::kYarn, 4.0, 4), 4, 1), {1.0, 0.0025});
  // head_dim 8, rope_theta 10, original_max_position_embeddings 1000: the range would end after the last
  // dimension.
  RopeConfig rope = rope_of(Type::kYarn, 4.0, 1000);
  rope.theta = 10.0;
  check_frequencies(rope_frequencies(rope, 8, 1),
                    {1.0, 0.5623413251903491, 0.31622776601683794, 0.15115374985330846});
}

TEST_CASE("rope: yarn's attention scaling") {
  RopeConfig rope = rope_of(Type::kYarn, 8.0, 4096);
  const auto scaling = [&] { return rope_frequencies(rope, 32, 1).attention_scaling; };
  rope.mscale = 0.707;
  CHECK(scaling() == Approx(1.2079441541679836).epsilon(1e-12));  // one of the two alone has no effect
  rope.mscale_all_dim = 0.0;
  CHECK(scaling() == Approx(1.2079441541679836).epsilon(1e-12));  // 0 counts as absent
  rope.mscale_all_dim = 1.0;
  CHECK(scaling() == Approx(0.9495608824621653).epsilon(1e-12));
  check_frequencies(rope_frequencies(rope, 32, 1), kYarn);  // the frequencies do not depend on it
  rope.attention_factor = 1.5;
  CHECK(scaling() == 1.5);
  CHECK(rope_frequencies(rope_of(Type::kYarn, 1.0, 4096), 32, 1).attention_scaling == 1.0);
}

TEST_CASE("rope: llama3 keeps short waves, divides long ones and blends between") {
  RopeConfig rope = rope_of(Type::kLlama3, 8.0, 8192);
  rope.theta = 500000.0;
  const RopeFrequencies f = rope_frequencies(rope, 32, 1);
  check_frequencies(
      f, {1.0, 0.44036660267178046, 0.19392274474868576, 0.08539710028576561, 0.03760603093086393,
          0.016560440080994446, 0.0072926647372171085, 0.0032114459947525913, 0.0005248461609929547,
          7.78465527393245e-05, 3.428102195952591e-05, 1.509621717643313e-05, 6.647869871181236e-06,
          2.9274998701761677e-06, 1.2891731721515574e-06, 5.677088100759837e-07});
  CHECK(f.attention_scaling == 1.0);
  rope.theta = 10000.0;  // two wavelengths lie within the range, near either end
  check_frequencies(rope_frequencies(rope, 32, 1),
                    {1.0, 0.5623413251903491, 0.31622776601683794, 0.1778279410038923, 0.1,
                     0.056234132519034905, 0.03162277660168379, 0.01778279410038923, 0.01,
                     0.005623413251903491, 0.00316227766016838, 0.00090615273954339, 0.00021360754402756864,
                     7.029266564879364e-05, 3.952847075210474e-05, 2.2228492625486534e-05});
}

TEST_CASE("rope: the length matters for dynamic alone") {
  for (const Type type : {Type::kDefault, Type::kLinear, Type::kYarn, Type::kLlama3}) {
    const RopeConfig rope = rope_of(type, 2.0, 64);
    CHECK(rope_frequencies(rope, 16, 1).inv_freq == rope_frequencies(rope, 16, 1 << 20).inv_freq);
  }
}

TEST_CASE("rope: a description for people") {
  RopeConfig rope;
  CHECK(rope_description(rope) == "default");
  rope = rope_of(Type::kLlama3, 8.0, 8192);
  CHECK(rope_description(rope) == "llama3, factor 8");
  CHECK(rope_description(rope_of(Type::kDynamic, 2.5, 1)) == "dynamic, factor 2.5");
}

}  // namespace
}  // namespace seer
