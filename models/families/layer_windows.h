// The attention window of families in which some layers have one and others do not.
#pragma once

namespace seer {

class JsonReader;
struct ModelConfig;

// Reads use_sliding_window, sliding_window, max_window_layers and layer_types, and sets config->window if any
// layer has one. Throws Error{kFile} or Error{kUnsupported} that names the key.
void read_layer_windows(const JsonReader& json, ModelConfig* config);

}  // namespace seer
