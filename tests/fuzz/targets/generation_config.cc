// generation_config.json.
#include "models/generation_config.h"

#include <cmath>

#include "tests/fuzz/support.h"

namespace seer::fuzz::generation_config_target {
namespace {

constexpr size_t kMaxSize = 2048;

void run(const std::string& bytes) {
  static const Folder folder;
  folder.write("generation_config.json", bytes);
  accepts([&] {
    const GenerationConfig c = GenerationConfig::load(folder.path());
    expect(c.exists, "a file that is there does not exist");
    for (const int32_t id : c.eos_ids) expect(id >= 0, "a negative id");
    for (const auto& value : {c.temperature, c.top_p, c.min_p, c.repetition_penalty})
      expect(std::isfinite(value.value_or(0)), "a number that is not finite");
    expect(c.top_k.value_or(0) >= -1, "top_k");
  });
}

const Registration kTarget({"generation_config", run, mutate_one_json<kMaxSize>, kMaxSize});

}  // namespace
}  // namespace seer::fuzz::generation_config_target
