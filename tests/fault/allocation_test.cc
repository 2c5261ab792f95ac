// The demo model on the CPU while memory runs out: at every allocation of a load, and of requests. Each run
// must end in std::bad_alloc or seer::Error, leak nothing, and leave later work unaffected.
#include <exception>
#include <filesystem>

#include "seer/engine.h"
#include "tests/engine/demo.h"
#include "tests/fault/allocations.h"
#include "tests/fault/byte_model.h"
#include "tests/fault/sweep.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer {
namespace {

using testing::Ids;

TEST_CASE("a load ends cleanly wherever memory runs out, and leaks nothing") {
  const testing::ByteModel model;
  const EngineOptions options = model.options(256);
  std::shared_ptr<Engine> engine = Engine::load(options);  // makes everything that is made once and kept
  engine.reset();
  int64_t n_live = 0;
  testing::sweep(
      "load", 100, [&] { n_live = testing::n_live_allocations(); }, [&] { engine = Engine::load(options); },
      [&] {
        engine.reset();
        CHECK(testing::n_live_allocations() == n_live);
      });
}

// A prompt of two chunks, under a sparse rule, with every option that a request can have.
GenerateRequest request_of(const Ids& ids) {
  GenerateRequest request = testing::greedy(ids, 3, testing::kThreshold);
  request.n_logprobs = 2;
  request.stop = {"no such text"};
  return request;
}

TEST_CASE("a session's request ends cleanly wherever memory runs out, and the next is answered as ever") {
  const auto engine = testing::load_demo(512);
  const Ids ids = testing::document(80);
  const GenerateRequest request = request_of(ids);
  const Ids expected = engine->new_session()->generate(request).tokens;
  std::unique_ptr<Session> session;
  testing::sweep(
      "session", 50, [&] { session = engine->new_session(); }, [&] { session->generate(request); },
      [&] {
        session->reset();
        CHECK(engine->stats().pages_used == 0);
        CHECK(engine->stats().n_running + engine->stats().n_waiting == 0);
        CHECK(session->generate(request).tokens == expected);
        session.reset();
        CHECK(engine->stats().pages_used == 0);
      });
  const EngineStats stats = engine->stats();
  CHECK(stats.n_requests == stats.n_finished + stats.n_cancelled + stats.n_failed);
}

TEST_CASE("submitted requests end cleanly wherever memory runs out, and the next are answered as ever") {
  const auto engine = testing::load_demo(512);
  const Ids ids = testing::document(80);
  const GenerateRequest first = request_of(ids), second = testing::greedy(testing::slice(ids, 20, 50), 3);
  const Ids expected = engine->submit(first)->wait().tokens;
  testing::sweep(
      "submitted", 40, [] {},
      [&] {
        const auto a = engine->submit(first), b = engine->submit(second);
        std::exception_ptr thrown;
        try {
          a->wait();
        } catch (...) {
          thrown = std::current_exception();
        }
        b->wait();
        if (thrown) std::rethrow_exception(thrown);
      },
      [&] {
        CHECK(engine->submit(first)->wait().tokens == expected);
        CHECK(engine->stats().pages_used == 0);
        CHECK(engine->stats().n_running + engine->stats().n_waiting == 0);
      });
  const EngineStats stats = engine->stats();
  CHECK(stats.n_requests == stats.n_finished + stats.n_cancelled + stats.n_failed);
}

TEST_CASE(
    "a session that is saved and loaded ends cleanly wherever memory runs out, and leaves no part of a "
    "file") {
  const auto engine = testing::load_demo(512);
  const auto session = engine->new_session();
  const Ids answer = session->generate(request_of(testing::document(80))).tokens;
  const testing::TempDir dir;
  const std::string file = (dir.path() / "session").string();
  std::unique_ptr<Session> loaded;
  testing::sweep(
      "saved session", 40, [] {},
      [&] {
        session->save(file, "a note");
        loaded = engine->load_session(file);
      },
      [&] {
        loaded.reset();
        CHECK(engine->stats().pages_used == 2);  // the first session's
        CHECK_FALSE(std::filesystem::exists(file + ".tmp"));
        session->save(file);
        CHECK(engine->load_session(file)->tokens() == session->tokens());
      });
  CHECK(session->tokens() == testing::join(testing::document(80), answer));
}

TEST_CASE("an evaluation ends cleanly wherever memory runs out") {
  const auto engine = testing::load_demo(512);
  EvaluateRequest request;
  request.tokens = testing::document(80);
  request.sparse = testing::kThreshold;
  double sum = 0.0;
  request.on_logits = [&](int64_t, int64_t, int64_t, const float* logits) {
    sum += logits[0];
    return true;
  };
  const auto session = engine->new_session();
  testing::sweep(
      "evaluation", 40, [] {}, [&] { session->evaluate(request); },
      [&] {
        session->reset();
        CHECK(engine->stats().pages_used == 0);
        CHECK(engine->stats().n_running + engine->stats().n_waiting == 0);
      });
  CHECK(sum != 0.0);
}

}  // namespace
}  // namespace seer
