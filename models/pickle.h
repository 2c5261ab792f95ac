// A pickle interpreter that builds plain values and records what a file asks to be called, but calls nothing.
// Format: CPython's Lib/pickletools.py describes every opcode.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace seer {

struct PickleValue {
  enum class Kind {
    kNone,
    kBool,
    kInt,
    kString,
    kTuple,       // and lists
    kDict,        // entries
    kGlobal,      // text: "module.name"
    kPersistent,  // items: the one value that stands for the external object
    kCall,        // text: the global's name; items: its arguments. Never carried out.
  };
  Kind kind = Kind::kNone;
  int64_t integer = 0;
  std::string text;
  std::vector<const PickleValue*> items;
  std::vector<std::pair<const PickleValue*, const PickleValue*>> entries;
};

// Owns every value of one pickle, so that values may refer to each other freely.
class Pickle {
 public:
  // Reads a pickle of protocol 2 to 4 whose globals are all in `allowed` ("module.name"). Throws Error{kFile}
  // for any other global, an opcode outside the handful that tensors need, or a malformed stream; `origin` is
  // the file.
  Pickle(std::span<const std::byte> bytes, const std::vector<std::string>& allowed,
         const std::string& origin);
  Pickle(const Pickle&) = delete;
  Pickle& operator=(const Pickle&) = delete;

  const PickleValue& root() const { return *root_; }

 private:
  class Machine;
  std::deque<PickleValue> values_;
  const PickleValue* root_ = nullptr;
};

}  // namespace seer
