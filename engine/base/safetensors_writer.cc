#include "engine/base/safetensors_writer.h"

#include "engine/base/json.h"

namespace seer {

void SafetensorsWriter::add(const std::string& name, const char* dtype, std::vector<int64_t> shape,
                            const void* data, size_t n_bytes) {
  tensors_.push_back({name, dtype, std::move(shape), data, n_bytes});
}

void SafetensorsWriter::add_metadata(const std::string& key, const std::string& value) {
  metadata_.emplace_back(key, value);
}

void SafetensorsWriter::write(Durability durability) {
  OrderedJson header = OrderedJson::object();
  for (const auto& [key, value] : metadata_) header["__metadata__"][key] = value;
  size_t offset = 0;
  for (const Tensor& tensor : tensors_) {
    header[tensor.name] = {{"dtype", tensor.dtype},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + tensor.n_bytes}}};
    offset += tensor.n_bytes;
  }
  std::string text = header.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the format pads with blanks, so that the data start aligned
  uint64_t size = text.size();
  std::string prefix(8, '\0');
  for (char& byte : prefix) {  // little endian
    byte = static_cast<char>(size & 0xff);
    size >>= 8;
  }
  file_.write(prefix);
  file_.write(text);
  for (const Tensor& tensor : tensors_) file_.write({static_cast<const char*>(tensor.data), tensor.n_bytes});
  file_.finish(durability);
}

}  // namespace seer
