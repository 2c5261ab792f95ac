// Writes a dictionary of bf16 tensors as torch.save does: a zip of stored members, one of which is a pickle.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace seer {

struct NamedBf16 {
  std::string name;
  std::vector<int64_t> shape;
  std::span<const uint16_t> values;
};

// The file is either complete or absent, and synced. Throws Error{kRuntime} if it cannot be written, and
// Error{kUnsupported} for 4 GiB or more or for more than 65000 tensors, which would take another form of zip.
void write_pth(const std::string& path, const std::vector<NamedBf16>& tensors);

}  // namespace seer
