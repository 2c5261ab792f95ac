// POST /block_map, and the timings of answers. tests/serve/serve_test.py compares maps with `seer inspect`.
#include "tools/seer/serve/block_map.h"

#include <nlohmann/json.hpp>

#include "tests/serve/api_server.h"
#include "tests/support/catch.h"
#include "tools/seer/serve/api_error.h"
#include "tools/seer/serve/timings.h"

namespace seer::serve {
namespace {

using testing::ApiServer;
using testing::engine_with;
using testing::eventually;
using testing::FakeEngine;
using testing::plain;
using testing::post;
using testing::RawClient;

constexpr const char* kMap = "/block_map";

std::shared_ptr<FakeEngine> gated(bool held = false, bool endless = false) {
  std::shared_ptr<FakeEngine> engine = engine_with({{"one", " two"}, std::nullopt, endless, held});
  engine->have_gates();
  return engine;
}

std::string prompt_of(size_t n_tokens) {
  return "{\"prompt\":" + nlohmann::json(std::vector<int>(n_tokens, 5)).dump();
}

nlohmann::json json_of(const std::string& answer) {
  INFO(answer);
  REQUIRE(answer.starts_with("HTTP/1.1 200 "));
  return nlohmann::json::parse(answer.substr(answer.find("\r\n\r\n") + 4));
}

TEST_CASE("a block map has the cells up to the diagonal, and says what they are") {
  const ApiServer server(gated(), testing::named(), plain());
  const nlohmann::json map = json_of(server.ask(prompt_of(200) + R"(,"layer":2,"head":1})", kMap));
  CHECK(map["object"] == "block_map");
  CHECK(map["sparse"] == "threshold=0.002");
  CHECK(map["layer"] == 2);
  CHECK(map["head"] == 1);
  CHECK(map["n_tokens"] == 200);
  CHECK(map["block_size"] == 64);
  CHECK(map["n_blocks"] == 4);
  CHECK(map["cell_blocks"] == 1);
  CHECK(map["side"] == 4);
  CHECK(map["density"] == 0.5);
  CHECK(map["layer_density"] == 0.4);  // 4 of the 10 blocks up to the diagonal
  CHECK(map["head_density"] == 0.4);
  CHECK(map["kept"] == nlohmann::json::parse("[[1.0],[0.0,1.0],[0.0,0.0,1.0],[0.0,0.0,0.0,1.0]]"));
  CHECK(map["score"][3] == nlohmann::json::parse("[0.25,0.25,0.25,0.25]"));

  const nlohmann::json all =
      json_of(server.ask(R"({"messages":[{"role":"user","content":")" + std::string(900, 'x') +
                             R"("}],"max_side":2,"stream":true,"max_tokens":5})",
                         kMap));
  CHECK(all["layer"] == 0);
  CHECK(all["head"].is_null());
  CHECK_FALSE(all.contains("head_density"));
  CHECK(all["side"] == 2);
  CHECK(all["cell_blocks"] > 1);
}

TEST_CASE("a block map that cannot be made is refused by name") {
  const ApiServer dense(engine_with({{"one"}, std::nullopt, false, false}));
  CHECK_THAT(dense.ask(prompt_of(100) + "}", kMap), ContainsSubstring("\"code\":\"no_gates\""));
  ServiceOptions options = testing::named();
  const ApiServer server(gated(), options);
  const auto refused = [&](const std::string& body, const std::string& why, const char* status = "400") {
    const std::string answer = server.ask(body, kMap);
    CHECK_THAT(answer, ContainsSubstring("HTTP/1.1 " + std::string(status) + " "));
    CHECK_THAT(answer, ContainsSubstring(why));
  };
  refused(prompt_of(100) + R"(,"sparse":"dense"})", "would be dense");
  refused(prompt_of(100) + R"(,"layer":3})", "expected 0 to 2, found 3");
  refused(prompt_of(100) + R"(,"head":2})", "expected 0 to 1, found 2");
  refused(prompt_of(100) + R"(,"layer":-1})", "\"param\":\"layer\"");
  refused(prompt_of(100) + R"(,"max_side":257})", "\"param\":\"max_side\"");
  refused(prompt_of(100) + R"(,"heads":1})", "unknown field 'heads'");
  refused(prompt_of(63) + "}", "\"code\":\"prompt_too_short\"");
  refused(prompt_of(1000) + "}", "\"code\":\"context_length_exceeded\"");
  refused(R"({"prompt":["a","b"]})", "expected one prompt, found 2");
  refused(R"({"model":"other","prompt":"a"})", "model_not_found", "404");
  refused("{}", "missing");
}

