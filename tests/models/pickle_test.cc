// The pickle interpreter builds values and records calls, but carries none out.
#include "models/pickle.h"

#include "tests/models/pickle_builder.h"
#include "tests/models/refusal.h"
#include "tests/models/safetensors_builder.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

namespace op = testing::op;
using testing::little_endian;
using testing::refusal;
using Kind = PickleValue::Kind;

const std::vector<std::string> kAllowed = {"collections.OrderedDict", "torch.rebuild"};

std::span<const std::byte> bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

// Refuses `body` with PROTO before it and STOP after it, and returns the message.
std::string refused_pickle(const std::string& body) {
  const std::string text = op::kProto2 + body + op::kStop;
  std::string message =
      refusal(ErrorKind::kFile, [&] { const Pickle pickle(bytes_of(text), kAllowed, "here.pth"); });
  CHECK_THAT(message, ContainsSubstring("here.pth: the pickle "));
  CHECK_THAT(message, ContainsSubstring("nothing was executed"));
  return message;
}

class Read {
 public:
  explicit Read(const std::string& body)
      : text_(op::kProto2 + body + op::kStop), pickle_(bytes_of(text_), kAllowed, "here.pth") {}
  const PickleValue& root() const { return pickle_.root(); }
  int64_t integer() const {
    CHECK((root().kind == Kind::kInt));
    return root().integer;
  }

 private:
  std::string text_;
  Pickle pickle_;
};

TEST_CASE("pickle: integers of every width and sign") {
  for (const int64_t n : {int64_t{0}, int64_t{255}, int64_t{256}, int64_t{65535}, int64_t{65536}, int64_t{-1},
                          int64_t{INT32_MAX}, int64_t{INT32_MIN}, int64_t{1} << 40, INT64_MAX, INT64_MIN}) {
    INFO(n);
    CHECK(Read(op::integer(n)).integer() == n);
  }
  // LONG1 of fewer bytes than eight: two's complement of its own width.
  CHECK(Read(std::string("\x8A\x00", 2)).integer() == 0);
  CHECK(Read("\x8A\x01\x7F").integer() == 127);
  CHECK(Read("\x8A\x01\x80").integer() == -128);
  CHECK(Read(std::string("\x8A\x02\x80\x00", 4)).integer() == 128);
  CHECK(Read("\x8A\x03\xFF\xFF\xFF").integer() == -1);
  CHECK_THAT(refused_pickle("\x8A\x09" + std::string(9, '\x01')), ContainsSubstring("more than 64 bits"));
}

TEST_CASE("pickle: none, booleans and text") {
  CHECK((Read(op::kNone).root().kind == Kind::kNone));
  CHECK(Read(op::kTrue).root().integer == 1);
  CHECK((Read(op::kFalse).root().kind == Kind::kBool));
  CHECK(Read(op::kFalse).root().integer == 0);
  CHECK(Read(op::unicode("model.layers.0")).root().text == "model.layers.0");
  CHECK(Read("\x8C\x03" + std::string("abc")).root().text == "abc");
  CHECK(Read(op::unicode("")).root().text == "");
}

TEST_CASE("pickle: tuples and lists keep their order") {
  const std::string one_two_three = op::integer(1) + op::integer(2) + op::integer(3);
  const std::string whole[] = {op::kMark + one_two_three + op::kTuple, one_two_three + "\x87",
                               op::kEmptyList + op::kMark + one_two_three + op::kAppends,
                               op::kEmptyList + op::integer(1) + op::kAppend + op::kMark + op::integer(2) +
                                   op::integer(3) + op::kAppends};
  for (const std::string& body : whole) {
    const Read read(body);
    REQUIRE((read.root().kind == Kind::kTuple));
    REQUIRE(read.root().items.size() == 3);
    for (size_t i = 0; i < 3; ++i) CHECK(read.root().items[i]->integer == static_cast<int64_t>(i) + 1);
  }
  CHECK(Read(op::kEmptyTuple).root().items.empty());
  CHECK(Read(op::integer(7) + "\x85").root().items[0]->integer == 7);
  CHECK(Read(op::integer(7) + op::integer(8) + "\x86").root().items[1]->integer == 8);
}

TEST_CASE("pickle: dictionaries by one and by many, plain and ordered") {
  const std::string a = op::unicode("a") + op::integer(1), b = op::unicode("b") + op::integer(2);
  for (const std::string& dict : {op::kEmptyDict, op::ordered_dict()}) {
    for (const std::string& body :
         {dict + op::kMark + a + b + op::kSetItems, dict + a + op::kSetItem + b + op::kSetItem}) {
      const Read read(body);
      REQUIRE((read.root().kind == Kind::kDict));
      REQUIRE(read.root().items.size() == 4);
      CHECK(read.root().items[0]->text == "a");
      CHECK(read.root().items[3]->integer == 2);
    }
  }
}

