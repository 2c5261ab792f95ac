#include "tools/seer/serve/service.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include "tools/seer/format.h"
#include "tools/seer/serve/block_map.h"
#include "tools/seer/serve/large_request.h"
#include "tools/seer/serve/token_routes.h"
#include "tools/seer/serve/ui_route.h"
#include "tools/seer/sparse_options.h"

namespace seer::serve {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kCheckClient(100);  // how soon it is noticed that a client has left
constexpr const char* kEventStream = "text/event-stream; charset=utf-8";

double seconds_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

// Reads a completion's body. Neither its text nor its values stay in memory while the answer is computed.
ApiRequest completion_of(Exchange& exchange) { return parse_completion(parse_body(exchange.take_body())); }

ApiRequest chat_of(Exchange& exchange) {
  Json body =
      // The text is freed before anything is made of the values.
      parse_body(exchange.take_body(), kMaxChatValues);
  return parse_chat(std::move(body));
}

}  // namespace

struct Service::Patience {
  Exchange& exchange;
  Clock::time_point deadline;
  Clock::time_point next_check;  // the next check of the client
};

struct Service::Work {
  Work(const Patience& until, const ApiRequest& asked, std::shared_ptr<Engine> of,
       std::vector<EncodedPrompt> prompts, const AnswerFormat& format, const std::string& model_name,
       TimedRequest timed)
      : patience(until),
        exchange(until.exchange),
        request(asked),
        engine(std::move(of)),
        reply(request, std::move(prompts), format, *engine, model_name, std::move(timed)) {}

  Patience patience;
  Exchange& exchange;
  const ApiRequest& request;
  std::shared_ptr<Engine> engine;
  Reply reply;  // refers to the engine
  std::unique_ptr<PageTurns::Generation> turn;
  std::unique_ptr<Answer> answer;
};

Service::Service(ServiceOptions options)
    : options_(std::move(options)), created_(static_cast<int64_t>(std::time(nullptr))) {}

std::vector<Route> Service::routes() {
  std::vector<Route> routes = {
      {"GET", "/health", [this](Exchange& exchange) { health(exchange); }, /*open=*/true, /*urgent=*/true},
      {"GET", "/metrics", [this](Exchange& exchange) { report_metrics(exchange); }},
      {"GET", "/v1/models", [this](Exchange& exchange) { list_models(exchange); }},
      {"GET", "/v1/models/", [this](Exchange& exchange) { show_model(exchange); }},
      {"POST", "/v1/completions",
       [this](Exchange& exchange) {
         const LargeRequest large(exchange.body_size());
         complete(exchange, completion_of(exchange));
       }},
      {"POST", "/v1/chat/completions",
       [this](Exchange& exchange) {
         const LargeRequest large(exchange.body_size());
         complete(exchange, chat_of(exchange));
       }},
      {"POST", "/tokenize",
       [this](Exchange& exchange) {
         const LargeRequest large(exchange.body_size());
         show_tokens(exchange);
       }},
      {"POST", "/detokenize",
       [this](Exchange& exchange) {
         const LargeRequest large(exchange.body_size());
         show_text(exchange);
       }},
      {"GET", "/tokenizer_info", [this](Exchange& exchange) { show_tokenizer(exchange); }},
      {"POST", "/block_map",
       [this](Exchange& exchange) {
         const LargeRequest large(exchange.body_size());
         show_block_map(exchange);
       }},
  };
  if (options_.ui) routes.push_back({"GET", "/", show_ui, /*open=*/true});
  return routes;
}

void Service::set_engine(std::shared_ptr<Engine> engine, ChatModel chat) {
  const std::lock_guard lock(mutex_);
  chat_ = std::move(chat);
  engine_ = std::move(engine);
}

void Service::stop() { stopping_ = true; }

void Service::abort() { aborting_ = true; }

std::shared_ptr<Engine> Service::engine() const {
  if (stopping_) throw ApiError(kUnavailable, "the server is stopping", "", "stopping");
  const std::lock_guard lock(mutex_);
  if (!engine_) throw ApiError(kUnavailable, "the model is being loaded", "", "loading");
  if (const std::optional<Error> failure = engine_->failure())
    throw ApiError(kUnavailable, failure->what(), "", kDeviceFailed);
  return engine_;
}

const ChatModel& Service::chat_model() const {
  const std::lock_guard lock(mutex_);
  return chat_;
}

void Service::health(Exchange& exchange) const {
  engine();
  if (device_failed_)
    throw ApiError(kServerError, "the device has failed: restart the server", "", kDeviceFailed);
  exchange.answer_json(kOk, R"({"status":"ok"})");
}

void Service::report_metrics(Exchange& exchange) const {
  std::shared_ptr<Engine> engine;
  {
    const std::lock_guard lock(mutex_);
    engine = engine_;
  }
  const EngineStats stats = engine ? engine->stats() : EngineStats();
  exchange.answer(
      {kOk, "text/plain; version=0.0.4", metrics_.text(engine ? &stats : nullptr, n_active_()), {}});
}

