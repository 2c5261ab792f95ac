#include "tests/tokenizer/small_tokenizers.h"

#include <cstdio>
#include <iterator>
#include <random>

#include "tokenizer/byte_level.h"

namespace seer::testing {
namespace {

using nlohmann::json;

constexpr const char* kSpace = "\xE2\x96\x81";  // U+2581

void append_utf8(uint32_t point, std::string* out) {
  const auto put = [&](uint32_t byte) { *out += static_cast<char>(byte); };
  if (point < 0x80) {
    put(point);
  } else if (point < 0x800) {
    put(0xC0 | (point >> 6));
    put(0x80 | (point & 0x3F));
  } else if (point < 0x10000) {
    put(0xE0 | (point >> 12));
    put(0x80 | ((point >> 6) & 0x3F));
    put(0x80 | (point & 0x3F));
  } else {
    put(0xF0 | (point >> 18));
    put(0x80 | ((point >> 12) & 0x3F));
    put(0x80 | ((point >> 6) & 0x3F));
    put(0x80 | (point & 0x3F));
  }
}

}  // namespace

json added_token(int32_t id, const std::string& content, bool special) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", special}};
}

json bos_template(const std::string& name, int32_t id) {
  const json bos = {{"SpecialToken", {{"id", name}, {"type_id", 0}}}},
             text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}},
             token = {{"id", name}, {"ids", json::array({id})}, {"tokens", json::array({name})}};
  return {{"type", "TemplateProcessing"},
          {"single", json::array({bos, text})},
          {"special_tokens", {{name, token}}}};
}

json byte_level_json() {
  json vocab;
  for (int b = 0; b < 256; ++b) vocab[byte_level_piece(std::string(1, static_cast<char>(b)))] = b;
  int32_t id = 256;
  for (const std::string& piece :
       std::vector<std::string>{"he", "ll", "hell", "hello", "\u0120hello", "12", "123", "helloing"})
    vocab[piece] = id++;
  const json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  return {{"version", "1.0"},
          {"added_tokens", {added_token(264, "<|bos|>", true), added_token(265, "<|eos|>", true)}},
          {"normalizer", nullptr},
          {"pre_tokenizer", byte_level},
          {"post_processor", nullptr},
          {"decoder", byte_level},
          {"model",
           {{"type", "BPE"},
            {"vocab", vocab},
            {"merges", {"h e", "l l", "he ll", "hell o", "\u0120 hello", "1 2", "12 3"}}}}};
}

json metaspace_json() {
  json vocab = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}};
  for (int b = 0; b < 256; ++b) {
    char piece[8];
    std::snprintf(piece, sizeof piece, "<0x%02X>", static_cast<unsigned>(b));
    vocab[piece] = 3 + b;
  }
  vocab[kSpace] = 259;
  for (char c = 'a'; c <= 'z'; ++c) vocab[std::string(1, c)] = metaspace_letter(c);
  int32_t id = 286;
  for (const std::string& piece :
       {std::string("he"), std::string("ll"), std::string("hell"), std::string("hello"),
        std::string(kSpace) + "hello", std::string(kSpace) + kSpace, std::string("\u00E9")})
    vocab[piece] = id++;
  const json bos = {{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}},
             text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}},
             second = {{"Sequence", {{"id", "B"}, {"type_id", 1}}}};
  const json post_processor = {
      {"type", "TemplateProcessing"},
      {"single", {bos, text}},
      {"pair", {bos, text, second}},
      {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {1}}, {"tokens", {"<s>"}}}}}}};
  const json strip = {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}};
  const json spaces = {{"type", "Replace"}, {"pattern", {{"String", kSpace}}}, {"content", " "}};
  return {
      {"version", "1.0"},
      {"added_tokens",
       {added_token(0, "<unk>", true), added_token(1, "<s>", true), added_token(2, "</s>", true)}},
      {"normalizer",
       {{"type", "Sequence"},
        {"normalizers",
         {{{"type", "Prepend"}, {"prepend", kSpace}},
          {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kSpace}}}}}},
      {"pre_tokenizer", nullptr},
      {"post_processor", post_processor},
      {"decoder",
       {{"type", "Sequence"}, {"decoders", {spaces, {{"type", "ByteFallback"}}, {{"type", "Fuse"}}, strip}}}},
      {"model",
       {{"type", "BPE"},
        {"unk_token", "<unk>"},
        {"fuse_unk", true},
        {"byte_fallback", true},
        {"vocab", vocab},
        // Merges are pairs, as in newer files, so a visible space in a token does not divide them.
        {"merges", json::array({json::array({"h", "e"}), json::array({"l", "l"}), json::array({"he", "ll"}),
                                json::array({"hell", "o"}), json::array({kSpace, "hello"}),
                                json::array({kSpace, kSpace})})}}}};
}

