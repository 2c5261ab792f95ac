// Finds the weights of a model in a checkpoint by the names that the model's family gives them.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "models/config.h"
#include "models/quant/layer.h"
#include "models/safetensors.h"
#include "models/weight_slots.h"

namespace seer {

// A whole weight of a checkpoint, as the files have it.
struct BoundWeight {
  LinearWeights::Part plain;  // its weight is empty if the layer is quantised; the bias is here in any case
  std::optional<QuantLayer> quant;
};

class WeightBinder {
 public:
  // `tensors` and `config` must outlive the binder.
  WeightBinder(const TensorMap& tensors, const ModelConfig& config);

  // Returns whether lm_head is the embedding. If the files contradict config.json, the files are right: a
  // saved lm_head that differs from the embedding is used, as transformers 5 does, and a note says so.
  bool tied() const { return tied_; }
  // Returns the name of the embedding's tensor.
  const std::string& embedding() const { return embedding_; }
  // Returns views of the slot's whole weight and bias, as the files have them. A linear layer of a quantised
  // checkpoint is quantised if it has codes; config.json must name it as plain if not. If a tensor is missing
  // or has the wrong shape or type, it is empty in the result, and finish() will report it. Throws
  // Error{kFile} if a norm or a bias has a value that is NaN or infinite.
  BoundWeight bind(const WeightSlot& slot);
  // Must be called after the last bind(). Throws Error{kFile} if bind() found problems, or if the checkpoint
  // has tensors that bind() did not take and that would change what a decoder computes. The error names the
  // first few of each kind.
  void finish();

  // Returns sentences about tensors that were read in a way that may surprise.
  const std::vector<std::string>& notes() const { return notes_; }
  // Returns names and shapes of the tensors that the model does not use. It is filled by finish().
  const std::vector<std::string>& skipped() const { return skipped_; }
  // Returns the type of most of the weights taken so far: "BF16", or of codes "F8_E4M3", "I8" or "int4".
  std::string dtype() const;
  // Returns how linear layers are quantised: "awq: 14 of 15 linear layers, 4.16 bits a weight (int4 in groups
  // of 128 inputs, in words of I32), 6.29 with all that is plain; plain: lm_head". Empty if none is.
  std::string quantisation() const;
  // Return how many bytes and parameters the weights taken so far have.
  int64_t n_bytes() const;
  int64_t n_params() const { return n_params_; }

 private:
  // Problems of one kind: all are counted, and the first few are shown.
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
  // The tensor if it has one of these types and shapes; `expected` says them in the report if not.
  Tensor take_as(const std::string& name, std::initializer_list<DType> types,
                 std::initializer_list<std::vector<int64_t>> shapes);
  bool has_codes(const std::string& module) const;
  QuantLayer take_quantised(const std::string& module, const WeightSlot& slot);
  void check_words(const std::string& module, int64_t n_out, int64_t n_in) const;
  void check_weight_shape(const std::string& module, int64_t n_out, int64_t n_in);
  void take_needless_bias(const std::string& name);
  bool harmless(const std::string& name) const;
  void sort_untaken();

  const TensorMap& tensors_;
  const ModelConfig& config_;
  std::string prefix_;     // begins all names but lm_head's: "model.", or "" in a bare LlamaModel
  std::string embedding_;  // name of the embedding's tensor
  bool tied_ = false;
  bool wrong_type_ = false;  // a needed tensor has a type that cannot be used
  std::map<DType, int64_t> bytes_by_dtype_;
  int64_t n_params_ = 0;
  int64_t n_quantised_ = 0, quantised_params_ = 0, quantised_bytes_ = 0;  // of linear layers with codes
  std::vector<std::string> plain_linear_;  // names of linear layers without codes
  std::set<std::string> taken_;
  std::vector<std::string> notes_, skipped_;
  Problems missing_{"missing"}, misshapen_{"misshapen"}, unexpected_{"unexpected"};
};

}  // namespace seer