TEST_CASE("pickle: the memo gives back the same value") {
  for (const std::string& body :
       {op::integer(9) + op::put(5) + op::get(5) + "\x86",
        op::integer(9) + "r" + little_endian(70'000, 4) + "j" + little_endian(70'000, 4) + "\x86",
        op::integer(9) + "\x94" + op::get(0) + "\x86"}) {
    const Read read(body);
    REQUIRE(read.root().items.size() == 2);
    CHECK(read.root().items[0] == read.root().items[1]);
    CHECK(read.root().items[1]->integer == 9);
  }
}

TEST_CASE("pickle: a call of an allowed global is recorded with its arguments, and not made") {
  const Read read(op::global("torch", "rebuild") + op::tuple({4, 5}) + op::kReduce);
  CHECK((read.root().kind == Kind::kCall));
  CHECK(read.root().text == "torch.rebuild");
  REQUIRE(read.root().operand->items.size() == 2);
  CHECK(read.root().operand->items[1]->integer == 5);
  const Read by_stack(op::unicode("torch") + op::unicode("rebuild") + "\x93" + op::kEmptyTuple + op::kReduce);
  CHECK(by_stack.root().text == "torch.rebuild");
}

TEST_CASE("pickle: protocols 2 to 4, frames skipped") {
  for (const char protocol : {'\x02', '\x03', '\x04'}) {
    const std::string text =
        std::string("\x80") + protocol + "\x95" + little_endian(3, 8) + op::integer(6) + op::kStop;
    CHECK(Pickle(bytes_of(text), kAllowed, "p").root().integer == 6);
  }
  for (const char protocol : {'\x00', '\x01', '\x05', '\xFF'})
    CHECK_THAT(refused_pickle(std::string("\x80") + protocol + op::kNone), ContainsSubstring("has protocol"));
}

TEST_CASE("pickle: every other global is refused by name, called or not") {
  struct Hostile {
    const char *module, *name;
  };
  for (const Hostile& h :
       {Hostile{"os", "system"}, Hostile{"posix", "system"}, Hostile{"builtins", "eval"},
        Hostile{"builtins", "exec"}, Hostile{"__builtin__", "eval"}, Hostile{"subprocess", "check_output"},
        Hostile{"torch", "load"}, Hostile{"collections", "OrderedDict.__init__"},
        Hostile{"torch.rebuild", ""}, Hostile{"", "torch.rebuild"}}) {
    const std::string name = std::string(h.module) + "." + h.name;
    INFO(name);
    CHECK_THAT(refused_pickle(op::global(h.module, h.name)), ContainsSubstring("asks for " + name));
    CHECK_THAT(
        refused_pickle(op::global(h.module, h.name) + op::unicode("echo hacked") + "\x85" + op::kReduce),
        ContainsSubstring("asks for " + name));
    CHECK_THAT(refused_pickle(op::unicode(h.module) + op::unicode(h.name) + "\x93"),
               ContainsSubstring("asks for " + name));
  }
}

TEST_CASE("pickle: opcodes that no tensor needs are refused by their number") {
  // They include those that call functions or build objects: INST, OBJ, NEWOBJ, NEWOBJ_EX, EXT1, PERSID, INT,
  // FLOAT.
  const std::string known = "NKMJX()t]ae}suqrhjcQRb.";
  const std::string known_high = "\x80\x95\x88\x89\x8A\x8C\x85\x86\x87\x94\x93";
  int n_refused = 0;
  for (int code = 0; code < 256; ++code) {
    const char c = static_cast<char>(code);
    if (known.find(c) != std::string::npos || known_high.find(c) != std::string::npos) continue;
    char expected[32];
    std::snprintf(expected, sizeof expected, "the opcode 0x%02X", static_cast<unsigned>(code));
    CHECK_THAT(refused_pickle(std::string(1, c)), ContainsSubstring(expected));
    ++n_refused;
  }
  CHECK(n_refused == 256 - 34);
}

TEST_CASE("pickle: calls of what is no function") {
  for (const std::string& function : {op::kNone, op::integer(1), op::unicode("os.system"), op::kEmptyTuple,
                                      op::global("torch", "rebuild") + op::kEmptyTuple + op::kReduce})
    CHECK_THAT(refused_pickle(function + op::kEmptyTuple + op::kReduce), ContainsSubstring("no function"));
  CHECK_THAT(refused_pickle(op::global("torch", "rebuild") + op::integer(1) + op::kReduce),
             ContainsSubstring("no function"));
  CHECK_THAT(refused_pickle(op::integer(1) + op::unicode("x") + "\x93"),
             ContainsSubstring("global without strings"));
}

TEST_CASE("pickle: taking from an empty stack, or from beneath a mark") {
  for (const std::string& body :
       {std::string(), op::kAppend, op::kSetItem, op::kReduce, op::kNone + op::kReduce, op::kPersistent,
        op::put(0), std::string("\x94"), std::string("\x85"), op::kNone + "\x86",
        op::kNone + op::kNone + "\x87", op::kBuild, op::kNone + op::kBuild, op::kNone + op::kMark + "\x85",
        op::kNone + op::kMark + op::put(1), op::kNone + op::kMark}) {
    CHECK_THAT(refused_pickle(body), ContainsSubstring("empty stack"));
  }
  for (const std::string& body : {op::kTuple, op::kAppends, op::kSetItems, op::kNone + op::kTuple})
    CHECK_THAT(refused_pickle(body), ContainsSubstring("closes a group it never opened"));
}