std::shared_ptr<const Tokenizer> load_json(const json& tokenizer, const json& config) {
  const TempDir dir;
  write_file(dir.path() / "tokenizer.json", tokenizer.dump());
  if (!config.is_null()) write_file(dir.path() / "tokenizer_config.json", config.dump());
  return Tokenizer::load(dir.path().string());
}

std::string random_text(uint64_t seed, int64_t n_characters) {
  std::mt19937_64 random(seed);
  // Ranges of letters, digits, punctuation, white space, marks, CJK, emoji and the far end of Unicode.
  struct Range {
    uint32_t first, last;
  };
  constexpr Range kRanges[] = {{' ', '~'},         {'a', 'z'},         {'0', '9'},          {'\t', '\r'},
                               {0xA0, 0x24F},      {0x300, 0x36F},     {0x400, 0x4FF},      {0x5D0, 0x6FF},
                               {0x2000, 0x206F},   {0x3040, 0x30FF},   {0x4E00, 0x9FFF},    {0xAC00, 0xD7A3},
                               {0x1F300, 0x1F9FF}, {0x20000, 0x2A6DF}, {0x10FF00, 0x10FFFF}};
  std::string text;
  for (int64_t i = 0; i < n_characters; ++i) {
    const Range& range = kRanges[random() % std::size(kRanges)];
    append_utf8(range.first + static_cast<uint32_t>(random() % (range.last - range.first + 1)), &text);
  }
  return text;
}

std::string random_bytes(uint64_t seed, int64_t n) {
  std::mt19937_64 random(seed);
  std::string bytes;
  for (int64_t i = 0; i < n; ++i) bytes += static_cast<char>(random() & 0xFF);
  return bytes;
}

// A well-formed character is the encoding of a code point. Every prefix of one can still become it.
std::string replace_invalid(std::string_view bytes, Replace each) {
  const auto begins_character = [](std::string_view part, bool* whole) {
    // Unicode's table 3-7, as the ranges of code points that are possible after the bytes so far.
    const auto lead = static_cast<unsigned char>(part[0]);
    const size_t size = lead < 0x80   ? 1
                        : lead < 0xC0 ? 0
                        : lead < 0xE0 ? 2
                        : lead < 0xF0 ? 3
                        : lead < 0xF8 ? 4
                                      : 0;
    if (size == 0 || part.size() > size) return false;
    uint32_t low = size == 1 ? lead : lead & (0x7FU >> size), high = low;
    for (size_t i = 1; i < size; ++i) {
      if (i < part.size() && (static_cast<unsigned char>(part[i]) & 0xC0) != 0x80) return false;
      low = (low << 6) | (i < part.size() ? part[i] & 0x3F : 0);
      high = (high << 6) | (i < part.size() ? part[i] & 0x3F : 0x3F);
    }
    constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
    low = std::max(low, kSmallest[size]);
    high = std::min<uint32_t>(high, 0x10FFFF);
    if (low >= 0xD800 && high <= 0xDFFF) return false;
    *whole = part.size() == size;
    return low <= high;
  };
  std::string out;
  while (!bytes.empty()) {
    size_t n = 0;
    bool whole = false;
    while (!whole && n < bytes.size() && begins_character(bytes.substr(0, n + 1), &whole)) ++n;
    if (whole) {
      out += bytes.substr(0, n);
    } else {
      out += "\uFFFD";
      n = each == Replace::kBytes ? 1 : std::max<size_t>(n, 1);
    }
    bytes.remove_prefix(n);
  }
  return out;
}

}  // namespace seer::testing
