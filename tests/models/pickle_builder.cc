#include "tests/models/pickle_builder.h"

#include "tests/models/safetensors_builder.h"

namespace seer::testing {

namespace op {

std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}

std::string unicode(const std::string& text) { return "X" + little_endian(text.size(), 4) + text; }

std::string integer(int64_t n) {
  if (n >= 0 && n < 256) return "K" + little_endian(static_cast<uint64_t>(n), 1);
  if (n >= 0 && n < 65536) return "M" + little_endian(static_cast<uint64_t>(n), 2);
  if (n >= INT32_MIN && n <= INT32_MAX) return "J" + little_endian(static_cast<uint64_t>(n), 4);
  return "\x8A\x08" + little_endian(static_cast<uint64_t>(n), 8);
}

std::string tuple(const std::vector<int64_t>& integers) {
  std::string out = kMark;
  for (const int64_t n : integers) out += integer(n);
  return out + kTuple;
}

std::string put(uint8_t index) { return "q" + little_endian(index, 1); }
std::string get(uint8_t index) { return "h" + little_endian(index, 1); }
std::string ordered_dict() { return global("collections", "OrderedDict") + kEmptyTuple + kReduce; }

}  // namespace op

std::string tensor_pickle(const PthTensor& t) {
  return op::global("torch._utils", "_rebuild_tensor_v2") + op::kMark + op::kMark + op::unicode("storage") +
         op::global("torch", t.storage) + op::unicode(t.key) + op::unicode("cpu") + op::integer(t.n_stored) +
         op::kTuple + op::kPersistent + op::integer(t.offset) + op::tuple(t.sizes) + op::tuple(t.strides) +
         op::kFalse + op::ordered_dict() + op::kTuple + op::kReduce;
}

std::string state_dict_pickle(const std::vector<PthTensor>& tensors) {
  std::string out = op::kProto2 + op::ordered_dict() + op::put(0) + op::kMark;
  for (const PthTensor& t : tensors) out += op::unicode(t.name) + tensor_pickle(t);
  const std::string attributes =
      op::kEmptyDict + op::unicode("_metadata") + op::ordered_dict() + op::kSetItem;
  return out + op::kSetItems + attributes + op::kBuild + op::kStop;
}

std::vector<ZipMember> pth_members(const std::string& pickle, const std::vector<PthStorage>& storages) {
  std::vector<ZipMember> members = {{"archive/data.pkl", pickle}, {"archive/byteorder", "little"}};
  for (const PthStorage& s : storages) members.push_back({"archive/data/" + s.key, s.bytes});
  members.push_back({"archive/version", "3\n"});
  return members;
}

std::string pth_bytes(const std::string& pickle, const std::vector<PthStorage>& storages) {
  return zip_bytes(pth_members(pickle, storages));
}

}  // namespace seer::testing
