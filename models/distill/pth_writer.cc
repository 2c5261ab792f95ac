#include "models/distill/pth_writer.h"

#include <array>
#include <cstring>
#include <filesystem>
#include <string_view>

#include "engine/base/output_file.h"
#include "seer/error.h"

namespace seer {
namespace {

// The checksum of zip files (PKWARE APPNOTE 6.3, section 4.4.7).
uint32_t crc32(std::string_view bytes) {
  static const auto kTable = [] {
    std::array<uint32_t, 256> table{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t c = i;
      for (int bit = 0; bit < 8; ++bit) c = (c & 1U) != 0 ? 0xEDB88320U ^ (c >> 1U) : c >> 1U;
      table[i] = c;
    }
    return table;
  }();
  uint32_t crc = 0xFFFFFFFFU;
  for (const char byte : bytes) crc = kTable[(crc ^ static_cast<uint8_t>(byte)) & 0xFFU] ^ (crc >> 8U);
  return ~crc;
}

template <class T>
void put(std::string* out, T value) {  // little endian
  for (size_t i = 0; i < sizeof(T); ++i)
    out->push_back(static_cast<char>((static_cast<uint64_t>(value) >> (8 * i)) & 0xFFU));
}

// Members are stored, and their bytes begin at multiples of 64, as torch aligns them.
class ZipWriter {
 public:
  ZipWriter(const std::string& path, std::string root) : file_(path), root_(std::move(root)) {}

  void add(const std::string& member, std::string_view bytes) {
    constexpr uint64_t kAlignment = 64, kLocalSize = 30;
    const std::string name = root_ + "/" + member;
    const uint64_t unpadded = offset_ + kLocalSize + name.size() + 4;
    const uint64_t padding = (kAlignment - unpadded % kAlignment) % kAlignment;
    const uint32_t crc = crc32(bytes);
    std::string local;
    put<uint32_t>(&local, 0x04034b50);
    put_common(&local, crc, bytes.size(), name.size(), padding + 4);
    local += name;
    put<uint16_t>(&local, 0x4246);  // "FB", the field by which torch pads
    put<uint16_t>(&local, static_cast<uint16_t>(padding));
    local.append(padding, 'Z');

    put<uint32_t>(&directory_, 0x02014b50);
    put<uint16_t>(&directory_, 0);  // version of the writer
    put_common(&directory_, crc, bytes.size(), name.size(), 0);
    put<uint16_t>(&directory_, 0);  // comment
    put<uint16_t>(&directory_, 0);  // disk
    put<uint16_t>(&directory_, 0);  // internal attributes
    put<uint32_t>(&directory_, 0);  // external attributes
    put<uint32_t>(&directory_, static_cast<uint32_t>(offset_));
    directory_ += name;
    ++n_members_;
    file_.write(local);
    file_.write(bytes);
    offset_ += local.size() + bytes.size();
  }

  void finish() {
    std::string end = directory_;
    put<uint32_t>(&end, 0x06054b50);
    put<uint16_t>(&end, 0);
    put<uint16_t>(&end, 0);
    put<uint16_t>(&end, n_members_);
    put<uint16_t>(&end, n_members_);
    put<uint32_t>(&end, static_cast<uint32_t>(directory_.size()));
    put<uint32_t>(&end, static_cast<uint32_t>(offset_));
    put<uint16_t>(&end, 0);
    file_.write(end);
    file_.finish(Durability::kSynced);
  }

 private:
  // The fields that a local header and an entry of the directory share.
  static void put_common(std::string* out, uint32_t crc, uint64_t size, size_t name_size,
                         uint64_t extra_size) {
    put<uint16_t>(out, 0);     // version needed
    put<uint16_t>(out, 0);     // flags
    put<uint16_t>(out, 0);     // stored
    put<uint16_t>(out, 0);     // time
    put<uint16_t>(out, 0x21);  // date: 1980-01-01, the first one
    put<uint32_t>(out, crc);
    put<uint32_t>(out, static_cast<uint32_t>(size));
    put<uint32_t>(out, static_cast<uint32_t>(size));
    put<uint16_t>(out, static_cast<uint16_t>(name_size));
    put<uint16_t>(out, static_cast<uint16_t>(extra_size));
  }

  OutputFile file_;
  std::string root_, directory_;
  uint64_t offset_ = 0;
  uint16_t n_members_ = 0;
};

// The few operations of pickle (protocol 2) of which a dictionary of tensors is made.
class PickleWriter {
 public:
  PickleWriter() { out_ += "\x80\x02}("; }  // PROTO 2, EMPTY_DICT, MARK

  // name: _rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())
  void add(const NamedBf16& tensor, const std::string& key) {
    text(tensor.name);
    global("torch._utils", "_rebuild_tensor_v2");
    out_ += "((";  // MARK of the arguments, MARK of the storage
    text("storage");
    global("torch", "BFloat16Storage");
    text(key);
    text("cpu");
    integer(static_cast<int64_t>(tensor.values.size()));
    out_ += "tQ";  // TUPLE, BINPERSID
    integer(0);
    out_ += "(";
    for (const int64_t side : tensor.shape) integer(side);
    out_ += "t(";
    std::vector<int64_t> strides(tensor.shape.size(), 1);
    for (size_t i = strides.size(); i-- > 1;) strides[i - 1] = strides[i] * tensor.shape[i];
    for (const int64_t stride : strides) integer(stride);
    out_ += "t\x89";  // TUPLE, NEWFALSE
    global("collections", "OrderedDict");
    out_ += ")RtR";  // EMPTY_TUPLE, REDUCE, TUPLE, REDUCE
  }

  std::string finish() { return out_ + "u."; }  // SETITEMS, STOP

 private:
  void text(const std::string& value) {
    out_ += 'X';  // BINUNICODE
    put<uint32_t>(&out_, static_cast<uint32_t>(value.size()));
    out_ += value;
  }
  void global(const char* module, const char* name) {
    out_ += std::string("c") + module + "\n" + name + "\n";
  }
  void integer(int64_t value) {
    if (value < INT32_MAX) {
      out_ += 'J';  // BININT
      put<int32_t>(&out_, static_cast<int32_t>(value));
    } else {
      out_ += "\x8a\x08";  // LONG1 of 8 bytes
      put<int64_t>(&out_, value);
    }
  }

  std::string out_;
};

}  // namespace

void write_pth(const std::string& path, const std::vector<NamedBf16>& tensors) {
  constexpr uint64_t kLimit = uint64_t{1} << 32;
  uint64_t n_bytes = uint64_t{1} << 20;  // of headers
  for (const NamedBf16& tensor : tensors) n_bytes += tensor.values.size_bytes() + 256;
  if (n_bytes >= kLimit || tensors.size() > 65000)
    throw Error(ErrorKind::kUnsupported, path +
                                             ": a .pth file of 4 GiB or more, or of more than 65000 "
                                             "tensors, is not supported. Use the .safetensors file.");
  // torch names the folder inside the archive after the file.
  ZipWriter zip(path, std::filesystem::path(path).stem().string());
  PickleWriter pickle;
  for (size_t i = 0; i < tensors.size(); ++i) pickle.add(tensors[i], std::to_string(i));
  zip.add("data.pkl", pickle.finish());
  zip.add("byteorder", "little");
  for (size_t i = 0; i < tensors.size(); ++i)
    zip.add("data/" + std::to_string(i),
            {reinterpret_cast<const char*>(tensors[i].values.data()), tensors[i].values.size_bytes()});
  zip.add("version", "3\n");
  zip.finish();
}

}  // namespace seer
