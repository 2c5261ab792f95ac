#include "engine/src/stop_ids.h"

#include <algorithm>

namespace seer {
namespace {

// Tokens that end a turn. Files of chat models often name only the EOS of the base model, and the text of a
// chat never has it at a turn's end. Without these tokens an answer would run on into the next turn. A name
// counts only if the model's own template writes it, because a vocabulary may have the names of formats that
// its model was not trained on.
constexpr std::string_view kEndsOfTurn[] = {
    "<|im_end|>",             // ChatML: Qwen, SmolLM, Yi and others
    "<|eot_id|>",             // Llama 3
    "<|eom_id|>",             // Llama 3.1, after a call of a built-in tool
    "<|eot|>",                // Llama 4
    "<|end_of_turn|>",        // OpenChat
    "<end_of_turn>",          // Gemma
    "<|end|>",                // Phi-3
    "<|END_OF_TURN_TOKEN|>",  // Command R
    "<|end_of_text|>",        // Granite
    "<|endoftext|>",          // StableLM, Phi-4
    "<|endofturn|>",          // EXAONE, HyperCLOVA
    "[|endofturn|]",          // EXAONE 3
    "<end_of_utterance>",     // SmolVLM
    "<|eos|>",
    "<|return|>",  // Harmony
    "</s>",        // Zephyr, Vicuna
};

void add(int32_t id, const std::string& source, const ModelConfig& config, std::vector<StopId>* out) {
  if (id < 0 || id >= config.n_vocab) return;
  for (StopId& known : *out)
    if (known.id == id) {
      known.source += ", " + source;
      return;
    }
  out->push_back({id, source});
}

std::string name_of(const TextTokenizer& tokenizer, int32_t id) {
  return tokenizer.is_special(id) ? tokenizer.decode({id}, /*skip_special=*/false) : tokenizer.piece(id);
}

}  // namespace

std::vector<std::string> ends_of_turn(const TextTokenizer& tokenizer, std::string_view chat_template) {
  std::vector<std::string> names;
  for (const std::string_view name : kEndsOfTurn)
    if (chat_template.find(name) != chat_template.npos && tokenizer.added_id(name) >= 0)
      names.emplace_back(name);
  return names;
}

std::vector<StopId> find_stop_ids(const GenerationConfig& generation, const ModelConfig& config,
                                  const TextTokenizer* tokenizer, std::string_view chat_template) {
  std::vector<StopId> out;
  for (const int32_t id : generation.eos_ids) add(id, "generation_config.json", config, &out);
  if (!config.default_eos)
    for (const int32_t id : config.eos_ids) add(id, "config.json", config, &out);
  if (tokenizer != nullptr) {
    if (const int32_t id = tokenizer->eos_id(); id >= 0)
      add(id, "the tokenizer's eos_token " + name_of(*tokenizer, id), config, &out);
    for (const std::string& name : ends_of_turn(*tokenizer, chat_template))
      add(tokenizer->added_id(name), "the chat template's end of turn " + name, config, &out);
  }
  if (out.empty() && config.default_eos && !generation.exists)
    for (const int32_t id : config.eos_ids)
      add(id, "the default of transformers for " + config.architecture, config, &out);
  return out;
}

}  // namespace seer
