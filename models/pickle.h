// A pickle interpreter that builds plain values. It records the calls that a file asks for, but makes none.
// Format: CPython's Lib/pickletools.py describes every opcode.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace seer {

struct PickleValue {
  enum class Kind : uint8_t {
    kNone,
    kBool,
    kInt,
    kString,
    kTuple,       // and lists
    kDict,        // items: a key, its value, the next key, and so on
    kGlobal,      // text: "module.name"
    kPersistent,  // operand: the one value that stands for the external object
    kCall,        // text: the global's name; operand: the tuple of its arguments. It is never called.
  };
  Kind kind = Kind::kNone;
  int64_t integer = 0;
  std::string_view text;                  // points into the pickle's bytes, or to an allowed name
  std::vector<const PickleValue*> items;  // values may be shared, and may contain themselves
  const PickleValue* operand = nullptr;
};

// Owns every value of one pickle, so that values may refer to each other freely. Its memory stays within
// kMaxOperations times 128 bytes for any file, because an operation adds one value at most and copies none.
class Pickle {
 public:
  // A tensor takes some 30 operations; a file with gates has a few hundred tensors at most.
  static constexpr size_t kMaxOperations = 1'000'000;

  // Reads a pickle of protocol 2 to 4 whose globals are all in `allowed` ("module.name"). The bytes must
  // outlive the result. Throws Error{kFile} for any other global, an opcode outside the handful that tensors
  // need, more than kMaxOperations opcodes, or a malformed stream; `origin` is the file.
  Pickle(std::span<const std::byte> bytes, std::vector<std::string> allowed, const std::string& origin);
  Pickle(const Pickle&) = delete;
  Pickle& operator=(const Pickle&) = delete;

  const PickleValue& root() const { return *root_; }

 private:
  class Machine;
  std::vector<std::string> allowed_;
  std::deque<PickleValue> values_;
  const PickleValue* root_ = nullptr;
};

}  // namespace seer
