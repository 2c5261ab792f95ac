// A model for the tests that run out of memory.
#pragma once

#include <cstdint>
#include <filesystem>

#include "seer/engine.h"
#include "tests/engine/demo.h"
#include "tests/support/test_data.h"
#include "tests/tokenizer/small_tokenizers.h"

namespace seer::testing {

// The demo model with two changes: a tokenizer.json, since libsentencepiece does not survive a shortage of
// memory, and gates in a .pth file, which takes more reading than a safetensors file.
class ByteModel {
 public:
  ByteModel() {
    link_model_without_tokenizer(dir_.path());
    write_file(dir_.path() / "tokenizer.json", byte_level_json().dump());
    for (const char* name : {"config.json", "attn_gate_weights.pth"})
      std::filesystem::create_symlink(demo_model() / "gates" / name, gates_.path() / name);
  }
  EngineOptions options(int64_t ctx_size) const {
    EngineOptions options = demo_options(ctx_size);
    options.model_dir = dir_.path().string();
    options.gates_dir = gates_.path().string();
    return options;
  }

 private:
  TempDir dir_, gates_;
};

}  // namespace seer::testing
