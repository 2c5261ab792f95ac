// The API over one engine: the handler of each route.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "seer/engine.h"
#include "tools/seer/serve/answer.h"
#include "tools/seer/serve/api_error.h"
#include "tools/seer/serve/api_request.h"
#include "tools/seer/serve/http/http_server.h"
#include "tools/seer/serve/metrics.h"
#include "tools/seer/serve/page_turns.h"
#include "tools/seer/serve/prompts.h"
#include "tools/seer/serve/reply.h"
#include "tools/seer/serve/responses.h"

namespace seer::serve {

struct ServiceOptions {
  std::string model_name;  // the model's name for clients
  PromptOptions prompts;
  Standards standards;
  int64_t max_queue = 256;                       // how many generations may wait
  std::chrono::milliseconds request_timeout{0};  // 0: none
  bool ui = true;                                // whether "/" is the page for browsers
};

// Its handlers run on many threads at once.
class Service {
 public:
  explicit Service(ServiceOptions options);

  std::vector<Route> routes();
  Metrics& metrics() { return metrics_; }

  // Call it when the model is loaded; requests are taken from then on. `chat` makes prompts of messages.
  // Without a template (null), chat requests are refused.
  void set_engine(std::shared_ptr<Engine> engine, ChatModel chat = {});
  void set_active_count(std::function<int64_t()> n_active) { n_active_ = std::move(n_active); }
  void stop();   // refuses requests from now on
  void abort();  // ends those in progress with an error

 private:
  struct Work;      // one request being answered
  struct Patience;  // the time until which a request may go on

  void health(Exchange& exchange) const;
  void report_metrics(Exchange& exchange) const;
  void list_models(Exchange& exchange) const;
  void show_model(Exchange& exchange) const;
  void show_tokens(Exchange& exchange) const;
  void show_text(Exchange& exchange) const;
  void show_tokenizer(Exchange& exchange) const;
  void show_block_map(Exchange& exchange);
  void complete(Exchange& exchange, const ApiRequest& request);
  void stream(Work& work);

  std::shared_ptr<Engine> engine() const;  // throws ApiError (503) while there is none
  const ChatModel& chat_model() const;     // call it only if there is an engine
  ModelCard model_card() const;            // throws what engine() throws
  void check_model(const std::optional<std::string>& name) const;
  void check_tools(const ApiRequest& request) const;
  std::unique_ptr<Work> admit(Exchange& exchange, const ApiRequest& request);
  Patience patience_for(Exchange& exchange) const;
  // Throws ApiError if the client has gone, the time is up, or the server aborts.
  void check_going(Patience& patience) const;
  std::vector<News> next(Work& work) const;
  void account(Work& work);
  ApiError give_up(Work& work);  // cancels the running work; call it in a handler of exceptions

  const ServiceOptions options_;
  const int64_t created_;
  Metrics metrics_;
  PageTurns turns_;
  std::function<int64_t()> n_active_ = [] { return int64_t{0}; };
  std::atomic<bool> stopping_{false}, aborting_{false};
  std::atomic<bool> device_failed_{false};  // a failed device does not come back, and those who watch /health
                                            // must know it
  mutable std::mutex mutex_;                // guards engine_ and chat_
  std::shared_ptr<Engine> engine_;
  ChatModel chat_;        // does not change once engine_ is there
  std::mutex admission_;  // held while the queue's length is checked and added to
};

}  // namespace seer::serve
