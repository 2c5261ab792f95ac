#include "models/families/layer_windows.h"

#include <optional>
#include <string>

#include "models/config.h"
#include "models/json_util.h"
#include "seer/error.h"

namespace seer {
namespace {

constexpr int64_t kUsualWindow = 4096;  // this default and the next are those of transformers
constexpr int64_t kUsualFullLayers = 28;

// Returns whether any layer has a window according to layer_types, which names the kind of each layer. Throws
// Error{kFile} or Error{kUnsupported} if it has another length or another kind.
bool any_layer_slides(const JsonReader& json, const Json& types, int64_t n_layers) {
  if (!types.is_array() || static_cast<int64_t>(types.size()) != n_layers)
    json.fail("layer_types", "a list of " + std::to_string(n_layers) + " names, one for each layer", types);
  bool slides = false;
  for (const Json& type : types) {
    if (type == "sliding_attention") {
      slides = true;
    } else if (type != "full_attention") {
      throw Error(ErrorKind::kUnsupported,
                  json.origin() + ": layer_types has " + json_excerpt(type) +
                      ", which is not supported; expected full_attention or sliding_attention");
    }
  }
  return slides;
}

}  // namespace

void read_layer_windows(const JsonReader& json, ModelConfig* config) {
  std::optional<int64_t> window;
  if (json.boolean("use_sliding_window", false) && !json.is_null("sliding_window"))
    window = json.optional_integer("sliding_window", 1, ModelConfig::kMaxPositions).value_or(kUsualWindow);
  bool slides;
  if (const Json* types = json.find("layer_types")) {
    slides = any_layer_slides(json, *types, config->n_layers);
    if (slides && !window)
      throw Error(ErrorKind::kFile,
                  json.origin() +
                      ": layer_types has sliding_attention, but there is no window: use_sliding_window is "
                      "not true, or sliding_window is null. Make the keys agree.");
  } else {
    // The first max_window_layers layers have no window.
    const int64_t n_full =
        json.optional_integer("max_window_layers", 0, ModelConfig::kMaxPositions).value_or(kUsualFullLayers);
    slides = n_full < config->n_layers;
  }
  if (slides) config->window = window;
}

}  // namespace seer