TEST_CASE("one block map is computed at a time") {
  const ApiServer server(gated(/*held=*/true));
  RawClient first(server.http.url());
  first.send(post(kMap, prompt_of(100) + "}", "Connection: close\r\n"));
  REQUIRE(eventually([&] { return server.engine->n_evaluating == 1; }));
  const std::string second = server.ask(prompt_of(100) + "}", kMap);
  CHECK(second.starts_with("HTTP/1.1 429 "));
  CHECK_THAT(second, ContainsSubstring("\"code\":\"block_map_busy\""));
  server.engine->release();
  CHECK(first.read_to_end().starts_with("HTTP/1.1 200 "));
}

TEST_CASE("a block map whose pages a generation may need makes way for it") {
  const ApiServer server(gated(/*held=*/true));
  RawClient map(server.http.url());
  map.send(post(kMap, prompt_of(100) + "}", "Connection: close\r\n"));
  REQUIRE(eventually([&] { return server.engine->n_evaluating == 1; }));
  RawClient generation(server.http.url());
  generation.send(post("/v1/completions", R"({"prompt":"x"})", "Connection: close\r\n"));
  const std::string gave_way = map.read_to_end();
  CHECK(gave_way.starts_with("HTTP/1.1 503 "));
  CHECK_THAT(gave_way, ContainsSubstring("\"code\":\"block_map_gave_way\""));
  REQUIRE(eventually([&] { return server.engine->submitted().size() == 1; }));
  // The generation is held now, so the next map cannot begin.
  CHECK_THAT(server.ask(prompt_of(100) + "}", kMap), ContainsSubstring("generations are under way"));
  server.engine->release();
  CHECK(generation.read_to_end().starts_with("HTTP/1.1 200 "));
  CHECK(server.ask(prompt_of(100) + "}", kMap).starts_with("HTTP/1.1 200 "));
}

TEST_CASE("a client that leaves ends its block map") {
  const ApiServer server(gated(/*held=*/true));
  RawClient client(server.http.url());
  client.send(post(kMap, prompt_of(100) + "}"));
  REQUIRE(eventually([&] { return server.engine->n_evaluating == 1; }));
  client.close();
  CHECK(eventually([&] { return server.engine->n_evaluating == 0; }));
  CHECK(eventually([&] { return server.last_status == kClientGone; }));
}

TEST_CASE("a block map runs beside generations if the pool has room for it and for a whole context") {
  EngineInfo info;
  info.ctx_size = 1000;
  info.page_tokens = 64;
  info.n_pages = 18;
  CHECK_FALSE(takes_pages_of_generations(128, info));
  CHECK(takes_pages_of_generations(129, info));
  info.n_ranks = 2;
  CHECK_FALSE(takes_pages_of_generations(128, info));
  info.rank_split = RankSplit::kContext;
  CHECK(takes_pages_of_generations(1, info));

  PageTurns turns;
  const PageTurns::Generation before(&turns, [] {});
  const PageTurns::Map beside(&turns, /*alone=*/false);
  const PageTurns::Generation after(&turns, [] { FAIL("it had to wait"); });
  CHECK_NOTHROW(beside.check());
  CHECK_THROWS_AS(PageTurns::Map(&turns, false), ApiError);
}

TEST_CASE("a generation that gives up while a map makes way leaves no trace") {
  PageTurns turns;
  {
    const PageTurns::Map map(&turns, /*alone=*/true);
    CHECK_THROWS_AS(PageTurns::Generation(&turns, [] { throw ApiError(kClientGone, "gone"); }), ApiError);
    CHECK_NOTHROW(map.check());
  }
  CHECK_NOTHROW(PageTurns::Map(&turns, /*alone=*/true));
}

