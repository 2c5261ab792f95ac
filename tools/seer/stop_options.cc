#include "tools/seer/stop_options.h"

#include <charconv>

namespace seer::cli {
namespace {

int32_t stop_id(const std::string& text, const Engine& engine) {
  const int64_t n_vocab = engine.model().n_vocab;
  int32_t id = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error == std::errc() && end == text.data() + text.size()) {
    if (id >= 0 && id < n_vocab) return id;
  } else if (id = engine.tokenizer().token_id(text); id >= 0 && id < n_vocab) {
    return id;
  }
  throw Error(ErrorKind::kUsage, "--stop-id: expected an id from 0 to " + std::to_string(n_vocab - 1) +
                                     " or the name of an added token, found '" + text + "'");
}

}  // namespace

void StopOptions::add_to(Args& args, const std::string& what) {
  args.values(
      "-r,--stop", "TEXT", "none",
      "end " + what +
          " before TEXT, which is taken literally (\\n stays two characters), or at the token of that "
          "name; may be repeated",
      into(stop));
  args.values("--stop-id", "ID|TOKEN", "none",
              "end " + what + " at this token, given by its id or by an added token's name; may be repeated",
              into(stop_ids));
  args.value("--min-tokens", "N", "0", "nothing ends " + what + " before it has N tokens",
             into(min_tokens, 0));
  args.flag("--ignore-eos", ignore_eos, "never choose an end-of-sequence token");
}

void StopOptions::check(int64_t most_tokens) const {
  for (const std::string& text : stop)
    if (text.empty()) throw Error(ErrorKind::kUsage, "--stop: an empty text would end everything at once");
  if (most_tokens >= 0 && min_tokens > most_tokens)
    throw Error(ErrorKind::kUsage, "--min-tokens " + std::to_string(min_tokens) +
                                       " is more than --n-predict, which is " + std::to_string(most_tokens));
}

void StopOptions::apply(const Engine& engine, GenerateRequest* request) const {
  request->stop = stop;
  request->ignore_eos = ignore_eos;
  request->min_new_tokens = min_tokens;
  for (const std::string& text : stop_ids) request->stop_token_ids.push_back(stop_id(text, engine));
}

}  // namespace seer::cli