ModelCard Service::model_card() const {
  const std::shared_ptr<Engine> engine = this->engine();
  const ModelInfo& model = engine->model();
  return {options_.model_name,
          created_,
          engine->info().ctx_size,
          chat_model().chat_template != nullptr,
          model.n_layers,
          model.n_heads,
          cli::effective_rule(options_.standards.sparse, model).to_string(),
          model.gates,
          cli::effective_rule(options_.standards.sparse_decode, model).to_string(),
          model.decode_gates};
}

void Service::list_models(Exchange& exchange) const { exchange.answer_json(kOk, models_list(model_card())); }

void Service::show_model(Exchange& exchange) const {
  std::string name = exchange.head().path.substr(std::string("/v1/models/").size());
  if (name.ends_with('/')) name.pop_back();
  check_model(name);
  exchange.answer_json(kOk, model_object(model_card()));
}

void Service::show_tokens(Exchange& exchange) const {
  Json body = parse_body(exchange.take_body(), kMaxChatValues);
  check_model(JsonFields(body).string("model"));
  Patience patience = patience_for(exchange);
  exchange.answer_json(kOk, tokenize(std::move(body), *engine(), chat_model(), options_.prompts,
                                     [&] { check_going(patience); }));
}

void Service::show_text(Exchange& exchange) const {
  const Json body = parse_body(exchange.take_body());
  check_model(JsonFields(body).string("model"));
  exchange.answer_json(kOk, detokenize(body, *engine()));
}

void Service::show_tokenizer(Exchange& exchange) const {
  const std::shared_ptr<Engine> engine = this->engine();
  exchange.answer_json(kOk, tokenizer_info(*engine, chat_model()));
}

void Service::show_block_map(Exchange& exchange) {
  const BlockMapRequest request = parse_block_map(parse_body(exchange.take_body()));
  const std::shared_ptr<Engine> engine = this->engine();
  check_model(request.generation.model);
  const SparseRule rule = check_block_map(request, options_.standards.sparse, engine->model());
  Patience patience = patience_for(exchange);
  const std::vector<int32_t> prompt =
      std::move(encode_prompts(request.generation, *engine, chat_model(), options_.prompts,
                               [&] { check_going(patience); })
                    .front()
                    .ids);
  token_limit(request.generation, static_cast<int64_t>(prompt.size()), engine->info());
  exchange.record().n_prompt = static_cast<int64_t>(prompt.size());
  const bool alone = takes_pages_of_generations(static_cast<int64_t>(prompt.size()), engine->info());
  const PageTurns::Map turn(&turns_, alone);
  exchange.answer_json(kOk, block_map(request, prompt, rule, options_.model_name, engine.get(), [&] {
                         turn.check();
                         check_going(patience);
                       }));
}

void Service::check_model(const std::optional<std::string>& name) const {
  if (!name || *name == options_.model_name) return;
  throw ApiError(kNotFound, "there is no model '" + *name + "' here, only '" + options_.model_name + "'",
                 "model", "model_not_found");
}

void Service::check_tools(const ApiRequest& request) const {
  if (request.input.tools.empty()) return;
  const AnswerFormat& format = chat_model().format;
  if (!format.takes_tools)
    throw ApiError(kBadRequest,
                   "'tools': this model's chat template does not show tools to the model: leave them out, or "
                   "set 'tool_choice' to 'none'",
                   "tools", "unsupported_parameter");
  if (format.tools == ToolForm::kUnknown)
    throw ApiError(
        kBadRequest,
        "'tools': this model writes calls in a form that is not read here: leave them out, or start "
        "the server with --tool-call-parser none to get its calls as text",
        "tools", "unsupported_parameter");
}

std::unique_ptr<Service::Work> Service::admit(Exchange& exchange, const ApiRequest& request) {
  std::shared_ptr<Engine> engine = this->engine();
  check_model(request.model);
  check_tools(request);
  if (request.n_choices() > options_.max_queue)
    throw ApiError(kBadRequest,
                   "'n' times the prompts is " + std::to_string(request.n_choices()) + ": expected at most " +
                       std::to_string(options_.max_queue) + " (--max-queue)",
                   "n", "invalid_value");
  Patience patience = patience_for(exchange);
  std::vector<EncodedPrompt> prompts =
      encode_prompts(request, *engine, chat_model(), options_.prompts, [&] { check_going(patience); });
  std::vector<GenerateRequest> generations = generate_requests(request, prompts, *engine, options_.standards);
  if (request.chat && !request.ignore_eos)
    for (const int32_t id : engine->tokenizer().end_of_turn_ids(chat_model().chat_template.get()))
      for (GenerateRequest& one : generations) one.stop_token_ids.push_back(id);
  RequestRecord& record = exchange.record();
  for (const EncodedPrompt& prompt : prompts) record.n_prompt += static_cast<int64_t>(prompt.ids.size());
  const GenerateRequest& first = generations.front();
  TimedRequest timed{request.timings, record.start,
                     cli::effective_rule(first.sparse, engine->model()).to_string(),
                     cli::effective_rule(first.sparse_decode, engine->model()).to_string()};
  auto turn = std::make_unique<PageTurns::Generation>(&turns_, [&] { check_going(patience); });
  auto work = std::make_unique<Work>(patience, request, engine, std::move(prompts), chat_model().format,
                                     options_.model_name, std::move(timed));
  work->turn = std::move(turn);
  const std::lock_guard lock(admission_);
  const int64_t n_waiting = engine->stats().n_waiting;
  metrics_.observe_queue(n_waiting);
  if (n_waiting + work->request.n_choices() > options_.max_queue)
    throw ApiError(kTooManyRequests,
                   "the queue is full: " + std::to_string(n_waiting) + " generations wait, and at most " +
                       std::to_string(options_.max_queue) + " may (--max-queue). Try again later.",
                   "", "queue_full");
  work->answer = std::make_unique<Answer>(engine.get(), std::move(generations), work->request.stream);
  return work;
}

