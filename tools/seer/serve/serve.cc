// seer serve: the OpenAI API over HTTP.
#include <poll.h>
#include <unistd.h>

#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "tools/seer/chat_template_options.h"
#include "tools/seer/commands.h"
#include "tools/seer/exit_code.h"
#include "tools/seer/format.h"
#include "tools/seer/input.h"
#include "tools/seer/interrupt.h"
#include "tools/seer/model_options.h"
#include "tools/seer/output.h"
#include "tools/seer/serve/http/http_server.h"
#include "tools/seer/serve/service.h"
#include "tools/seer/sparse_options.h"

namespace seer::cli {
namespace {

using serve::Clock;
using std::chrono::milliseconds;

constexpr const char* kServeDescription =
    "Answers the OpenAI API's /v1/completions, /v1/chat/completions and /v1/models over HTTP, with /health "
    "and /metrics with them, and a page for browsers at /. Its address goes to stdout once it listens, a "
    "line "
    "for each request to stderr. SIGINT or SIGTERM lets requests under way finish; a second one kills.";
constexpr milliseconds kTick(50);
constexpr milliseconds kAfterAbort(2'000);  // time for the last error to reach clients

struct ServeOptions {
  static constexpr CommandHead kHead = {"serve", "-m DIR [options]", kServeDescription};

  ModelOptions model;
  serve::HttpOptions http;
  std::optional<std::string> api_key;
  std::string api_key_file;
  std::string model_name;
  ChatTemplateOptions chat_template;
  std::string tool_parser = "auto", reasoning_parser = "auto";
  bool no_parse_special = false;
  SparseOptions sparse;
  int64_t max_queue = 256, body_timeout = 60, request_timeout = 0, shutdown_timeout = 30;
  bool quiet = false, no_ui = false;

  void add_to(Args& args) {
    args.group("Server");
    args.value("--host", "ADDRESS", "127.0.0.1", "address to listen on; 0.0.0.0 is every one",
               into(http.access.host));
    args.value("--port", "N", "8080", "port to listen on; 0 is any free one", into(http.port, 0, 65535));
    args.value(
        "--api-key", "KEY", "none: everybody may ask",
        "what clients must send as 'Authorization: Bearer KEY', but for /health; others on this machine "
        "see a command line, so give it in the environment or by --api-key-file",
        into(api_key), "SEER_API_KEY");
    args.value("--api-key-file", "FILE", "none", "a file whose first line is the key", into(api_key_file));
    args.values("--allowed-host", "NAME", "this machine's name, localhost, and every address",
                "a name that clients may ask by without a key (DNS rebinding); * is any; may be repeated",
                into(http.access.allowed_hosts));
    args.value("--served-model-name", "NAME", "the model folder's name", "what clients call the model",
               into(model_name));
    chat_template.add_to(args, "auto");
    args.choice(
        "--tool-call-parser", "FORM", tool_parser, {"auto", "hermes", "llama3", "mistral", "none"},
        "how the model writes calls of functions: auto is by its chat template, none leaves them text");
    args.choice("--reasoning-parser", "FORM", reasoning_parser, {"auto", "think", "none"},
                "how it marks its reasoning: think is <think>...</think>, none leaves it in the text");
    args.flag("--no-parse-special", no_parse_special,
              "take special tokens written out in prompts of completions as plain text");
    args.values("--cors-origin", "ORIGIN", "none: pages of other origins are refused",
                "let pages of this origin ask from a browser; * is any; may be repeated",
                into(http.access.cors_origins));
    args.flag("--no-ui", no_ui, "leave out the page for browsers at /");
    args.flag("-q,--quiet", quiet, "leave out the line for each request");
    sparse.add_to(args);
    args.group("Limits");
    args.value("--max-queue", "N", "256", "generations that may wait; requests beyond get 429",
               into(max_queue, 1));
    args.value("--max-body-size", "BYTES", "33554432", "of a request; larger ones get 413",
               into(http.max_body_size, 1));
    args.value("--body-timeout", "SECONDS", "60", "how long a request's body may take; a slower one gets 408",
               into(body_timeout, 1, 1'000'000));
    args.value("--request-timeout", "SECONDS", "0: none",
               "cancel what takes longer, from a request's arrival on", into(request_timeout, 0, 1'000'000));
    args.value("--shutdown-timeout", "SECONDS", "30", "how long requests under way may go on after SIGTERM",
               into(shutdown_timeout, 0, 1'000'000));
    args.value("--max-connections", "N", "10000, or what ulimit -n allows",
               "open at once; beyond, the one that has waited longest for its client is closed",
               into(http.max_connections, 1, 1'000'000));
    args.value("--threads-http", "N", "512",
               "requests answered at once, each by a thread that is started as needed; further ones wait",
               into(http.max_threads, 1, 65536));
    model.add_to(args);
  }

  void check() const {
    require_model_dir(model.model_dir);
    sparse.require_gates(model);
    if (http.access.host.empty())
      throw Error(ErrorKind::kUsage, "--host is empty: expected an address; 0.0.0.0 is every one");
  }
};

// Returns the key, which must consist of RFC 6750's characters, because others cannot be sent in the header.
// An empty key is refused too; it would leave the server open to everybody without a warning.
std::string checked_key(const std::string& key, const std::string& source) {
  const auto may_be_sent = [](unsigned char c) {
    return std::isalnum(c) != 0 ||
           std::string_view("-._~+/=").find(static_cast<char>(c)) != std::string_view::npos;
  };
  if (key.empty())
    throw Error(ErrorKind::kUsage,
                source + " is empty: expected an API key, or nothing of the kind to ask for none");
  if (!std::all_of(key.begin(), key.end(), may_be_sent))
    throw Error(ErrorKind::kUsage,
                source + ": expected letters, digits and -._~+/= only, as a Bearer token has");
  return key;
}

std::string api_key_of(const ServeOptions& options) {
  if (!options.api_key_file.empty()) {
    if (options.api_key) throw Error(ErrorKind::kUsage, "--api-key-file and --api-key: give one of them");
    std::string text = read_bytes(options.api_key_file);
    text.resize(std::min(text.find_first_of("\r\n"), text.size()));
    return checked_key(text, "the first line of '" + options.api_key_file + "'");
  }
  if (options.api_key) return checked_key(*options.api_key, "--api-key, or SEER_API_KEY,");
  if (std::getenv("SEER_API_KEY") != nullptr) return checked_key("", "SEER_API_KEY");
  return "";
}

std::string folder_name(const std::string& dir) {
  const std::filesystem::path path = std::filesystem::absolute(dir).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

// Returns the API's temperature, or nothing if the model's files say how it samples.
std::optional<double> standard_temperature(const std::string& model_dir) {
  std::error_code unreadable;  // loading reports the error of such a file
  if (std::filesystem::exists(std::filesystem::path(model_dir) / "generation_config.json", unreadable))
    return std::nullopt;
  return 1.0;
}

// Returns the template for chats. A model without a template still completes texts. A template that cannot be
// interpreted is refused here, not at the first message.
serve::ChatModel chat_model(const ServeOptions& options, const Tokenizer& tokenizer) {
  serve::ChatModel chat;
  if (!options.chat_template.given() && !tokenizer.chat_template()) return chat;
  chat.chat_template = options.chat_template.load(tokenizer);
  if (!options.chat_template.kwargs.empty()) chat.kwargs = serve::Json::parse(options.chat_template.kwargs);
  chat.format =
      serve::answer_format(chat.chat_template->all_sources(), options.tool_parser, options.reasoning_parser);
  chat.format.takes_tools = chat.chat_template->takes_tools();
  return chat;
}

// Logs a request, but not if nobody reads the log. Otherwise the thread of all connections would wait.
void log_request(const serve::Finished& request) {
  pollfd log = {STDERR_FILENO, POLLOUT, 0};
  if (::poll(&log, 1, 0) != 1 || (log.revents & POLLOUT) == 0) return;
  std::string line = (request.method.empty() ? "-" : request.method) + " " +
                     (request.path.empty() ? "-" : request.path) + " " + std::to_string(request.status);
  if (request.record.n_prompt > 0)
    line += format(" %lld+%lld tokens", static_cast<long long>(request.record.n_prompt),
                   static_cast<long long>(request.record.n_generated));
  log_info(line + format(" %.1f ms", 1e3 * request.seconds));
}

// Waits as long as `going` returns true, and at most `limit`.
template <typename Going>
void wait_while(milliseconds limit, const Going& going) {
  const Clock::time_point until = Clock::now() + limit;
  while (going() && Clock::now() < until) std::this_thread::sleep_for(kTick);
}

void shut_down(serve::HttpServer& server, serve::Service& service, int64_t seconds) {
  const int64_t n = server.n_active();
  log_info("stopping" + (n > 0 ? format(": %lld requests under way may go on for %lld s",
                                        static_cast<long long>(n), static_cast<long long>(seconds))
                               : ""));
  const auto active = [&] { return server.n_active() > 0; };
  service.stop();
  server.stop_accepting();
  wait_while(std::chrono::seconds(seconds), active);
  service.abort();
  wait_while(kAfterAbort, active);
  server.join(true);
}

}  // namespace

CommandTable describe_serve() { return table_of<ServeOptions>(); }

int run_serve(const Arguments& arguments) {
  ServeOptions options;
  Args args(ServeOptions::kHead);
  options.add_to(args);
  if (!args.parse(arguments)) return kDone;
  options.check();
  options.http.access.api_key = api_key_of(options);
  const std::string name =
      options.model_name.empty() ? folder_name(options.model.model_dir) : options.model_name;

  options.http.body_timeout = std::chrono::seconds(options.body_timeout);

  serve::Service service(
      {name,
       {!options.no_parse_special},
       {options.sparse.prompt, options.sparse.decode, standard_temperature(options.model.model_dir)},
       options.max_queue,
       std::chrono::seconds(options.request_timeout),
       !options.no_ui});
  serve::HttpServer server(options.http, service.routes(), [&](const serve::Finished& request) {
    service.metrics().count_request(request.record.route, request.status);
    if (!options.quiet) log_request(request);
  });
  service.set_active_count([&] { return server.n_active(); });
  server.start();
  write_stdout(server.url() + "\n");
  std::shared_ptr<Engine> engine;
  try {
    engine = load_engine(options.model);
    options.sparse.check(engine->model());
    service.set_engine(engine, chat_model(options, engine->tokenizer()));
  } catch (const Error&) {
    if (!interrupted()) throw;
  }
  if (!interrupted()) log_info("serving '" + name + "' at " + server.url());
  if (!interrupted() && options.http.access.api_key.empty() && !serve::is_loopback(options.http.access.host))
    log_warning("everybody who reaches " + server.url() + " may ask: no API key is set (--api-key-file)");
  std::optional<Error> failure;
  while (!interrupted() && !failure) {
    std::this_thread::sleep_for(kTick);
    failure = engine->failure();
  }
  if (failure) {  // the requests in progress have failed by themselves
    shut_down(server, service, 0);
    throw *failure;
  }
  shut_down(server, service, options.shutdown_timeout);
  return kDone;
}

}  // namespace seer::cli
