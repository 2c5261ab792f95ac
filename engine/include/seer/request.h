// What a session is asked to do, and what it reports.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "seer/sampling.h"
#include "seer/sparse.h"

namespace seer {

// Reported before the first chunk (processed == 0) and after each one. Counts are tokens.
struct SEER_API PrefillProgress {
  int64_t total;      // of this request's prompt with what the session holds
  int64_t cached;     // taken from the cache, not computed
  int64_t processed;  // computed so far; cached + processed == total at the end
  double time_ms;     // since the prefill began
};

// The natural logarithm of the probability that the model's logits give a token, before on_logits, penalties,
// biases, temperature and truncation. -infinity for a token whose logit is.
struct SEER_API TokenLogprob {
  int32_t id = -1;
  float logprob = 0.0F;
};
struct SEER_API PositionLogprobs {
  TokenLogprob token;  // of the token that is there
  // As many of the likeliest tokens as were asked for: the largest logit first, the lower id first among
  // equals. `token` may be among them.
  std::vector<TokenLogprob> top;
};

struct SEER_API TokenEvent {
  int32_t id;             // the token just chosen (an EOS or stop id too, with no text of its own)
  std::string_view text;  // whole UTF-8 characters that became certain with it; empty while held back
  const PositionLogprobs* logprobs = nullptr;  // null unless the request asks for n_logprobs
  // What GenerateResult::prompt_logprobs will be, with the first token; null otherwise, and unless the
  // request asks for n_prompt_logprobs.
  const std::vector<PositionLogprobs>* prompt_logprobs = nullptr;
};

struct SEER_API GenerateRequest {
  std::vector<int32_t> prompt;  // appended to what the session holds; together at least one token
  int64_t max_new_tokens = -1;  // -1: until EOS, a stop string, or the context is full
  SamplingParams sampling;
  // Generation ends before any of these, which is held back until it is unambiguous. A string that is the
  // name of an added token, such as "<|im_end|>", is met by that token as well, which then has no text of its
  // own.
  std::vector<std::string> stop;
  bool ignore_eos = false;  // EOS ids (ModelInfo::eos_ids) are never chosen
  // Further ids that end the generation as EOS does, without text of their own. In [0, n_vocab).
  std::vector<int32_t> stop_token_ids;
  // Until this many tokens are chosen, no id can be chosen that would end the generation: neither EOS, nor
  // stop_token_ids, nor tokens that `stop` names. Other stop strings are looked for in the text after them.
  // At least 0, and at most max_new_tokens.
  int64_t min_new_tokens = 0;
  // Absent: no log-probabilities. n in [0, n_vocab]: those of each chosen token and of the n likeliest at its
  // place. The row of logits is read to the host for each token; other requests do not pay for it.
  std::optional<int64_t> n_logprobs;
  // The same for the tokens of what the session holds and the prompt together, from the second one on
  // (nothing predicts the first). All of them are computed again, under the request's sparse rule, and pages
  // are neither taken from other requests nor given to them.
  std::optional<int64_t> n_prompt_logprobs;
  std::optional<SparseRule> sparse;  // absent: the gates' own rule; dense without gates

