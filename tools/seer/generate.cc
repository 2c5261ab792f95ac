// seer generate: writes the completion of a prompt to stdout while it is generated.
#include <chrono>
#include <exception>

#include "engine/base/output_file.h"
#include "seer/engine.h"
#include "tools/seer/chat_template_options.h"
#include "tools/seer/commands.h"
#include "tools/seer/exit_code.h"
#include "tools/seer/format.h"
#include "tools/seer/input.h"
#include "tools/seer/interrupt.h"
#include "tools/seer/model_options.h"
#include "tools/seer/output.h"
#include "tools/seer/sampling_options.h"
#include "tools/seer/sparse_options.h"
#include "tools/seer/status_line.h"
#include "tools/seer/stop_options.h"

namespace seer::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kGenerateDescription =
    "Completes a prompt. stdout gets the completion alone, byte for byte (on a terminal a newline follows "
    "it); a "
    "closing line on stderr says how fast it went. Ctrl-C keeps the text so far and exits with 130; a second "
    "Ctrl-C kills.";

struct GenerateOptions {
  static constexpr CommandHead kHead = {"generate", "-m DIR [-p TEXT | -f FILE] [options]",
                                        kGenerateDescription};

  ModelOptions model;
  PromptOptions prompt;
  SamplingOptions sampling;
  SparseOptions sparse;
  int64_t n_predict = -1;
  StopOptions stop;
  std::optional<std::string> system;
  ChatTemplateOptions chat_template;
  std::string session, save_session;  // files; empty: none
  bool echo = false, parse_special = false, quiet = false, ids = false, raw = false;

  void add_to(Args& args) {
    args.group("Prompt");
    prompt.add_to(args);
    prompt.add_tokens_file_to(args);
    args.value("--system", "TEXT", "none", "system message; the prompt becomes the user's turn of a chat",
               into(system));
    chat_template.add_to(args, "no chat; with --system: auto");
    args.flag("--parse-special", parse_special,
              "special tokens written out in the prompt become those tokens");
    args.value(
        "--session", "FILE", "none",
        "go on with the session that --save-session or seer chat saved: the prompt follows its tokens, "
        "which are read and not computed; the prompt may be empty",
        into(session));
    args.group("Completion");
    args.value("--save-session", "FILE", "none",
               "save the tokens and their KV pages to FILE in the end, for --session; with -n 0 the prompt "
               "alone",
               into(save_session));
    args.value("-n,--n-predict", "N", "-1: until EOS or the context is full",
               "most tokens to generate; 0 only computes the prompt", into(n_predict, -1));
    stop.add_to(args, "the completion");
    args.flag("--echo", echo, "print the prompt before the completion");
    args.flag("--ids", ids, "print token ids separated by spaces instead of text");
    args.flag("--raw", raw, kRawHelp);
    args.flag("-q,--quiet", quiet, "leave out the closing line, and warnings about the load");
    sparse.add_to(args);
    sampling.add_to(args);
    model.add_to(args);
  }

  void check() const {
    require_model_dir(model.model_dir);
    sparse.require_gates(model);
    if (prompt.tokens_file && (system || chat_template.given() || parse_special))
      throw Error(
          ErrorKind::kUsage,
          "--tokens-file is the whole prompt; --system, --chat-template and --parse-special need text");
    if ((system || chat_template.given()) && parse_special)
      throw Error(ErrorKind::kUsage,
                  "--parse-special is for plain prompts; leave it out, or --system and --chat-template");
    if (!session.empty() && (system || chat_template.given()))
      throw Error(ErrorKind::kUsage,
                  "--session goes on after the session's tokens; leave out --system and --chat-template, or "
                  "use /load of seer chat for another turn of a conversation");
    stop.check(n_predict);
    sampling.apply(SamplingParams{});  // refuses values out of range before the model is loaded
    if (!save_session.empty())
      const OutputFile probe(save_session);  // refuses a place that cannot be written
  }
};

