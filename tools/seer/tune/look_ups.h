// Look-ups: a sentence with a number is planted in a stretch of text, and the number is asked for at the end
// of the stretch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "seer/engine.h"
#include "tools/seer/args.h"
#include "tools/seer/chat_template_options.h"
#include "tools/seer/status_line.h"
#include "tools/seer/window_losses.h"

namespace seer::cli {

struct LookUpOptions {
  int64_t n = 10;
  int64_t seed = 0;
  // {subject} stands for a word, and {number} for five digits. `answer` is the text before the number.
  std::string fact = "The secret number of the {subject} is {number}.";
  std::string question = "What is the secret number of the {subject}?";
  std::string answer = "The secret number of the {subject} is";
  ChatTemplateOptions chat_template;  // if not given, the question and the answer follow the text

  void add_to(Args& args);
  void check() const;  // throws Error{kUsage} for texts that make no look-up
};

struct LookUp {
  std::string subject, number;
  double depth = 0.0;           // of the planted sentence: 0 at the beginning of the text, 1 at its end
  std::vector<int32_t> prompt;  // up to the number that is asked for
  std::vector<int32_t> number_ids;
  int64_t n_document = 0;  // the prompt's tokens before the question
};

// Returns options.n look-ups. Each takes a stretch of `text` so that prompt and answer have `window` tokens
// or a few less. Subjects, numbers, depths and stretches follow from the seed; depths are spread evenly. A
// subject is left out if the text already has the planted sentence about it, up to the number. Throws
// Error{kUsage} if a window has no room for a sentence and its question.
std::vector<LookUp> make_look_ups(const LookUpOptions& options, const std::string& text, int64_t n_tokens,
                                  int64_t window, const Tokenizer& tokenizer);

struct LookUpResult {
  bool found = false;
  double prefill_seconds = 0.0;
};

// Asks for the number under a rule. A number is found if each of its tokens is the likeliest one after those
// before it, which is what a greedy answer would be. Under a rule for decoding the question is decoded as
// well as the number; else the question belongs to the prompt, and the number is decoded with dense
// attention. Throws Error{kCancelled} after a Ctrl-C.
LookUpResult ask(const LookUp& look_up, const RulePair& rule, bool decodes, Session& session,
                 StatusLine& line);

}  // namespace seer::cli
