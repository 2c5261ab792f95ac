// Sessions that were saved to a file and loaded: what they generate then, and which files are refused.
#include <filesystem>
#include <fstream>

#include "engine/base/checksum.h"
#include "engine/src/session_file.h"
#include "seer/ranks.h"
#include "tests/engine/demo.h"
#include "tests/models/refusal.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer {
namespace {

using namespace testing;

// A file's name in a folder of its own.
class File {
 public:
  std::string path() const { return (dir_.path() / "session").string(); }
  std::string bytes() const { return read_file(path()); }
  void write(const std::string& bytes) const { write_file(path(), bytes); }

 private:
  TempDir dir_;
};

EngineOptions both_gates(const std::string& kv_cache_dtype = "f32") {
  EngineOptions options = demo_options(1024, 64, kv_cache_dtype);
  options.more_gates_dir = (demo_model() / "decode-gates").string();
  return options;
}

struct Turn {
  SparseRule rule;
  SparseDecodeRule decode_rule;
};

GenerateRequest request(const Ids& prompt, int64_t n, const Turn& turn) {
  GenerateRequest asked = greedy(prompt, n, turn.rule);
  asked.sparse_decode = turn.decode_rule;
  asked.n_logprobs = 1;
  return asked;
}

// Log-probabilities are compared bit for bit, and so are what was reused and how much was attended to.
void check_same(const GenerateResult& found, const GenerateResult& expected) {
  CHECK(found.tokens == expected.tokens);
  CHECK(found.text == expected.text);
  CHECK(found.stats.n_cached == expected.stats.n_cached);
  CHECK(found.stats.n_prompt == expected.stats.n_prompt);
  CHECK(found.stats.density == expected.stats.density);
  CHECK(found.stats.decode_density == expected.stats.decode_density);
  REQUIRE(found.logprobs.size() == expected.logprobs.size());
  for (size_t i = 0; i < found.logprobs.size(); ++i)
    CHECK(found.logprobs[i].token.logprob == expected.logprobs[i].token.logprob);
}

// A session of `engine` that has had one turn.
std::unique_ptr<Session> after_a_turn(Engine& engine, int64_t n_prompt, const Turn& turn,
                                      int64_t n_answer = 5) {
  auto session = engine.new_session();
  session->generate(request(document(n_prompt), n_answer, turn));
  return session;
}

// Two more turns of both, one without a prompt.
void check_goes_on_alike(Session& found, Session& expected, const Turn& turn) {
  REQUIRE(found.tokens() == expected.tokens());
  check_same(found.generate(request({}, 3, turn)), expected.generate(request({}, 3, turn)));
  const Ids more = slice(document(700), 600, 700);
  check_same(found.generate(request(more, 8, turn)), expected.generate(request(more, 8, turn)));
  CHECK(found.tokens() == expected.tokens());
}

// Everything that a session file is refused for is found before a page of it is used.
std::string refused(Engine& engine, const std::string& path, ErrorKind kind = ErrorKind::kFile) {
  const std::string message = refusal(kind, [&] { engine.load_session(path); });
  CHECK(engine.stats().pages_used == 0);
  CHECK_THAT(message, ContainsSubstring(path));
  return message;
}

TEST_CASE("a loaded session says what the saved one would have said, bit for bit, under every rule") {
  const std::string type = GENERATE("f32", "bf16");
  const auto saver = Engine::load(both_gates(type)), loader = Engine::load(both_gates(type));
  const auto occupant = after_a_turn(*loader, 300, {});  // so that other pages of the pool are taken
  const File file;
  for (const Turn& turn :
       {Turn{kDense, kDenseDecode}, Turn{kThreshold, kDenseDecode}, Turn{kNzRatio, kDenseDecode},
        Turn{kNzRatioRow, kDenseDecode}, Turn{kDense, kDecodeBudget}, Turn{kThreshold, kDecodeThreshold}}) {
    INFO(type << ", " << turn.rule.to_string() << ", " << turn.decode_rule.to_string());
    const auto stays = after_a_turn(*saver, 450, turn);
    const SavedSession saved = stays->save(file.path());
    CHECK(saved.n_tokens == 455);
    CHECK(saved.n_bytes == static_cast<int64_t>(std::filesystem::file_size(file.path())));
    check_goes_on_alike(*loader->load_session(file.path()), *stays, turn);
  }
}

TEST_CASE("sessions of 0, 1, 63, 64, 65 and 128 tokens come back, those that ended in a page's middle too") {
  const auto saver = load_demo(512), loader = load_demo(512);
  const File file;
  const auto empty = saver->new_session();
  CHECK(empty->save(file.path()).n_tokens == 0);
  CHECK(loader->load_session(file.path())->tokens().empty());
  for (const int64_t n : {1, 63, 64, 65, 128})
    for (const Turn& turn : {Turn{kDense, {}}, Turn{kThreshold, {}}}) {
      INFO(n << " tokens, " << turn.rule.to_string());
      const auto stays = after_a_turn(*saver, n, turn, n % 2 == 0 ? 0 : 2);
      stays->save(file.path());
      const auto comes = loader->load_session(file.path());
      CHECK(comes->tokens() == stays->tokens());
      const GenerateRequest more = request(slice(document(300), 200, 240), 4, turn);
      check_same(comes->generate(more), stays->generate(more));
    }
}

TEST_CASE("a loaded session that is saved again gives the same file") {
  const auto saver = Engine::load(both_gates()), loader = Engine::load(both_gates());
  const File first, second;
  const auto stays = after_a_turn(*saver, 200, {kThreshold, kDecodeBudget}, 70);
  stays->save(first.path(), "a note");
  SavedSession saved;
  const auto comes = loader->load_session(first.path(), &saved);
  CHECK(saved.note == "a note");
  comes->save(second.path(), saved.note);
  CHECK(first.bytes() == second.bytes());
}

TEST_CASE("a session's file holds nothing of the sequences that had its pages before") {
  const auto fresh = Engine::load(both_gates()), used = Engine::load(both_gates());
  after_a_turn(*used, 1000, {kThreshold, kDecodeBudget});
  const File clean, after;
  for (const Turn& turn : {Turn{kDense, {}}, Turn{kThreshold, kDecodeBudget}}) {
    after_a_turn(*fresh, 70, turn)->save(clean.path());
    after_a_turn(*used, 70, turn)->save(after.path());
    CHECK(clean.bytes() == after.bytes());
  }
}

TEST_CASE("ranks that divide the model or prompts save and load sessions together") {
  const RankSplit split = GENERATE(RankSplit::kTensor, RankSplit::kContext);
  EngineOptions options = both_gates();
  options.ranks = Ranks::start(2, {SEER_BINARY});
  options.rank_split = split;
  options.threads = 1;
  options.pool_size = 2048;  // for both sessions
  const auto engine = Engine::load(options);
  const File file;
  for (const Turn& turn : {Turn{kDense, {}}, Turn{kThreshold, kDecodeBudget}}) {
    const auto stays = after_a_turn(*engine, 450, turn);
    stays->save(file.path());
    check_goes_on_alike(*engine->load_session(file.path()), *stays, turn);
  }
  CHECK_THAT(refused(*Engine::load(both_gates()), file.path()),
             ContainsSubstring("expected the ranks '1'") && ContainsSubstring("found '2 that divide") &&
                 ContainsSubstring("--tp, --cp"));
}

TEST_CASE("a session that was computed in chunks of other sizes, or with a cache of prefixes, goes on") {
  const File file;
  const auto stays = after_a_turn(*load_demo(1024, 256), 450, {});
  stays->save(file.path());
  EngineOptions options = demo_options(1024, 64);
  options.prefix_cache = true;
  const auto engine = Engine::load(options);
  const auto comes = engine->load_session(file.path());
  // The pages serve other requests as well.
  const GenerateResult other = engine->new_session()->generate(greedy(document(450), 5));
  CHECK(other.stats.n_cached == 448);
  CHECK(join(document(450), other.tokens) == stays->tokens());
  CHECK(engine->load_session(file.path())->tokens() == stays->tokens());
  const GenerateRequest more = greedy(slice(document(700), 600, 700), 8);
  CHECK(comes->generate(more).tokens == stays->generate(more).tokens);
}

TEST_CASE("under dynamic RoPE a loaded session computes again what the saved one would") {
  const TempDir model;
  link_model_without_tokenizer(model.path());
  std::string config = read_file(model.path() / "config.json");
  const std::string none = "\"rope_scaling\": null";
  config.replace(config.find(none), none.size(),
                 "\"rope_scaling\": {\"rope_type\": \"dynamic\", \"factor\": 2.0}");
  std::filesystem::remove(model.path() / "config.json");
  write_file(model.path() / "config.json", config);
  EngineOptions options = demo_options(512, 64);
  options.pool_size = 1024;
  options.model_dir = model.path().string();
  const auto engine = Engine::load(options);
  const File file;
  const auto stays = after_a_turn(*engine, 150, {});
  stays->save(file.path());
  check_goes_on_alike(*engine->load_session(file.path()), *stays, {});
}

TEST_CASE("a session whose request was cancelled or failed can be saved as what it still holds") {
  EngineOptions options = demo_options(512, 64);
  options.pool_size = 1024;
  const auto engine = Engine::load(options);
  const File file;
  const auto stays = engine->new_session();
  GenerateRequest stopped = greedy(document(200), 50);
  int n_left = 10;
  stopped.on_token = [&](const TokenEvent&) { return --n_left > 0; };
  CHECK(stays->generate(stopped).finish == FinishReason::kCancelled);
  stays->save(file.path());
  check_goes_on_alike(*engine->load_session(file.path()), *stays, {});
  GenerateRequest saving = greedy({}, 5);
  saving.on_token = [&](const TokenEvent&) {
    CHECK_THAT(refusal(ErrorKind::kUsage, [&] { stays->save(file.path()); }),
               ContainsSubstring("running a request"));
    return true;
  };
  stays->generate(saving);
}

TEST_CASE("pages for a loaded session come from the cache, and never from an open session") {
  EngineOptions options = demo_options(512, 64);
  options.prefix_cache = true;
  const auto engine = Engine::load(options);  // 8 pages
  const File file;
  {
    const auto session = after_a_turn(*engine, 300, {});
    session->save(file.path());
  }
  after_a_turn(*engine, 400, {});  // its pages stay cached
  CHECK(engine->load_session(file.path())->tokens().size() == 305);
  const auto open = after_a_turn(*engine, 400, {kThreshold, {}});
  const Ids held = open->tokens();
  CHECK_THAT(refusal(ErrorKind::kMemory, [&] { engine->load_session(file.path()); }),
             ContainsSubstring("by sessions that are open"));
  CHECK(open->tokens() == held);
  CHECK(engine->stats().pages_used == 7);
}

// Bytes of a session of one full page and a part of another.
std::string small_session(Engine& engine) {
  const File file;
  after_a_turn(engine, 70, {})->save(file.path());
  return file.bytes();
}

TEST_CASE("a file that is cut short at any place, or goes on after its end, is refused") {
  const auto engine = load_demo(256);
  const std::string bytes = small_session(*engine);
  const File file;
  const auto n = static_cast<int64_t>(bytes.size());
  for (const int64_t size :
       {int64_t{0}, int64_t{7}, int64_t{23}, int64_t{24}, int64_t{100}, n / 2, n - 17, n - 16, n - 1}) {
    INFO(size << " of " << n << " bytes");
    file.write(bytes.substr(0, static_cast<size_t>(size)));
    CHECK_THAT(refused(*engine, file.path()),
               ContainsSubstring(size < 24 ? "another kind of file" : "cut short"));
  }
  file.write(bytes + '\0');
  CHECK_THAT(refused(*engine, file.path()), ContainsSubstring("appended"));
  std::filesystem::remove(file.path());
  CHECK_THAT(refused(*engine, file.path()), ContainsSubstring("no such file"));
  file.write(read_file(demo_model() / "model" / "config.json"));
  CHECK_THAT(refused(*engine, file.path()), ContainsSubstring("expected a session that Seer saved"));
}

TEST_CASE("a flipped bit anywhere is found: all of the head, and 300 of the pages and their checksums") {
  const auto engine = load_demo(256);
  std::string bytes = small_session(*engine);
  const File file;
  file.write(bytes);
  const SessionReader reader(file.path());
  const auto head = bytes.size() - 2 * static_cast<size_t>(reader.head().record_bytes + 16);
  REQUIRE(head < 4096);
  for (size_t bit = 0; bit < 8 * head; ++bit) {
    std::string flipped = bytes.substr(0, head);
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    CHECK_THROWS_AS(parse_session_head(flipped, "head"), Error);
  }
  CHECK(parse_session_head(bytes.substr(0, head), "head").tokens == reader.head().tokens);
  std::fstream stream(file.path(), std::ios::in | std::ios::out | std::ios::binary);
  const auto put = [&](size_t at, char byte) {
    stream.seekp(static_cast<std::streamoff>(at));
    stream.put(byte).flush();
  };
  const size_t rest = bytes.size() - head;
  for (size_t i = 0; i < 300; ++i) {
    // The first and last bytes of the pages, and places between them.
    const size_t at = head + (i < 20 ? i : i < 40 ? rest - 1 - (i - 20) : i * 48271 % rest);
    put(at, static_cast<char>(bytes[at] ^ (1 << (i % 8))));
    CHECK_THAT(refused(*engine, file.path()), ContainsSubstring("damaged in page"));
    put(at, bytes[at]);
  }
  CHECK(engine->load_session(file.path())->tokens().size() == 75);
}

// The head with another value in its place, and with a checksum that fits it.
std::string sealed(std::string head) {
  head.resize(head.size() - sizeof(Checksum));
  const Checksum sum = checksum_of(std::as_bytes(std::span(head.data(), head.size())));
  return head.append(reinterpret_cast<const char*>(&sum), sizeof sum);
}

TEST_CASE("a newer version, and heads that were forged with a right checksum, are refused by name") {
  SessionHead good;
  good.page_tokens = 64;
  good.record_bytes = 1000;
  good.tokens = {1, 2, 3};
  good.state.n_computed = 3;
  good.fingerprint = {{"the weights", "123"}};
  const auto message = [](const std::string& head) {
    return refusal(ErrorKind::kFile, [&] { parse_session_head(head, "FILE"); });
  };
  std::string newer = pack_session_head(good);
  newer[8] = 2;
  CHECK_THAT(message(sealed(newer)), ContainsSubstring("expected version 1") &&
                                         ContainsSubstring("found version 2") &&
                                         ContainsSubstring("Use the version of Seer that saved it"));
  const auto with = [&](const auto& change) {
    SessionHead head = good;
    change(&head);
    return message(pack_session_head(head));
  };
  CHECK_THAT(with([](SessionHead* h) { h->page_tokens = 0; }), ContainsSubstring("tokens of a page"));
  CHECK_THAT(with([](SessionHead* h) { h->record_bytes = int64_t{1} << 50; }),
             ContainsSubstring("bytes of a page"));
  CHECK_THAT(with([](SessionHead* h) { h->state.n_computed = 4; }), ContainsSubstring("found 3"));
  CHECK_THAT(with([](SessionHead* h) { h->state.prompt_tokens = -1; }), ContainsSubstring("the prompt"));
  CHECK_THAT(with([](SessionHead* h) {
               h->state.rules.prompt = {SparseRule::Method::kThreshold, 7.0};
             }),
             ContainsSubstring("sparse rule"));
  CHECK_THAT(with([](SessionHead* h) { h->state.rules.prompt.method = static_cast<SparseRule::Method>(9); }),
             ContainsSubstring("sparse rule"));
  // A count of tokens that the head has no bytes for must not take memory.
  std::string many = pack_session_head(good);
  const auto n_tokens =
      many.size() - sizeof(Checksum) - sizeof(uint64_t) - 3 * sizeof(int32_t) - sizeof(int64_t);
  many[n_tokens + 3] = 0x3f;
  CHECK_THAT(message(sealed(many)), ContainsSubstring("more bytes in the session's head"));
}

TEST_CASE("a session of another model, of other options, or beyond the context is refused with both values") {
  const File file;
  file.write(small_session(*load_demo(256)));
  EngineOptions options = demo_options(256, 64, "bf16");
  CHECK_THAT(refused(*Engine::load(options), file.path()),
             ContainsSubstring("expected the type of keys and values 'BF16'") &&
                 ContainsSubstring("found 'F32'") && ContainsSubstring("--kv-cache-dtype"));
  options = demo_options(256, 64);
  options.gates_dir = "";
  CHECK_THAT(refused(*Engine::load(options), file.path()),
             ContainsSubstring("expected the gates for prompts 'none'") && ContainsSubstring("(-g)"));
  options = demo_options(256, 64);
  options.weights = "fp8";
  CHECK_THAT(refused(*Engine::load(options), file.path()), ContainsSubstring("--weights"));
  options = demo_options(74, 64);
  CHECK_THAT(refused(*Engine::load(options), file.path(), ErrorKind::kUsage),
             ContainsSubstring("at most 74 tokens") && ContainsSubstring("found 75. Use -c 75"));
  options.ctx_size = 75;
  CHECK(Engine::load(options)->load_session(file.path())->tokens().size() == 75);
}

TEST_CASE("a file that cannot be written is an error, and leaves what was there before") {
  const auto engine = load_demo(256);
  const auto session = after_a_turn(*engine, 70, {});
  CHECK_THAT(refusal(ErrorKind::kRuntime, [&] { session->save("/dev/full"); }),
             ContainsSubstring("No space left"));
  const TempDir dir;
  CHECK_THAT(refusal(ErrorKind::kRuntime, [&] { session->save((dir.path() / "no" / "folder").string()); }),
             ContainsSubstring("No such file"));
  CHECK(session->generate(greedy({}, 2)).tokens.size() == 2);
}

}  // namespace
}  // namespace seer
