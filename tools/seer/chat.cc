// seer chat: questions and answers. The conversation is kept in the session's cache.
#include <csignal>

#include "engine/base/output_file.h"
#include "seer/engine.h"
#include "tools/seer/chat_commands.h"
#include "tools/seer/chat_template_options.h"
#include "tools/seer/commands.h"
#include "tools/seer/conversation.h"
#include "tools/seer/exit_code.h"
#include "tools/seer/format.h"
#include "tools/seer/input.h"
#include "tools/seer/interrupt.h"
#include "tools/seer/message_reader.h"
#include "tools/seer/model_options.h"
#include "tools/seer/output.h"
#include "tools/seer/sampling_options.h"
#include "tools/seer/sparse_options.h"
#include "tools/seer/status_line.h"
#include "tools/seer/stop_options.h"
#include "tools/seer/terminal_text.h"

namespace seer::cli {
namespace {

constexpr const char* kChatDescription =
    "Answers messages, a line each, from a terminal or a pipe. stdout gets the answers alone. The "
    "conversation "
    "stays in the KV cache, so that a message costs its own tokens only. Lines that begin with a slash are "
    "commands: /help lists them. On a terminal, Ctrl-C stops an answer and Ctrl-D leaves.";

struct ChatOptions {
  static constexpr CommandHead kHead = {"chat", "-m DIR [-g DIR] [options]", kChatDescription};

  ModelOptions model;
  SamplingOptions sampling;
  SparseOptions sparse;
  int64_t n_predict = -1;
  StopOptions stop;
  std::string system, history;
  ChatTemplateOptions chat_template;
  std::optional<std::string> file;
  bool quiet = false, raw = false;

  void add_to(Args& args) {
    args.group("Chat");
    args.value("--system", "TEXT", "none", "system message", into(system));
    chat_template.add_to(args, "auto");
    args.value("-f,--file", "FILE", "none", "put FILE's text before the first message", into(file));
    args.value("-n,--n-predict", "N", "-1: until EOS or the context is full", "most tokens of an answer",
               into(n_predict, -1));
    stop.add_to(args, "an answer");
    args.value("--history", "FILE", "none: in memory",
               "on a terminal, keep the messages of all chats in FILE", into(history));
    args.flag("--raw", raw, kRawHelp);
    args.flag("-q,--quiet", quiet,
              "leave out the greeting, what an answer was stopped by, and warnings about the load");
    sparse.add_to(args);
    sampling.add_to(args);
    model.add_to(args);
  }

  void check() const {
    require_model_dir(model.model_dir);
    sparse.require_gates(model);
    stop.check(n_predict);
    sampling.apply(SamplingParams{});  // refuses values out of range before the model is loaded
  }
};

class Chat {
 public:
  explicit Chat(ChatOptions options)
      : options_(std::move(options)),
        is_terminal_(stdin_is_terminal()),
        reader_([this] { check_engine(); }, options_.history),
        engine_(load_engine(options_.model, options_.quiet)),
        session_(engine_->new_session()),
        conversation_(engine_->tokenizer(), options_.chat_template.load(engine_->tokenizer()),
                      options_.chat_template.kwargs),
        sampling_(options_.sampling.apply(engine_->model().default_sampling)) {
    conversation_.start(options_.system);
    options_.sparse.check(engine_->model());
    if (options_.file) attach(*options_.file);
  }

  int run() {
    if (is_terminal_ && !options_.quiet)
      log_info(model_type(engine_->model()) + " on " + engine_->info().device + ", chat template " +
               conversation_.format() + ", " + rules() + "; /help lists commands");
    while (!done_) {
      try {
        const std::optional<std::string> line = reader_.next();
        if (!line) break;
        obey(*line);
      } catch (const Error& error) {
        recover(error);
      }
    }
    if (is_terminal_ && !done_) write_stderr("\n");  // the shell's prompt gets a line of its own
    return kDone;
  }

 private:
  void check_engine() const {
    if (const std::optional<Error> failure = engine_->failure()) throw *failure;
  }

  // On a terminal a mistake only causes a message. A script must not continue as if nothing had happened.
  void recover(const Error& error) {
    check_engine();
    if (!is_terminal_ || interrupting_signal() == SIGTERM || error.kind() == ErrorKind::kRuntime) throw error;
    if (error.kind() != ErrorKind::kCancelled) {
      log_error(error.what());
    } else {
      write_stderr("\n");
      if (!options_.quiet) log_info("Ctrl-D or /exit leaves");
    }
    forget_interrupt();
  }