// Sets the prompt's ids and, for a chat's prompt, the ids that end a turn.
void set_prompt(const Prompt& prompt, const GenerateOptions& options, const Engine& engine,
                GenerateRequest* request) {
  if (prompt.ids) {
    check_ids(*prompt.ids, engine.model().n_vocab, prompt.source);
    request->prompt = *prompt.ids;
    return;
  }
  const Tokenizer& tokenizer = engine.tokenizer();
  if (!options.system && !options.chat_template.given()) {
    request->prompt = encode_prompt(engine.info(), [&](const EncodeLimits& limits) {
      return tokenizer.encode(prompt.text, options.session.empty(), options.parse_special, limits);
    });
    return;
  }
  std::vector<ChatMessage> messages;
  if (options.system) messages.push_back({"system", *options.system});
  messages.push_back({"user", prompt.text});
  ChatPrompt chat(messages);
  chat.kwargs = options.chat_template.kwargs;
  const auto chat_template = options.chat_template.load(tokenizer);
  request->prompt = encode_prompt(engine.info(), [&](const EncodeLimits& limits) {
    return tokenizer.encode_chat(chat, chat_template.get(), limits);
  });
  if (!options.stop.ignore_eos) request->stop_token_ids = tokenizer.end_of_turn_ids(chat_template.get());
}

bool has_tokenizer(const Engine& engine) {
  try {
    engine.tokenizer();
    return true;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kFile) throw;
    return false;
  }
}

// Writes the completion while it is generated. A failed write stops the request, and its error is thrown
// after the engine has returned.
class Completion {
 public:
  Completion(const GenerateOptions& options, const Prompt& prompt, const std::vector<int32_t>& prompt_ids,
             bool as_ids, const Engine& engine)
      : as_ids_(as_ids) {
    if (!options.echo) return;
    if (as_ids) {
      echo_ = join_ids(prompt_ids);
    } else {
      echo_ = prompt.ids ? engine.tokenizer().decode(prompt_ids) : prompt.text;
    }
  }

  // Writes a token's text. The echo of the prompt waits for the first token, because before it the terminal
  // shows the progress line.
  bool write(const TokenEvent& event) {
    if (first_token_ == Clock::time_point{}) first_token_ = Clock::now();
    line_.clear();
    if (as_ids_) return put_echo() && put(ids_separator() + std::to_string(event.id));
    streamed_ += event.text.size();
    return put_echo() && put(event.text);
  }

  bool progress(const PrefillProgress& progress) {
    line_.update(describe(progress));
    return !interrupted();
  }

  // Writes the text that was held back to the very end, and the newline. Throws the error met on the way.
  void finish(const std::string& text) {
    line_.clear();
    put_echo();
    if (!as_ids_ && text.size() > streamed_) put(std::string_view(text).substr(streamed_));
    if (as_ids_ && wrote_ && last_ != '\n') put("\n");
    if (failure_) std::rethrow_exception(failure_);
    if (wrote_ && last_ != '\n' && stdout_is_terminal()) write_stdout("\n");
  }

  double seconds_to_first_token(Clock::time_point start) const {
    return first_token_ == Clock::time_point{} ? 0.0
                                               : std::chrono::duration<double>(first_token_ - start).count();
  }

 private:
  std::string ids_separator() const { return wrote_ ? " " : ""; }

  bool put_echo() {
    const std::string echo = std::move(echo_);
    echo_.clear();
    return put(echo);
  }

  bool put(std::string_view bytes) {
    if (failure_) return false;
    if (bytes.empty()) return true;
    try {
      write_stdout(bytes);
    } catch (const Error&) {
      failure_ = std::current_exception();
      return false;
    }
    wrote_ = true;
    last_ = bytes.back();
    return true;
  }

  bool as_ids_;
  std::string echo_;
  size_t streamed_ = 0;
  bool wrote_ = false;
  char last_ = '\0';
  Clock::time_point first_token_;
  std::exception_ptr failure_;
  StatusLine line_;
};

std::string reason(const GenerateResult& result) {
  switch (result.finish) {
    case FinishReason::kLength:
      return "stopped at -n";
    case FinishReason::kEos:
      return "stopped at EOS";
    case FinishReason::kStopString:
      return "stopped at '" + result.stop + "'";
    case FinishReason::kStopToken:
      return "stopped at id " + std::to_string(result.stop_id);
    case FinishReason::kContextFull:
      return "stopped by a full context";
    case FinishReason::kCancelled:
      break;
  }
  return "interrupted";
}

