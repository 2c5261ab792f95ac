#include "tools/seer/sampling_options.h"

#include <charconv>

namespace seer::cli {

void SamplingOptions::add_to(Args& args) {
  args.group("Sampling");
  args.value("--temp", "T", "the model's, else 0.8", "temperature; 0 is greedy", into(temperature));
  args.value("--top-k", "K", "the model's, else 0", "keep the K most likely tokens; 0 and -1 keep all",
             into(top_k, -1));
  args.value("--top-p", "P", "the model's, else 1",
             "keep the smallest set of tokens whose probability reaches P; 0 keeps one", into(top_p));
  args.value("--min-p", "P", "the model's, else 0",
             "drop tokens below P times the most likely one's probability", into(min_p));
  args.value("--repeat-penalty", "X", "the model's, else 1: off",
             "penalise tokens that came before, prompt included", into(repeat_penalty));
  args.value("--repeat-last-n", "N", "-1: all", "look at the last N tokens only for that",
             into(repeat_last_n, -1));
  args.value("--presence-penalty", "X", "the model's, else 0",
             "subtracted from the logit of each generated token", into(presence_penalty));
  args.value("--frequency-penalty", "X", "the model's, else 0",
             "the same, once for each time it was generated", into(frequency_penalty));
  args.value("-s,--seed", "N", "-1: random", "equal seeds give equal text", [this](const std::string& value) {
    seed.reset();
    if (value == "-1") return;
    uint64_t number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc() || end != value.data() + value.size())
      throw Error(ErrorKind::kUsage, "'" + value + "' is not a whole number from 0 to 2^64 - 1, nor -1");
    seed = number;
  });
}

SamplingParams SamplingOptions::apply(const SamplingParams& standard) const {
  SamplingParams params = standard;
  params.temperature = temperature.value_or(standard.temperature);
  params.top_k = top_k.value_or(standard.top_k);
  params.top_p = top_p.value_or(standard.top_p);
  params.min_p = min_p.value_or(standard.min_p);
  params.repeat_penalty = repeat_penalty.value_or(standard.repeat_penalty);
  params.presence_penalty = presence_penalty.value_or(standard.presence_penalty);
  params.frequency_penalty = frequency_penalty.value_or(standard.frequency_penalty);
  params.repeat_last_n = repeat_last_n.value_or(standard.repeat_last_n);
  params.seed = seed;
  params.validate();
  return params;
}

}  // namespace seer::cli