Service::Patience Service::patience_for(Exchange& exchange) const {
  Clock::time_point deadline = Clock::time_point::max();
  if (options_.request_timeout.count() > 0) deadline = exchange.record().start + options_.request_timeout;
  return {exchange, deadline, {}};
}

void Service::check_going(Patience& patience) const {
  if (aborting_) throw ApiError(kUnavailable, "the server is stopping", "", "stopping");
  const Clock::time_point now = Clock::now();
  if (now >= patience.deadline)
    throw ApiError(kUnavailable, "the answer took longer than the server allows (--request-timeout)", "",
                   "request_timeout");
  if (now < patience.next_check) return;
  patience.next_check = now + kCheckClient;
  if (patience.exchange.client_gone()) throw ApiError(kClientGone, "the client has gone");
}

std::vector<News> Service::next(Work& work) const {
  check_going(work.patience);
  std::vector<News> news = work.answer->wait(kCheckClient);
  for (const News& one : news)
    if (one.result != nullptr && one.result->finish == FinishReason::kCancelled)
      throw ApiError(kUnavailable, "the generation was cancelled", "", "cancelled");
  return news;
}

ApiError Service::give_up(Work& work) {
  work.answer->cancel();
  work.exchange.record().n_generated = work.answer->n_tokens();
  ApiError error = api_error(std::current_exception());
  if (error.code() == kDeviceFailed) device_failed_ = true;
  return error;
}

// Notes a request's figures. Call it once everything has ended.
void Service::account(Work& work) {
  RequestRecord& record = work.exchange.record();
  for (size_t i = 0; i < work.answer->size(); ++i) {
    const RequestStats& stats = work.answer->result(i).stats;
    record.n_generated += stats.n_generated;
    const ChoiceTimes times = work.answer->times(i);
    if (stats.n_generated > 0) metrics_.observe_first_token(seconds_between(record.start, times.first_token));
    if (stats.n_generated > 1)
      metrics_.observe_output_token(seconds_between(times.first_token, times.last_token) /
                                    static_cast<double>(stats.n_generated - 1));
  }
}

namespace {

Usage usage_of(const Answer& answer, size_t n, int64_t n_prompt) {
  Usage usage;
  usage.prompt_tokens = n_prompt;
  for (size_t i = 0; i < answer.size(); ++i) {
    const RequestStats& stats = answer.result(i).stats;
    usage.completion_tokens += stats.n_generated;
    if (i % n == 0)
      usage.cached_tokens += stats.n_cached;  // a prompt is counted once, however many choices it has
  }
  return usage;
}

}  // namespace

void Service::complete(Exchange& exchange, const ApiRequest& request) {
  const std::unique_ptr<Work> work = admit(exchange, request);
  try {
    if (request.stream) return stream(*work);
    while (!work->answer->ended()) work->reply.collect(next(*work));
    account(*work);
    const Usage usage = usage_of(*work->answer, static_cast<size_t>(request.n), exchange.record().n_prompt);
    exchange.answer_json(kOk, work->reply.whole(usage));
  } catch (...) {
    throw give_up(*work);
  }
}

// Streams an answer. The status is sent with the first byte, so an error before the first token still gets
// its own status. A later error becomes the stream's last event.
void Service::stream(Work& work) {
  Exchange& exchange = work.exchange;
  std::vector<News> news;
  while (news.empty() && !work.answer->ended()) news = next(work);
  exchange.begin_stream({kOk, kEventStream, "", {{"Cache-Control", "no-cache"}}});
  try {
    exchange.write(work.reply.opening());
    for (;;) {
      exchange.write(work.reply.events(news));
      if (work.answer->ended()) break;
      news = next(work);
    }
    account(work);
    exchange.write(work.reply.closing(
        usage_of(*work.answer, static_cast<size_t>(work.request.n), exchange.record().n_prompt)));
  } catch (...) {
    const ApiError error = give_up(work);
    exchange.record().status = error.status();
    if (error.status() == kClientGone) throw error;
    exchange.write(ResponseWriter::event(error.to_json()));
  }
}

}  // namespace seer::serve
