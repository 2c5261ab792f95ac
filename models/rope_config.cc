#include "models/rope_config.h"

#include <map>

#include "models/json_util.h"
#include "seer/error.h"

namespace seer {
namespace {

using Type = RopeConfig::Type;

constexpr double kUsualTheta = 10000.0;
constexpr double kLeastFactor = 1e-6, kMaxFactor = 1e6;

[[noreturn]] void unsupported_rope(const std::string& origin, const std::string& what) {
  throw Error(ErrorKind::kUnsupported, origin + ": " + what);
}

std::string number_text(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.10g", value);
  return text;
}

// Reads the object of one key, rope_scaling or rope_parameters.
class RopeReader {
 public:
  RopeReader(const JsonReader& config, const char* key, const Json& object, int64_t max_positions,
             std::vector<std::string>* notes)
      : config_(config),
        r_(object, config.origin() + ": " + key),
        key_(key),
        max_positions_(max_positions),
        notes_(notes) {
    for (const auto& [name, value] : object.items())
      if (name.ends_with("_attention") && value.is_object())
        unsupported_rope(r_.origin(),
                         "parameters of their own for each kind of layer (" + name +
                             ") are not supported, nor read by transformers for this model. Put one "
                             "set of parameters into " +
                             key_ + " itself.");
  }

  RopeConfig read() {
    rope_.original_max_positions = max_positions_;
    read_theta();
    read_type();
    if (r_.number("partial_rotary_factor", 1.0, 0.0, 1.0) != 1.0)
      unsupported_rope(r_.origin(), "partial_rotary_factor other than 1 is not supported");
    if (rope_.type == Type::kDefault) {
      if (r_.has("factor"))
        notes_->push_back(key_ + " has a factor but no rope_type that uses it: positions are not scaled");
      return rope_;
    }
    if (rope_.type == Type::kLlama3 || rope_.type == Type::kYarn) read_original();
    read_factor();
    if (rope_.type == Type::kLlama3) read_llama3();
    if (rope_.type == Type::kYarn) read_yarn();
    return rope_;
  }

 private:
  void read_theta() {
    const std::optional<double> outer = config_.optional_number("rope_theta", 1.0, 1e15),
                                inner = r_.optional_number("rope_theta", 1.0, 1e15);
    rope_.theta = inner.value_or(outer.value_or(kUsualTheta));
    if (inner && outer && *inner != *outer)
      notes_->push_back("rope_theta is " + number_text(*inner) + " in " + key_ + " and " +
                        number_text(*outer) + " next to it: the one in " + key_ +
                        " counts, as transformers 5 has it; transformers 4 takes the other");
  }

  void read_type() {
    static const std::map<std::string, Type> kTypes = {{"default", Type::kDefault},
                                                       {"linear", Type::kLinear},
                                                       {"dynamic", Type::kDynamic},
                                                       {"yarn", Type::kYarn},
                                                       {"llama3", Type::kLlama3}};
    const std::optional<std::string> newer = r_.optional_string("rope_type"),
                                     older = r_.optional_string("type");
    if (newer && older && *newer != *older)
      throw Error(ErrorKind::kFile, r_.origin() + ": rope_type is '" + *newer + "' and type is '" + *older +
                                        "', which are two names of one key. Remove the wrong one.");
    type_ = newer.value_or(older.value_or("default"));
    const auto found = kTypes.find(type_);
    if (found == kTypes.end())
      unsupported_rope(config_.origin(),
                       "the rope type '" + type_ +
                           "' is not supported; expected default, linear, dynamic, yarn or llama3");
    rope_.type = found->second;
  }

  // original_max_position_embeddings may stand next to rope_scaling or in it. transformers 5 prefers the
  // value next to it, and so does this code; transformers 4 reads only the value in it. Under dynamic scaling
  // both ignore the key and grow from max_position_embeddings.
  void read_original() {
    const char* key = "original_max_position_embeddings";
    const auto outer = config_.optional_integer(key, 1, ModelConfig::kMaxPositions),
               inner = r_.optional_integer(key, 1, ModelConfig::kMaxPositions);
    has_original_ = outer || inner;
    rope_.original_max_positions = outer.value_or(inner.value_or(max_positions_));
    const std::string value = std::to_string(rope_.original_max_positions);
    if (!has_original_) {
      notes_->push_back(std::string(key) + " is absent: " + type_ + " scales from max_position_embeddings (" +
                        value + ")");
    } else if (outer && outer != inner) {
      notes_->push_back(
          std::string(key) + " is " + value + " next to " + key_ + " and " +
          (inner ? std::to_string(*inner) : "absent") +
          " in it: the one next to it counts, as transformers 5 has it; transformers 4 looks in " + key_ +
          " alone");
    }
  }

