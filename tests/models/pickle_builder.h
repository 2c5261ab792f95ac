// Builds pickles and torch.save files byte by byte, right or wrong, without the library under test. The
// opcodes have their names in CPython's Lib/pickletools.py.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/models/zip_builder.h"

namespace seer::testing {

namespace op {
inline const std::string kProto2("\x80\x02", 2);
inline const std::string kStop = ".", kMark = "(", kTuple = "t", kEmptyTuple = ")", kReduce = "R";
inline const std::string kEmptyDict = "}", kSetItem = "s", kSetItems = "u", kNone = "N", kBuild = "b";
inline const std::string kEmptyList = "]", kAppend = "a", kAppends = "e", kPersistent = "Q";
inline const std::string kTrue = "\x88", kFalse = "\x89";
std::string global(const std::string& module, const std::string& name);
std::string unicode(const std::string& text);
std::string integer(int64_t n);  // uses the shortest of BININT1, BININT2, BININT and LONG1
std::string tuple(const std::vector<int64_t>& integers);
std::string put(uint8_t index);
std::string get(uint8_t index);
std::string ordered_dict();
}  // namespace op

// A tensor in torch.save's description.
struct PthTensor {
  std::string name;
  std::string storage = "FloatStorage";  // or HalfStorage, BFloat16Storage
  std::string key = "0";                 // the member is archive/data/KEY
  int64_t n_stored = 0;                  // elements of the storage
  int64_t offset = 0;                    // in elements
  std::vector<int64_t> sizes = {}, strides = {};
};

std::string tensor_pickle(const PthTensor& t);  // the value alone
// Returns an OrderedDict of tensors, with the _metadata attribute that state_dict() gives it.
std::string state_dict_pickle(const std::vector<PthTensor>& tensors);

struct PthStorage {
  std::string key;
  std::string bytes;
};
std::vector<ZipMember> pth_members(const std::string& pickle, const std::vector<PthStorage>& storages);
std::string pth_bytes(const std::string& pickle, const std::vector<PthStorage>& storages);

}  // namespace seer::testing
