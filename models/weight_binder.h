// Finds the weights of a model in a checkpoint by the names that its family gives them.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "models/config.h"
#include "models/safetensors.h"
#include "models/weight_slots.h"

namespace seer {

class WeightBinder {
 public:
  // Both outlive it.
  WeightBinder(const TensorMap& tensors, const ModelConfig& config);

  // Whether lm_head is the embedding. Files may contradict config.json, and then they are right: a saved
  // lm_head that differs from the embedding is used, as transformers 5 does; a note says so.
  bool tied() const { return tied_; }
  // The slot's weight and bias as the files have them. Problems are noted for finish().
  LinearWeights::Part bind(const WeightSlot& slot);
  // Throws Error{kFile} that names the noted problems, and tensors that this model does not have but that
  // would change what a decoder computes.
  void finish();

  const std::vector<std::string>& notes() const { return notes_; }
  const std::vector<std::string>& skipped() const { return skipped_; }  // after finish()
  DType main_dtype() const;
  int64_t n_bytes() const;
  int64_t n_params() const;

 private:
  struct Problems {
    static constexpr size_t kShown = 4;
    const char* kind;
    std::vector<std::string> shown = {};
    size_t count = 0;
    void add(std::string text);
    std::string text() const;
  };
  std::string module_name(WeightRole role, int64_t layer) const;
  void decide_head();
  Tensor take(const std::string& name, std::initializer_list<int64_t> shape);
  bool harmless(const std::string& name) const;
  void sort_untaken();

  const TensorMap& tensors_;
  const ModelConfig& config_;
  std::string prefix_;     // of all names but lm_head's: "model.", or nothing in a bare LlamaModel
  std::string embedding_;  // the tensor's name
  bool tied_ = false;
  bool wrong_type_ = false;  // a needed tensor has a type that cannot be used
  std::map<DType, int64_t> bytes_by_dtype_;
  std::set<std::string> taken_;
  std::vector<std::string> notes_, skipped_;
  Problems missing_{"missing"}, misshapen_{"misshapen"}, unexpected_{"unexpected"};
};

}  // namespace seer
