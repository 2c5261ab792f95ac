#include "tools/seer/safetensors_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "seer/error.h"
#include "tools/seer/format.h"

namespace seer::cli {
namespace fs = std::filesystem;

SafetensorsWriter::SafetensorsWriter(std::string path) : path_(std::move(path)) {
  std::error_code ignored;
  const fs::file_status status = fs::status(path_, ignored);
  if (fs::is_directory(status)) {
    errno = EISDIR;
    fail("open");
  }
  if (!fs::exists(status) || fs::is_regular_file(status)) {
    // A link's target is replaced, not the link.
    const fs::path real = fs::weakly_canonical(path_, ignored);
    if (!real.empty()) path_ = real.string();
    temporary_ = path_ + ".tmp";
  }
  const std::string& target = temporary_.empty() ? path_ : temporary_;
  fd_ = ::open(target.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd_ < 0) {
    temporary_.clear();  // not ours to remove
    fail("open");
  }
}

SafetensorsWriter::~SafetensorsWriter() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void SafetensorsWriter::fail(const std::string& what) const {
  const char* const reason = std::strerror(errno);
  throw Error(ErrorKind::kRuntime, "cannot " + what + " " + path_ + ": " + reason +
                                       (what == "open" ? "" : "; nothing is left behind"));
}

void SafetensorsWriter::add(const std::string& name, const char* dtype, std::vector<int64_t> shape,
                            const void* data, size_t n_bytes) {
  tensors_.push_back({name, dtype, std::move(shape), data, n_bytes});
}

void SafetensorsWriter::add_metadata(const std::string& key, const std::string& value) {
  metadata_.emplace_back(key, value);
}

void SafetensorsWriter::write_all(const void* data, size_t n_bytes) const {
  const char* next = static_cast<const char*>(data);
  while (n_bytes > 0) {
    const ssize_t n = ::write(fd_, next, n_bytes);
    if (n < 0) {
      if (errno == EINTR) continue;
      fail("write");
    }
    next += n;
    n_bytes -= static_cast<size_t>(n);
  }
}

void SafetensorsWriter::write() {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  for (const auto& [key, value] : metadata_) header["__metadata__"][key] = value;
  size_t offset = 0;
  for (const Tensor& tensor : tensors_) {
    header[tensor.name] = {{"dtype", tensor.dtype},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + tensor.n_bytes}}};
    offset += tensor.n_bytes;
  }
  std::string text = to_text(header);
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the format pads with blanks, so that the data start aligned
  uint64_t size = text.size();
  unsigned char prefix[8];
  for (unsigned char& byte : prefix) {  // little endian
    byte = static_cast<unsigned char>(size & 0xff);
    size >>= 8;
  }
  write_all(prefix, sizeof prefix);
  write_all(text.data(), text.size());
  for (const Tensor& tensor : tensors_) write_all(tensor.data, tensor.n_bytes);

  const int fd = fd_;
  fd_ = -1;
  if (::close(fd) != 0) fail("write");
  if (temporary_.empty()) return;
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("write");
  temporary_.clear();
}

}  // namespace seer::cli