  // Callbacks run on the thread that called generate(), those of a submitted request on the engine's; what
  // they are given lives during the call. Returning false stops the request as cancel() does; an exception
  // ends it and passes through generate() or wait().
  std::function<bool(const TokenEvent&)> on_token;
  std::function<bool(const PrefillProgress&)> on_progress;
  // May change the logits [n_vocab] from which the next token is chosen, given all tokens before it, the
  // session's and the prompt's included; -infinity forbids a token. It runs before penalties and logit_bias,
  // on the host: the request's logits leave the device, which costs n_vocab floats a token; other requests do
  // not pay for it. If it leaves no token to choose, the request fails with Error{kRuntime}. An exception
  // fails the request alone, and passes through generate() or wait(). Log-probabilities are the model's, as
  // they were before this call. Unlike the callbacks above it always runs on the thread that computes the
  // step, once for each token that is chosen: the engine's, or, while a session's request is the only one,
  // the thread that called generate(). It must be quick, for all requests wait for it, and may not run a
  // session.
  std::function<void(std::span<const int32_t> tokens, std::span<float> logits)> on_logits;
  // Of a submitted request: called once, when it has ended, however it did: Generation::done() is true. On
  // the engine's thread, or on one that runs a session or destroys the engine. It may not throw.
  std::function<void()> on_end;
};

// kStopToken: one of stop_token_ids that is no EOS id.
enum class FinishReason { kLength, kEos, kStopString, kContextFull, kCancelled, kStopToken };

struct SEER_API RequestStats {
  // Of what the session held and the new prompt together: tokens that the prefill computed, those of earlier
  // turns that it had to compute again among them, and tokens reused, from the session or from other
  // requests' pages.
  int64_t n_prompt = 0;
  int64_t n_cached = 0;
  int64_t n_generated = 0;       // tokens chosen, a final EOS included
  int64_t prefill_ns = 0;        // the whole prefill, the choice of the first token included
  int64_t decode_ns = 0;         // from the first token chosen to the last
  int64_t decode_device_ns = 0;  // of decode_ns: while the device was at work on a step
  // Of the prefill; in steps shared with others, the part that its tokens are of all prompts' tokens.
  int64_t attention_ns = 0;  // attention over kept blocks
  // Of sparse prompts, besides attention: gate scores and selection, and the operation that pools queries and
  // keys.
  // That one rotates and stores them as well, in a single kernel on a GPU, so all of it counts, on every
  // device. Dense prompts are rotated and stored too, which is counted in neither.
  int64_t gate_ns = 0;
  double density = 1.0;  // kept / causal blocks of the prefill, mean over layers and heads
  // Where ranks divide prompts (RankSplit::kContext): pages of keys and values that the prefill moved to
  // ranks that lacked them, and those that dense attention would have moved; summed over layers and chunks.
  int64_t moved_pages = 0, movable_pages = 0;
};

struct SEER_API GenerateResult {
  std::vector<int32_t> tokens;  // chosen ids, without the id that ended it, if one did
  std::string text;             // empty where the model has no tokenizer
  FinishReason finish = FinishReason::kLength;
  std::string stop;      // the stop string met, if one was
  int32_t stop_id = -1;  // the id that ended it: kEos, kStopToken, or kStopString by a token of that name
  std::vector<PositionLogprobs> logprobs;  // [n tokens chosen, one that ended it included], if asked for
  // Of tokens 1 and on of what the session held and the prompt together: [their number - 1], if asked for.
  // Empty where the request was cancelled before its first token.
  std::vector<PositionLogprobs> prompt_logprobs;
  RequestStats stats;
};

// One layer's selection for some block rows of a prompt. Valid during the callback only.
struct SEER_API GateRows {
  int64_t layer;
  int64_t first_row;  // block row of row 0 here
  int64_t n_rows;     // rows in this report
  int64_t n_heads;
  int64_t n_blocks;     // of the whole prompt: the row length
  const float* scores;  // [n_heads, n_rows, n_blocks]; softmax for a threshold, else raw; 0 where j > i
  const uint8_t* mask;  // [n_heads, n_rows, n_blocks]; 1 where kept
};

struct SEER_API EvaluateRequest {
  std::vector<int32_t> tokens;       // a whole prompt, evaluated from an empty session
  std::optional<SparseRule> sparse;  // as in GenerateRequest
  int64_t n_last_logits = 1;         // report logits of this many last positions; 0: of all
  // Callbacks as in GenerateRequest.
  // Rows in order of position: logits of `n_rows` positions from `position` on, [n_rows, n_vocab], float32.
  std::function<bool(int64_t position, int64_t n_rows, int64_t n_vocab, const float* logits)> on_logits;
  std::function<void(const GateRows&)> on_gate;  // sparse rules only
  std::function<bool(const PrefillProgress&)> on_progress;
};

}  // namespace seer
