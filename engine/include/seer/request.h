// The requests that sessions and engines carry out, and what they report.
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

// Reported before the first chunk (processed == 0) and after each one. If pages come from a tier below the
// pool, it is also reported while they come: `cached` grows then. Counts are tokens.
struct SEER_API PrefillProgress {
  int64_t total;      // of this request's prompt and of what the session holds
  int64_t cached;     // taken from the cache, not computed
  int64_t processed;  // computed so far; cached + processed == total at the end
  double time_ms;     // since the prefill began
};

// The natural logarithm of the probability that the model's logits give a token, before on_logits, penalties,
// biases, temperature and truncation. It is -infinity if the token's logit is.
struct SEER_API TokenLogprob {
  int32_t id = -1;
  float logprob = 0.0F;
};
struct SEER_API PositionLogprobs {
  TokenLogprob token;  // of the token at this position
  // As many of the likeliest tokens as were asked for: the largest logit first, the lower id first among
  // equals. `token` may be among them.
  std::vector<TokenLogprob> top;
};

struct SEER_API TokenEvent {
  int32_t id;             // the token just chosen; an EOS or stop id too, which has no text
  std::string_view text;  // the text that became certain with it, in whole UTF-8 characters; may be empty
  const PositionLogprobs* logprobs = nullptr;  // null unless the request asks for n_logprobs
  // The value that GenerateResult::prompt_logprobs will have. It comes with the first token of a request that
  // asks for n_prompt_logprobs, and is null otherwise.
  const std::vector<PositionLogprobs>* prompt_logprobs = nullptr;
};

struct SEER_API GenerateRequest {
  std::vector<int32_t> prompt;  // appended to what the session holds; together at least one token
  int64_t max_new_tokens = -1;  // -1: until EOS, a stop string, or the context is full
  SamplingParams sampling;
  // Generation ends before any of these strings. Text that may be the beginning of one is held back until
  // that is certain. If a string is the name of an added token, such as "<|im_end|>", that token ends the
  // generation too, and has no text.
  std::vector<std::string> stop;
  bool ignore_eos = false;  // EOS ids (ModelInfo::eos_ids) are never chosen
  // Further ids that end the generation as EOS does, and have no text. In [0, n_vocab).
  std::vector<int32_t> stop_token_ids;
  // The first min_new_tokens tokens cannot be ids that end the generation: neither EOS, nor stop_token_ids,
  // nor tokens that `stop` names. Other stop strings are only looked for in the text after these tokens. At
  // least 0, and at most max_new_tokens.
  int64_t min_new_tokens = 0;
  // Asks for the log-probabilities of each chosen token, and of the n_logprobs likeliest tokens at its place;
  // in [0, n_vocab]. Absent: none. Only this request's rows of logits are copied to the host for this,
  // n_vocab floats for each token; the step's other requests wait for the copy.
  std::optional<int64_t> n_logprobs;
  // The same for the tokens that the session holds and those of the prompt, from the second one on, because
  // nothing predicts the first. All of them are computed again under the request's sparse rule, and no pages
  // are shared with other requests in either direction.
  std::optional<int64_t> n_prompt_logprobs;
  std::optional<SparseRule> sparse;  // absent: the gates' own rule; dense without gates
  // The rule by which tokens are decoded. Absent: the decode gates' own rule; dense without decode gates.
  // Under another rule than dense the answer's pages serve no later prompt, because no prompt is computed by
  // that rule. So a next turn computes the answer's tokens again.
  std::optional<SparseDecodeRule> sparse_decode;

  // Callbacks run on the thread that called generate(), or for a submitted request on the engine's thread.
  // Their arguments are valid during the call. Returning false stops the request as cancel() does; an
  // exception ends it and passes through generate() or wait().
  std::function<bool(const TokenEvent&)> on_token;
  std::function<bool(const PrefillProgress&)> on_progress;
  // Is called once for each token that is chosen, before penalties and logit_bias are applied. It gets all
  // tokens before that one, including the session's and the prompt's, and may change the logits [n_vocab]
  // from which it is chosen; -infinity forbids a token. It must be quick, because all requests wait for it,
  // and it may not run a session. Unlike the callbacks above, it always runs on the thread that computes the
  // step: the engine's, or, while a session's request is the only one, the thread that called generate().
  //
  // If it leaves no token to choose, the request fails with Error{kRuntime}. An exception fails this request
  // only, and passes through generate() or wait(). Log-probabilities are those of the model's logits before
  // this call. As for n_logprobs, only this request's rows of logits are copied to the host.
  std::function<void(std::span<const int32_t> tokens, std::span<float> logits)> on_logits;
  // Is called once when a submitted request has ended, in whatever way; Generation::done() is true by then.
  // Runs on the engine's thread, or on a thread that runs a session or destroys the engine. It may not throw.
  std::function<void()> on_end;
};

// Says why a generation ended. kStopToken means an id of stop_token_ids that is not an EOS id.
enum class FinishReason { kLength, kEos, kStopString, kContextFull, kCancelled, kStopToken };

