// The safetensors format, single file and sharded, read through mmap without copying.
// Specification: https://huggingface.co/docs/safetensors (header <= 100 MB, offsets contiguous and in order).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/tensor.h"
#include "models/mapped_file.h"

namespace seer {

// Named tensors whose data point into mapped files (or into copies, where a file leaves them unaligned).
class TensorMap {
 public:
  // nullptr where there is none of that name.
  const Tensor* find(const std::string& name) const;
  const std::map<std::string, Tensor>& all() const { return tensors_; }
  // Tensors of types or ranks that no model here uses: each with a description, "F64 [2]". Their data are not
  // to be had.
  const std::map<std::string, std::string>& foreign() const { return foreign_; }
  const std::string& source() const { return source_; }  // file or folder, for messages
  int64_t nbytes() const;

  // Throws Error{kFile} where the name is there already.
  void add(const std::string& name, const Tensor& tensor, const std::string& origin);
  // As add, for data of a mapped file that the caller keeps: copied where they do not lie on a multiple of
  // their element's size, which a C++ reader may not assume away.
  void add_mapped(const std::string& name, Tensor tensor, const std::byte* data, const std::string& origin);
  void add_foreign(const std::string& name, std::string description, const std::string& origin);
  // Takes everything of `other`, whose tensors may not be here yet.
  void merge(TensorMap other, const std::string& origin);
  // Keeps what tensors point into alive: a mapped file, or a copy.
  void keep(std::shared_ptr<const void> owner) { owners_.push_back(std::move(owner)); }
  void set_source(std::string source) { source_ = std::move(source); }

 private:
  std::string source_;
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::string> foreign_;
  std::vector<std::shared_ptr<const void>> owners_;
};

// One file. Throws Error{kFile} for every departure from the specification. Tensors of other types than BF16,
// F16, F32, F8_E4M3, I64, I32, I8 and U8, or of more than four dimensions, are foreign().
TensorMap read_safetensors(const std::string& path);
// Reads model.safetensors, or every shard that model.safetensors.index.json names. As in transformers, the
// index says which files there are, and the files say what they hold: its list of tensors may be out of date.
TensorMap read_checkpoint(const std::string& model_dir);

}  // namespace seer