  void obey(const std::string& line) {
    const ChatLine parsed = parse_chat_line(line);
    if (parsed.command != nullptr) {
      command(parsed.command->name, parsed.text);
    } else if (!parsed.text.empty()) {
      answer(attached_ + parsed.text);
    }
  }

  void command(const std::string& name, const std::string& argument) {
    if (name == "/help") write_stderr(chat_help());
    if (name == "/file") attach(argument);
    if (name == "/retry") retry();
    if (name == "/undo" && !conversation_.take_back()) log_info("there is nothing to take back");
    if (name == "/reset") restart();
    if (name == "/system") {
      options_.system = argument;
      restart();
    }
    if (name == "/sparse") choose_rule(argument);
    if (name == "/sparse-decode") choose_decode_rule(argument);
    if (name == "/temp") choose_temperature(argument);
    if (name == "/history") show_history();
    if (name == "/save") save(argument);
    if (name == "/load") load(argument);
    if (name == "/stats") show_stats();
    if (name == "/exit" || name == "/quit") done_ = true;
  }

  void attach(const std::string& file) {
    const std::string text = read_bytes(file);
    attached_ += text + (text.ends_with('\n') ? "" : "\n");
    const auto n_tokens = static_cast<long long>(engine_->tokenizer().encode(text, false).size());
    if (!options_.quiet) log_info(format("%lld tokens go before the next message", n_tokens));
  }

  void restart() {
    conversation_.start(options_.system);
    session_->reset();
    attached_.clear();
  }

  void retry() {
    if (const std::optional<std::string> text = conversation_.take_back()) {
      answer(*text);
    } else {
      log_info("there is no message to answer again");
    }
  }

  void choose_rule(const std::string& argument) {
    std::optional<SparseRule> rule;
    if (!argument.empty()) rule = SparseRule::parse(argument);
    require_gates(rule, options_.model);
    if (rule) check_rule(*rule, engine_->model());
    options_.sparse.prompt = rule;
    log_info("prompts are read by " + this->rule().to_string());
  }

  void choose_decode_rule(const std::string& argument) {
    std::optional<SparseDecodeRule> rule;
    if (!argument.empty()) rule = SparseDecodeRule::parse(argument);
    require_gates(rule, options_.model);
    if (rule) check_rule(*rule, engine_->model());
    options_.sparse.decode = rule;
    log_info("answers are decoded by " + decode_rule().to_string());
  }

  void choose_temperature(const std::string& argument) {
    SamplingOptions wanted;
    into(wanted.temperature)(argument);
    sampling_ = wanted.apply(sampling_);
    sampling_.seed = options_.sampling.seed;
  }

  void show_history() const {
    for (const ChatMessage& message : conversation_.messages())
      write_stderr(visible(message.role + ": " + message.content) + "\n");
  }

  void save(const std::string& file) {
    std::string said = file;
    try {
      if (file.ends_with(".json")) {
        OutputFile out(file);
        out.write(to_text(to_json(conversation_.messages()), 2) + "\n");
        out.finish();
      } else {
        said = saved_session(file, session_->save(file, conversation_.saved(session_->tokens())),
                             engine_->info());
      }
    } catch (const Error& error) {
      if (!is_terminal_) throw;
      return log_error(error.what());  // the conversation still exists and can be saved elsewhere
    }
    log_info(said + (said == file ? ": " : ", ") + std::to_string(conversation_.messages().size()) +
             " messages");
  }

  // If it fails, this conversation goes on.
  void load(const std::string& file) {
    SavedSession saved;
    std::unique_ptr<Session> session = engine_->load_session(file, &saved);
    conversation_.restore(saved.note, session->tokens(), file);
    session_ = std::move(session);
    const std::vector<ChatMessage>& messages = conversation_.messages();
    options_.system = !messages.empty() && messages.front().role == "system" ? messages.front().content : "";
    attached_.clear();
    last_.reset();
    log_info(saved_session(file, saved, engine_->info()) + ", " + std::to_string(messages.size()) +
             " messages");
  }

  void show_stats() const {
    if (!last_) return log_info("no answer yet");
    const RequestStats& stats = *last_;
    log_info("prompt " + token_rate(stats.n_prompt, stats.prefill_ns) +
             (stats.n_cached > 0 ? " and " + cached_tokens(stats) : " and 0 cached") +
             format(", density %.1f%% (%s), decode ", 100.0 * stats.density, last_rule_.to_string().c_str()) +
             token_rate(std::max<int64_t>(stats.n_generated - 1, 0), stats.decode_ns) +
             decode_density(stats, last_decode_rule_) + moved_pages(stats));
    log_info(format("context %zu of %lld tokens, %zu messages", session_->tokens().size(),
                    static_cast<long long>(engine_->info().ctx_size), conversation_.messages().size()));
  }