struct SEER_API RequestStats {
  // n_prompt: tokens that the prefill computed, including tokens of earlier turns that had to be computed
  // again. n_cached: tokens that were reused, from the session or from other requests' pages. Together they
  // are what the session held and the new prompt.
  int64_t n_prompt = 0;
  int64_t n_cached = 0;
  // The part of n_cached that came from the tiers below the pool: the host's memory, and the disk.
  int64_t n_from_host = 0, n_from_disk = 0;
  // The part of prefill_ns in which the pages of these tokens were brought back, from when the request asked
  // for them until the last one was there. If they come from the host's memory, the request may begin to
  // compute the rest of its prompt before that.
  int64_t restore_ns = 0;
  int64_t n_generated = 0;  // tokens chosen, a final EOS included
  int64_t prefill_ns = 0;   // the whole prefill, the choice of the first token included
  int64_t decode_ns = 0;    // from the first token chosen to the last
  // The part of both that a CPU spent on EvaluateRequest::on_losses; 0 on a GPU, which is not timed.
  int64_t losses_ns = 0;
  int64_t decode_device_ns = 0;  // the part of decode_ns in which the device worked on a step
  // The next two are of the prefill. If a step has tokens of several prompts, each prompt counts the fraction
  // of the step's time that its tokens are of the step's prompt tokens.
  int64_t attention_ns = 0;  // attention over kept blocks
  // The time that sparse prompts take besides attention: gate scores and selection, and the whole operation
  // that pools, rotates and stores queries and keys, because it is a single kernel on a GPU. Dense prompts
  // are rotated and stored too, but that time is in neither figure.
  int64_t gate_ns = 0;
  double density = 1.0;  // kept / causal blocks of the prefill, averaged over layers and heads
  // Kept / causal blocks of the decoded tokens, averaged over the KV heads of the layers in which gates
  // choose; 1 under the dense rule. The prefill chooses the first token of an answer, and the prefill's
  // blocks do not count here. A token that is computed again after a pre-emption counts once.
  double decode_density = 1.0;
  // If ranks divide prompts (RankSplit::kContext): the pages of keys and values that the prefill moved to
  // ranks that lacked them, and the pages that dense attention would have moved, summed over layers and
  // chunks.
  int64_t moved_pages = 0, movable_pages = 0;
};

struct SEER_API GenerateResult {
  std::vector<int32_t> tokens;  // chosen ids, without the id that ended it, if one did
  std::string text;             // empty if the model has no tokenizer
  FinishReason finish = FinishReason::kLength;
  std::string stop;      // the stop string met, if one was
  int32_t stop_id = -1;  // the id that ended it: kEos, kStopToken, or kStopString by a token of that name
  std::vector<PositionLogprobs> logprobs;  // of each token chosen, including one that ended it, if asked for
  // If asked for, one element for each token but the first of what the session held followed by the prompt.
  // Empty if the request was cancelled before its first token.
  std::vector<PositionLogprobs> prompt_logprobs;
  RequestStats stats;
};

// One layer's selection of key blocks for some rows of a prompt. A row is a query block. Valid during the
// callback only.
struct SEER_API GateRows {
  int64_t layer;
  int64_t first_row;  // number of row 0's query block in the prompt
  int64_t n_rows;     // rows in this report
  int64_t n_heads;
  int64_t n_blocks;     // of the whole prompt: the row length
  const float* scores;  // [n_heads, n_rows, n_blocks]; softmaxed for a threshold, else raw; 0 if j > i
  const uint8_t* mask;  // [n_heads, n_rows, n_blocks]; 1 if kept
};

// One layer's selection of key blocks for one decoded token. Valid during the callback only.
struct SEER_API DecodeGateRows {
  int64_t layer;
  int64_t position;  // of the token
  int64_t n_kv_heads;
  int64_t n_blocks;     // from the first block to the token's own
  const float* scores;  // [n_kv_heads, n_blocks], softmaxed
  const uint8_t* mask;  // [n_kv_heads, n_blocks]; 1 if kept
};

// The decode gates' keys of a layer's full blocks. Valid during the callback only.
struct SEER_API DecodeGateKeys {
  int64_t layer;
  int64_t n_blocks, n_kv_heads, d_gate;
  const float* keys;  // [n_blocks, n_kv_heads, d_gate]
};

struct SEER_API EvaluateRequest {
  std::vector<int32_t> tokens;       // evaluated from an empty session
  std::optional<SparseRule> sparse;  // as in GenerateRequest
  // [n_layers, n_heads]: the factors of head_threshold=T, in place of those of the gates. Empty: those of the
  // gates. Each must be above 0 and at most 1000, and the engine must have one rank; otherwise the request
  // fails with Error{kUsage}.
  std::vector<float> head_factors;
  // The first n_prompt tokens are the prompt, and each of the others is decoded by itself, as if it had been
  // chosen. At most the number of tokens; 0: all tokens are the prompt.
  int64_t n_prompt = 0;
  std::optional<SparseDecodeRule> sparse_decode;  // as in GenerateRequest
  int64_t n_last_logits = 1;                      // how many last positions' logits are reported; 0: all
  // Callbacks as in GenerateRequest. Gets the logits of `n_rows` positions from `position` on, float32
  // [n_rows, n_vocab]. Calls come in the order of positions.
  std::function<bool(int64_t position, int64_t n_rows, int64_t n_vocab, const float* logits)> on_logits;
  // on_losses gets the losses of `targets` at the positions from `position` on. A loss is the logarithm of
  // the sum of exp(logits) less the target's logit; it is NaN if the logits are not finite. `targets` has one
  // id for each position that n_last_logits asks for. The device computes the losses, so no logits are copied
  // from it for them. Calls come in the order of positions.
  std::vector<int32_t> targets;
  std::function<bool(int64_t position, std::span<const double> losses)> on_losses;
  std::function<void(const GateRows&)> on_gate;  // sparse rules only
  // Called for each decoded token and each layer in which gates choose, but not under the dense rule for
  // decoding.
  std::function<void(const DecodeGateRows&)> on_decode_gate;
  // Called for each layer after the last token. The model must have decode gates, and the engine one rank;
  // otherwise the request fails with Error{kUsage}.
  std::function<void(const DecodeGateKeys&)> on_decode_gate_keys;
  std::function<bool(const PrefillProgress&)> on_progress;
};

}  // namespace seer