TEST_CASE("timings come with each choice if they are asked for, whole and streamed") {
  ServiceOptions options = testing::named();
  options.standards.sparse = SparseRule::parse("nz_ratio=0.25");
  const ApiServer server(gated(), options);
  CHECK_FALSE(json_of(server.ask(R"({"prompt":"x"})"))["choices"][0].contains("timings"));
  const nlohmann::json whole = json_of(server.ask(R"({"prompt":"x","n":2,"timings":true})"))["choices"];
  REQUIRE(whole.size() == 2);
  for (const nlohmann::json& choice : whole) {
    CHECK(choice["timings"]["sparse"] == "nz_ratio=0.25");
    CHECK(choice["timings"]["first_token_ms"] > 0.0);
  }
  const std::string streamed = server.ask(R"({"prompt":"x","sparse":"dense","timings":true,"stream":true})");
  const size_t at = streamed.find("\"timings\":");
  REQUIRE(at != std::string::npos);
  CHECK(streamed.find("\"timings\":", at + 1) == std::string::npos);  // with the end alone
  CHECK_THAT(streamed.substr(at), ContainsSubstring("\"sparse\":\"dense\""));
  CHECK(streamed.rfind("\"finish_reason\":\"length\"", at) != std::string::npos);
}

TEST_CASE("timings are the request's figures, and what there is none of is null") {
  TimedRequest request;
  CHECK(timings_json(request, {}, {}).is_null());
  request.wanted = true;
  request.sparse = "dense";
  request.sparse_decode = "budget=1024";
  request.start = Clock::time_point(std::chrono::seconds(5));
  RequestStats stats;
  stats.n_prompt = 100;
  stats.n_cached = 64;
  stats.n_generated = 11;
  stats.density = 0.1234567;
  stats.decode_density = 0.7654321;
  stats.prefill_ns = 1'234'567;
  stats.decode_ns = 2'000'000'000;
  stats.n_from_host = 16;
  stats.n_from_disk = 32;
  stats.restore_ns = 1'000'000;
  const ChoiceTimes times = {request.start + std::chrono::microseconds(1500), request.start};
  const nlohmann::json expected = nlohmann::json::parse(
      R"({"sparse":"dense","density":0.123457,"computed_tokens":100,"cached_tokens":64,"first_token_ms":1.5,)"
      R"("prefill_ms":1.235,"decode_ms":2000.0,"tokens_per_second":5.0,)"
      R"("sparse_decode":"budget=1024","decode_density":0.765432,)"
      R"("host_tokens":16,"disk_tokens":32,"restore_ms":1.0})");
  CHECK(nlohmann::json::parse(timings_json(request, stats, times).dump()) == expected);
  stats.n_generated = 1;
  CHECK(timings_json(request, stats, {})["tokens_per_second"].is_null());
  CHECK(timings_json(request, stats, {})["first_token_ms"].is_null());
}

TEST_CASE("the model's entry names what the page and other clients choose from") {
  const ApiServer server(gated(), testing::named(), plain());
  const nlohmann::json model = json_of(testing::get(server.http.url(), "/v1/models/m"));
  CHECK(model["chat"] == true);
  CHECK(model["n_layers"] == 3);
  CHECK(model["n_heads"] == 2);
  CHECK(model["sparse"] == "threshold=0.002");
  CHECK(model["gates"] == nlohmann::json::parse(R"({"block_size":64,"sparse":"threshold=0.002"})"));
  const ApiServer dense(engine_with({{"one"}, std::nullopt, false, false}));
  const nlohmann::json other = json_of(testing::get(dense.http.url(), "/v1/models"))["data"][0];
  CHECK(other["chat"] == false);
  CHECK(other["sparse"] == "dense");
  CHECK(other["gates"].is_null());
  CHECK(other["sparse_decode"] == "dense");
  CHECK(other["decode_gates"].is_null());
}

TEST_CASE("the model's entry has its gates for decoding, and the rule of requests that name none") {
  const auto engine = engine_with({{"one"}, std::nullopt, false, false});
  engine->have_decode_gates();
  ServiceOptions options = testing::named();
  const auto entry = [&] {
    const ApiServer server(engine, options, plain());
    return json_of(testing::get(server.http.url(), "/v1/models/m"));
  };
  CHECK(entry()["sparse_decode"] == "budget=4096");
  CHECK(entry()["decode_gates"] ==
        nlohmann::json::parse(R"({"block_size":64,"start_layer":1,"sparse_decode":"budget=4096"})"));
  CHECK(entry()["gates"].is_null());
  options.standards.sparse_decode = SparseDecodeRule::parse("ratio=0.1");
  CHECK(entry()["sparse_decode"] == "ratio=0.1");
}

}  // namespace
}  // namespace seer::serve
