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

// Named tensors whose data lie in mapped files, or in copies if a file has them unaligned.
class TensorMap {
 public:
  // Returns nullptr if there is no tensor of that name.
  const Tensor* find(const std::string& name) const;
  const std::map<std::string, Tensor>& all() const { return tensors_; }
  // Returns the names of tensors whose types or ranks no model here uses, each with a description, "F64 [2]".
  // Their data cannot be read.
  const std::map<std::string, std::string>& foreign() const { return foreign_; }
  const std::string& source() const { return source_; }  // file or folder, for messages
  int64_t nbytes() const;

  // Throws Error{kFile} if there is a tensor of that name already.
  void add(const std::string& name, const Tensor& tensor, const std::string& origin);
  // As add(), for data in a mapped file that the caller keep()s. They are copied if their address is not a
  // multiple of the element's size, because C++ does not allow to read them there.
  void add_mapped(const std::string& name, Tensor tensor, const std::byte* data, const std::string& origin);
  void add_foreign(const std::string& name, std::string description, const std::string& origin);
  // Takes everything of `other`. Throws as add() does if a name is in both.
  void merge(TensorMap other, const std::string& origin);
  // Keeps memory alive into which tensors point: a mapped file, or a copy.
  void keep(std::shared_ptr<const void> owner) { owners_.push_back(std::move(owner)); }
  void set_source(std::string source) { source_ = std::move(source); }

 private:
  std::string source_;
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::string> foreign_;
  std::vector<std::shared_ptr<const void>> owners_;
};

// Reads one file. Throws Error{kFile} for every departure from the specification. Tensors of other types than
// BF16, F16, F32, F8_E4M3, I64, I32, I8 and U8, or of more than four dimensions, are foreign().
TensorMap read_safetensors(const std::string& path);
// Reads model.safetensors, or every shard that model.safetensors.index.json names. As in transformers, the
// index says which files there are, and the files say what they hold: its list of tensors may be out of date.
TensorMap read_checkpoint(const std::string& model_dir);

}  // namespace seer