std::string closing_line(const GenerateResult& result, const SparseOptions& sparse, const ModelInfo& model,
                         double first_token) {
  const RequestStats& stats = result.stats;
  std::string line = "prompt " + token_rate(stats.n_prompt, stats.prefill_ns);
  if (stats.n_cached > 0) line += " and " + cached_tokens(stats);
  // The first token comes with the prefill; decoding gives those after it.
  line += ", decode " + token_rate(std::max<int64_t>(stats.n_generated - 1, 0), stats.decode_ns);
  if (first_token > 0.0) line += ", first token after " + human_seconds(first_token);
  line += format(", density %.1f%% (", 100.0 * stats.density) +
          effective_rule(sparse.prompt, model).to_string() + ")" +
          decode_density(stats, effective_rule(sparse.decode, model)) + moved_pages(stats) + ", " +
          reason(result);
  return line;
}

std::unique_ptr<Session> open_session(Engine& engine, const GenerateOptions& options) {
  if (options.session.empty()) return engine.new_session();
  const Clock::time_point start = Clock::now();
  SavedSession saved;
  std::unique_ptr<Session> session = engine.load_session(options.session, &saved);
  if (!options.quiet)
    log_info(saved_session(options.session, saved, engine.info()) + ", read in " +
             human_seconds(std::chrono::duration<double>(Clock::now() - start).count()));
  return session;
}

void save_session(Session& session, const Engine& engine, const GenerateOptions& options) {
  const Clock::time_point start = Clock::now();
  const SavedSession saved = session.save(options.save_session);
  if (!options.quiet)
    log_info(saved_session(options.save_session, saved, engine.info()) + ", saved in " +
             human_seconds(std::chrono::duration<double>(Clock::now() - start).count()));
}

}  // namespace

CommandTable describe_generate() { return table_of<GenerateOptions>(); }

int run_generate(const Arguments& arguments) {
  GenerateOptions options;
  Args args(GenerateOptions::kHead);
  options.add_to(args);
  if (!args.parse(arguments)) return kDone;
  if (options.raw) leave_stdout_raw();
  options.check();
  const Prompt prompt = read_prompt(options.prompt, !options.session.empty());
  const std::shared_ptr<Engine> engine = load_engine(options.model, options.quiet);

  bool as_ids = options.ids;
  if (!as_ids && prompt.ids && !has_tokenizer(*engine)) {
    log_info(options.model.model_dir + " has no tokenizer: printing token ids");
    as_ids = true;
  }
  GenerateRequest request;
  set_prompt(prompt, options, *engine, &request);
  request.max_new_tokens = options.n_predict;
  request.sampling = options.sampling.apply(engine->model().default_sampling);
  options.stop.apply(*engine, &request);
  request.sparse = options.sparse.prompt;
  request.sparse_decode = options.sparse.decode;

  Completion completion(options, prompt, request.prompt, as_ids, *engine);
  PrefillProgress last = {static_cast<int64_t>(request.prompt.size()), 0, 0, 0.0};
  request.on_token = [&](const TokenEvent& event) { return completion.write(event) && !interrupted(); };
  request.on_progress = [&](const PrefillProgress& progress) {
    last = progress;
    return completion.progress(progress);
  };
  GenerateResult result;
  const std::unique_ptr<Session> session = open_session(*engine, options);
  const Clock::time_point start = Clock::now();
  try {
    result = session->generate(request);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kCancelled) throw;
    result.finish = FinishReason::kCancelled;
    result.stats.n_prompt = last.processed;
    result.stats.n_cached = last.cached;
    result.stats.prefill_ns = static_cast<int64_t>(last.time_ms * 1e6);
  }
  completion.finish(result.text);
  if (!options.quiet) {
    log_info(closing_line(result, options.sparse, engine->model(), completion.seconds_to_first_token(start)));
  }
  if (result.finish == FinishReason::kCancelled) {
    if (!options.save_session.empty()) log_warning("interrupted: " + options.save_session + " was not saved");
    return kInterrupted;
  }
  if (!options.save_session.empty()) save_session(*session, *engine, options);
  return kDone;
}

}  // namespace seer::cli