  void read_factor() {
    // transformers warns of a factor below 1, which moves positions closer together, and uses it.
    if (const auto value = r_.optional_number("factor", kLeastFactor, kMaxFactor)) {
      rope_.factor = *value;
      if (*value < 1.0)
        notes_->push_back(key_ + " has the factor " + number_text(*value) +
                          ": positions come closer together than in training; 1 or more is usual");
      return;
    }
    if (rope_.type != Type::kYarn || !has_original_) missing("factor");
    const int64_t original = rope_.original_max_positions;
    rope_.factor = static_cast<double>(max_positions_) / static_cast<double>(original);
    if (!(rope_.factor >= kLeastFactor && rope_.factor <= kMaxFactor))
      throw Error(ErrorKind::kFile, r_.origin() + ": without a factor, expected max_position_embeddings (" +
                                        std::to_string(max_positions_) + ") to be " +
                                        number_text(kLeastFactor) + " to " + number_text(kMaxFactor) +
                                        " times original_max_position_embeddings (" +
                                        std::to_string(original) + ")");
  }

  void read_llama3() {
    rope_.low_freq_factor = required("low_freq_factor");
    rope_.high_freq_factor = required("high_freq_factor");
    if (rope_.high_freq_factor <= rope_.low_freq_factor)
      throw Error(ErrorKind::kFile,
                  r_.origin() + ": expected high_freq_factor (" + number_text(rope_.high_freq_factor) +
                      ") to be above low_freq_factor (" + number_text(rope_.low_freq_factor) + ")");
  }

  void read_yarn() {
    rope_.beta_fast = r_.number("beta_fast", 32.0, 1e-6, kMaxFactor);
    rope_.beta_slow = r_.number("beta_slow", 1.0, 1e-6, kMaxFactor);
    rope_.truncate = r_.boolean("truncate", true);
    rope_.attention_factor = r_.optional_number("attention_factor", 1e-6, kMaxFactor);
    rope_.mscale = r_.optional_number("mscale", 0.0, kMaxFactor);
    rope_.mscale_all_dim = r_.optional_number("mscale_all_dim", 0.0, kMaxFactor);
  }

  double required(const char* name) {
    const auto value = r_.optional_number(name, 1e-6, kMaxFactor);
    if (!value) missing(name);
    return *value;
  }

  [[noreturn]] void missing(const char* name) {
    throw Error(ErrorKind::kFile,
                r_.origin() + ": the key " + name + " is missing, which rope type '" + type_ + "' needs");
  }

  const JsonReader& config_;
  const JsonReader r_;
  const std::string key_;
  const int64_t max_positions_;
  std::vector<std::string>* notes_;
  RopeConfig rope_;
  std::string type_;
  bool has_original_ = false;
};

// Returns the object of a key, or null if it is absent or empty. Throws Error{kFile} if it is not an object.
const Json* find_object(const JsonReader& config, const char* key) {
  const Json* found = config.find(key);
  if (found == nullptr) return nullptr;
  if (!found->is_object()) config.fail(key, "an object", *found);
  return found->empty() ? nullptr : found;
}

}  // namespace

RopeConfig read_rope(const JsonReader& config, int64_t max_positions, std::vector<std::string>* notes) {
  if (config.number("partial_rotary_factor", 1.0, 0.0, 1.0) != 1.0)
    unsupported_rope(config.origin(), "partial_rotary_factor other than 1 is not supported");
  const Json *newer = find_object(config, "rope_parameters"), *older = find_object(config, "rope_scaling");
  const auto read = [&](const char* key, const Json& object, std::vector<std::string>* to) {
    return RopeReader(config, key, object, max_positions, to).read();
  };
  if (newer == nullptr && older == nullptr) return read("rope_parameters", Json::object(), notes);
  if (newer == nullptr) return read("rope_scaling", *older, notes);
  const RopeConfig rope = read("rope_parameters", *newer, notes);
  std::vector<std::string> same_notes;
  if (older != nullptr && read("rope_scaling", *older, &same_notes) != rope)
    throw Error(ErrorKind::kFile, config.origin() +
                                      ": rope_parameters and rope_scaling are two names of one key, but say "
                                      "different things. Remove the wrong one.");
  return rope;
}

}  // namespace seer