TEST_CASE("pickle: a memo entry that was never stored") {
  CHECK_THAT(refused_pickle(op::get(0)), ContainsSubstring("recalls what it never stored"));
  CHECK_THAT(refused_pickle(op::kNone + op::put(1) + op::get(2)), ContainsSubstring("recalls"));
  CHECK_THAT(refused_pickle("j" + little_endian(UINT32_MAX, 4)), ContainsSubstring("recalls"));
}

TEST_CASE("pickle: items and attributes of what has none") {
  CHECK_THAT(refused_pickle(op::kNone + op::unicode("k") + op::kNone + op::kSetItem),
             ContainsSubstring("dictionary"));
  CHECK_THAT(refused_pickle(op::kEmptyDict + op::kMark + op::unicode("odd") + op::kSetItems),
             ContainsSubstring("dictionary"));
  CHECK_THAT(refused_pickle(op::kNone + op::kNone + op::kAppend), ContainsSubstring("than a list"));
  CHECK_THAT(refused_pickle(op::kEmptyDict + op::kMark + op::kNone + op::kAppends),
             ContainsSubstring("than a list"));
  CHECK_THAT(refused_pickle(op::integer(1) + op::kEmptyDict + op::kBuild),
             ContainsSubstring("than a dictionary"));
}

TEST_CASE("pickle: cut short at every byte") {
  const std::string whole = testing::state_dict_pickle({{"w", "FloatStorage", "0", 300, 0, {300}, {1}}});
  const std::vector<std::string> allowed = {"collections.OrderedDict", "torch._utils._rebuild_tensor_v2",
                                            "torch.FloatStorage"};
  for (size_t size = 0; size < whole.size(); ++size) {
    INFO(size << " of " << whole.size());
    const std::string text = whole.substr(0, size);
    CHECK_THAT(refusal(ErrorKind::kFile, [&] { const Pickle pickle(bytes_of(text), allowed, "cut.pth"); }),
               ContainsSubstring("cut.pth: the pickle ends in the middle"));
  }
  CHECK(Pickle(bytes_of(whole), allowed, "whole").root().items.size() == 2);
}

TEST_CASE("pickle: text that claims to be longer than the file") {
  CHECK_THAT(refused_pickle("X" + little_endian(UINT32_MAX, 4) + "abc"),
             ContainsSubstring("ends in the middle"));
  CHECK_THAT(refused_pickle("\x8C\xFF" + std::string("abc")), ContainsSubstring("ends in the middle"));
  CHECK_THAT(refused_pickle("cos"), ContainsSubstring("ends in the middle"));  // no line's end
}

TEST_CASE("pickle: deep nesting and values that hold themselves need no stack") {
  std::string nested = op::kEmptyTuple;
  for (int i = 0; i < 200'000; ++i) nested += "\x85";
  CHECK(Read(nested).root().items.size() == 1);
  CHECK_THAT(refused_pickle(std::string(200'000, '(')), ContainsSubstring("empty stack"));
  const Read list(op::kEmptyList + op::put(0) + op::get(0) + op::kAppend);
  CHECK(list.root().items[0] == &list.root());
  const Read dict(op::kEmptyDict + op::put(0) + op::unicode("self") + op::get(0) + op::kSetItem);
  CHECK(dict.root().items[1] == &dict.root());
}

TEST_CASE("pickle: any number of calls share their arguments, and memoized values are shared") {
  // 20,000 arguments for 4,000 calls. If they were copied, that would take 0.6 GB.
  std::string body = op::global("torch", "rebuild") + op::put(1) + op::kMark;
  for (int i = 0; i < 20'000; ++i) body += op::kNone;
  body += op::kTuple + op::put(0) + op::kEmptyList + op::kMark;
  for (int i = 0; i < 4'000; ++i) body += op::get(1) + op::get(0) + op::kReduce;
  const Read read(body + op::kAppends);
  REQUIRE(read.root().items.size() == 4'000);
  CHECK(read.root().items[0] != read.root().items[3'999]);
  CHECK(read.root().items[0]->operand == read.root().items[3'999]->operand);
  CHECK(read.root().items[0]->operand->items.size() == 20'000);
}

TEST_CASE("pickle: as many operations as the limit are read, and one more is refused") {
  std::string body;
  for (size_t n = 2; n < Pickle::kMaxOperations; ++n) body += op::kNone;  // PROTO and STOP count too
  CHECK((Read(body).root().kind == Kind::kNone));
  const std::string message = refused_pickle(body + op::kNone);
  CHECK_THAT(message, ContainsSubstring("has more than 1000000 operations"));
}

TEST_CASE("pickle: a long name that is refused is shortened in the message") {
  const std::string message = refused_pickle(op::global("os", std::string(100'000, 'x')));
  CHECK_THAT(message, ContainsSubstring("asks for os.xxx") && ContainsSubstring("... (100000 bytes)"));
  CHECK(message.size() < 500);
}

}  // namespace
}  // namespace seer