  SparseRule rule() const { return effective_rule(options_.sparse.prompt, engine_->model()); }
  SparseDecodeRule decode_rule() const { return effective_rule(options_.sparse.decode, engine_->model()); }
  std::string rules() const {
    return rule().to_string() + (is_dense(decode_rule()) ? "" : ", answers " + decode_rule().to_string());
  }

  // Returns the ids that the session lacks. The session cannot give back single tokens: if it holds others
  // (after /retry, /undo or a stopped prefill), everything is computed again.
  std::vector<int32_t> missing(const std::vector<int32_t>& ids) {
    const std::vector<int32_t>& held = session_->tokens();
    if (held.size() >= ids.size() || !begins_with(ids, held)) session_->reset();
    return {ids.begin() + static_cast<std::ptrdiff_t>(session_->tokens().size()), ids.end()};
  }

  void answer(const std::string& text) {
    GenerateRequest request;
    const std::vector<int32_t> ids = conversation_.ids_with(text);
    if (static_cast<int64_t>(ids.size()) > engine_->info().ctx_size)
      throw Error(
          ErrorKind::kUsage,
          format("the conversation would have %zu tokens, more than the context of %lld; use /reset or "
                 "/undo%s",
                 ids.size(), static_cast<long long>(engine_->info().ctx_size),
                 larger_context(engine_->info()).c_str()));
    request.prompt = missing(ids);
    request.max_new_tokens = options_.n_predict;
    request.sampling = sampling_;
    options_.stop.apply(*engine_, &request);
    request.sparse = options_.sparse.prompt;
    request.sparse_decode = options_.sparse.decode;
    if (!request.ignore_eos)
      for (const int32_t id : conversation_.end_of_turn_ids()) request.stop_token_ids.push_back(id);
    StatusLine line;
    std::exception_ptr failure;
    char last = '\n';
    const auto put = [&](std::string_view bytes) {
      if (bytes.empty()) return;
      last = bytes.back();
      write_stdout(bytes);
    };
    request.on_token = [&](const TokenEvent& event) {
      line.clear();
      try {
        put(event.text);
      } catch (...) {
        failure = std::current_exception();  // thrown after the engine has returned
        return false;
      }
      return !interrupted();
    };
    request.on_progress = [&](const PrefillProgress& progress) {
      line.update(describe(progress));
      return !interrupted();
    };
    const GenerateResult result = session_->generate(request);
    line.clear();
    if (failure) std::rethrow_exception(failure);
    if (result.stats.n_generated == 0 && result.finish == FinishReason::kCancelled) throw_if_interrupted();
    if (last != '\n' || result.text.empty()) write_stdout("\n");
    attached_.clear();
    last_ = result.stats;
    last_rule_ = rule();
    last_decode_rule_ = decode_rule();
    std::optional<std::vector<int32_t>> held = session_->tokens();
    if (result.finish == FinishReason::kStopString && result.stop_id < 0) held.reset();
    conversation_.add(result.text, std::move(held));
    if (result.finish == FinishReason::kContextFull)
      log_warning("the context is full; use /reset or /undo" + larger_context(engine_->info()));
    if (result.finish != FinishReason::kCancelled) return;
    if (!is_terminal_ || interrupting_signal() == SIGTERM) throw_if_interrupted();
    if (!options_.quiet) log_info("stopped; the answer so far is kept");
    forget_interrupt();
  }

  ChatOptions options_;
  bool is_terminal_;
  MessageReader reader_;  // created before the engine, so that text typed while it loads is kept
  std::shared_ptr<Engine> engine_;
  std::unique_ptr<Session> session_;
  Conversation conversation_;
  SamplingParams sampling_;
  std::string attached_;  // the text of /file, for the next message
  std::optional<RequestStats> last_;
  SparseRule last_rule_;
  SparseDecodeRule last_decode_rule_;
  bool done_ = false;
};

}  // namespace

CommandTable describe_chat() { return table_of<ChatOptions>(); }

int run_chat(const Arguments& arguments) {
  ChatOptions options;
  Args args(ChatOptions::kHead);
  options.add_to(args);
  if (!args.parse(arguments)) return kDone;
  if (options.raw) leave_stdout_raw();
  options.check();
  return Chat(std::move(options)).run();
}

}  // namespace seer::cli
