// The demo model on the CPU while memory runs out: at every allocation of a load, and of requests. Each ends
// in std::bad_alloc or seer::Error, leaks nothing, and does not disturb what comes after.
//
// By default some of the points are tried. SEER_ALL_FAULTS=1 tries every one, which takes minutes.
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <functional>
#include <iostream>
#include <new>

#include "seer/engine.h"
#include "tests/engine/demo.h"
#include "tests/fault/allocations.h"
#include "tests/fault/spared_functions.h"
#include "tests/support/catch.h"
#include "tests/support/sanitized.h"
#include "tests/support/test_data.h"
#include "tests/tokenizer/small_tokenizers.h"

namespace seer {
namespace {

using testing::AllocationFault;
using testing::Ids;
using testing::Shortage;

constexpr unsigned kHang = 120;  // seconds that one point may take

// Of n points: all, or some `wanted` that are spread over them, with the first and the last few.
std::vector<int64_t> points(int64_t n, int64_t wanted) {
  if (std::getenv("SEER_ALL_FAULTS") != nullptr) wanted = n;
  if (testing::kSanitized) wanted /= 10;
  const int64_t stride = std::max<int64_t>(1, n / std::max<int64_t>(wanted, 1));
  std::vector<int64_t> all;
  for (int64_t i = 0; i < n; ++i)
    if (i < 8 || i + 8 >= n || i % stride == (i / stride) % stride) all.push_back(i);
  return all;
}

// Runs `body` with the fault, and returns whether it threw. Any other exception than those that shortages may
// end in fails the case.
bool fails(int64_t index, Shortage shortage, const std::function<void()>& body) {
  ::alarm(kHang);
  std::exception_ptr thrown;
  {
    const AllocationFault fault(index, shortage);
    try {
      body();
    } catch (...) {
      thrown = std::current_exception();
    }
  }
  ::alarm(0);
  if (!thrown) return false;
  try {
    std::rethrow_exception(thrown);
  } catch (const std::bad_alloc&) {
  } catch (const Error& e) {
    INFO(index << ": " << e.what());
    CHECK(std::string(e.what()).find("std::") == std::string::npos);
  } catch (const std::exception& e) {
    FAIL_CHECK("allocation " << index << " ended in: " << e.what());
  }
  return true;
}

// How many allocations `body` makes if all succeed.
int64_t count(const std::function<void()>& body) {
  const AllocationFault none(INT64_MAX, Shortage::kOnce);
  body();
  return AllocationFault::n_allocated();
}

// Reports the point whose failure ended the program: an exception in a thread or a destructor.
struct Point {
  static inline const char* what = "";
  static inline int64_t index = 0;
  static void report() {
    std::cerr << "std::terminate at allocation " << index << " of " << what << std::endl;
    std::abort();
  }
};

void sweep(const char* what, int64_t wanted, const std::function<void()>& prepare,
           const std::function<void()>& body, const std::function<void()>& after) {
  std::set_terminate(Point::report);
  REQUIRE(testing::find_spared_functions());
  Point::what = what;
  for (int i = 0; i < 2; ++i) {  // what is made once stays
    prepare();
    body();
    after();
  }
  prepare();
  const int64_t n = count(body);
  after();
  REQUIRE(n > 16);
  int64_t n_tried = 0, n_failed = 0;
  for (const Shortage shortage : {Shortage::kOnce, Shortage::kLasting}) {
    for (const int64_t i : points(n, wanted)) {
      Point::index = i;
      CAPTURE(what, i);
      prepare();
      const bool failed = fails(i, shortage, body);
      // Threads share what they allocate, so a run may make a few allocations less than another.
      n_tried += AllocationFault::struck() ? 1 : 0;
      n_failed += failed ? 1 : 0;
      after();
    }
  }
  std::cout << what << ": " << n << " allocations, " << n_tried << " made to fail, " << n_failed
            << " of which ended the call" << std::endl;
  CHECK(n_tried > 0);
  CHECK(n_failed > n_tried / 2);
}

// The demo model with a tokenizer.json, for libsentencepiece does not survive a shortage of memory, and with
// gates in a .pth file, which takes more reading than a safetensors file.
class JsonModel {
 public:
  JsonModel() {
    testing::link_model_without_tokenizer(dir_.path());
    testing::write_file(dir_.path() / "tokenizer.json", testing::byte_level_json().dump());
    for (const char* name : {"config.json", "attn_gate_weights.pth"})
      std::filesystem::create_symlink(testing::demo_model() / "gates" / name, gates_.path() / name);
  }
  EngineOptions options() const {
    EngineOptions options = testing::demo_options(256);
    options.model_dir = dir_.path().string();
    options.gates_dir = gates_.path().string();
    return options;
  }

 private:
  testing::TempDir dir_, gates_;
};

TEST_CASE("a load ends cleanly wherever memory runs out, and leaks nothing") {
  const JsonModel model;
  const EngineOptions options = model.options();
  std::shared_ptr<Engine> engine = Engine::load(options);  // what is made once stays
  engine.reset();
  int64_t n_live = 0;
  sweep(
      "load", 100, [&] { n_live = testing::n_live_allocations(); }, [&] { engine = Engine::load(options); },
      [&] {
        engine.reset();
        CHECK(testing::n_live_allocations() == n_live);
      });
}

// A prompt of two chunks, under a sparse rule, with all that a request can ask for.
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
  sweep(
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
  sweep(
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
  sweep(
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
