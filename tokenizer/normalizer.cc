#include "tokenizer/normalizer.h"

#include <algorithm>
#include <map>
#include <utility>

#include "engine/base/json_reader.h"
#include "engine/base/stop_check.h"
#include "seer/error.h"
#include "tokenizer/characters.h"
#include "tokenizer/json_file.h"
#include "tokenizer/json_node.h"

namespace seer {
namespace {

constexpr size_t kMaxGrowth = 16;
constexpr size_t kMinLimit = size_t{1} << 16;

}  // namespace

Normalizer::Normalizer(const Json& tokenizer, const std::string& path) : path_(path + ": normalizer") {
  const auto it = tokenizer.find("normalizer");
  if (it != tokenizer.end() && !it->is_null()) add(*it, path_);
}

void Normalizer::add(const Json& node, const std::string& path) {
  static const std::map<std::string, NormalForm> kForms = {{"NFC", NormalForm::kNfc},
                                                           {"NFD", NormalForm::kNfd},
                                                           {"NFKC", NormalForm::kNfkc},
                                                           {"NFKD", NormalForm::kNfkd}};
  const std::string type = node_type(node, path);
  if (type == "Sequence") {
    for (const Json& part : node_list(node, "normalizers", path)) add(part, path);
    return;
  }
  Step step{};
  step.type = type;
  if (const auto form = kForms.find(type); form != kForms.end()) {
    step.form = form->second;
  } else if (type == "Prepend") {
    step.kind = Kind::kPrepend;
    step.content = json_string(node, "prepend", path).value_or("");
  } else if (type == "Replace") {
    step.kind = Kind::kReplace;
    if (has_string_pattern(node)) {
      step.pattern = node_pattern(node, "String", path);
    } else {
      step.regex = std::make_shared<const Regex>(node_pattern(node, "Regex", path), path);
    }
    step.content = json_string(node, "content", path).value_or("");
  } else if (type == "Lowercase") {
    step.kind = Kind::kLowercase;
  } else if (type == "Strip") {
    step.kind = Kind::kStrip;
    step.left = json_bool(node, "strip_left", true, path);
    step.right = json_bool(node, "strip_right", true, path);
  } else {
    throw Error(ErrorKind::kUnsupported, path + ": type '" + type +
                                             "' is not supported; expected NFC, NFD, NFKC, NFKD, Lowercase, "
                                             "Prepend, Replace, Strip or a Sequence of them");
  }
  steps_.push_back(std::move(step));
}

std::string Normalizer::apply(std::string_view text, bool continues, bool* begins) const {
  const size_t max_bytes = kMaxGrowth * text.size() + kMinLimit;
  std::string out(text);
  bool dropped = false;
  for (const Step& step : steps_) {
    StopCheck::work(out.size());
    switch (step.kind) {
      case Kind::kForm:
        out = normal_form(out, step.form);
        break;
      case Kind::kPrepend:
        if (step.content.size() > max_bytes - std::min(out.size(), max_bytes)) fail_growth(step, max_bytes);
        if (!continues && !out.empty()) out.insert(0, step.content);
        break;
      case Kind::kReplace:
        dropped = replace(step, max_bytes, &out) || dropped;
        break;
      case Kind::kLowercase:
        out = lower_case(out);
        break;
      case Kind::kStrip:
        dropped = strip(step, &out) || dropped;
        break;
    }
  }
  if (dropped && begins != nullptr) *begins = false;
  return out;
}

bool Normalizer::strip(const Step& step, std::string* text) {
  if (step.right) text->resize(text->size() - trailing_space(*text));
  const size_t dropped = step.left ? leading_space(*text) : 0;
  text->erase(0, dropped);
  return dropped > 0;
}

void Normalizer::fail_growth(const Step& step, size_t max_bytes) const {
  std::string of = step.pattern;
  if (step.regex != nullptr) of = step.regex->pattern();
  throw Error(ErrorKind::kUnsupported,
              path_ + ": step " + std::to_string(&step - steps_.data() + 1) + " of " +
                  std::to_string(steps_.size()) + ", " + step.type +
                  (of.empty() ? "" : " of " + json_excerpt(of)) + ", would make the text longer than the " +
                  std::to_string(max_bytes) + " bytes that are allowed for its length");
}

bool Normalizer::replace(const Step& step, size_t max_bytes, std::string* text) const {
  std::string out;
  bool begins_with_match = false;
  const auto append = [&](std::string_view part) {
    if (part.size() > max_bytes - out.size()) fail_growth(step, max_bytes);
    out += part;
  };
  const auto append_part = [&](const Span& span) {
    if (span.begin == 0 && span.match && span.end > 0) begins_with_match = true;
    append(span.match ? std::string_view(step.content)
                      : std::string_view(*text).substr(span.begin, span.end - span.begin));
  };
  if (step.regex != nullptr) {
    std::vector<Span> spans;
    step.regex->find(*text, &spans);
    for (const Span& span : spans) append_part(span);
  } else {
    size_t done = 0;
    for (size_t at = text->find(step.pattern); at != std::string::npos; at = text->find(step.pattern, done)) {
      StopCheck::work();
      append_part({done, at, false});
      append_part({at, at + step.pattern.size(), true});
      done = at + step.pattern.size();
    }
    append_part({done, text->size(), false});
  }
  *text = std::move(out);
  return begins_with_match && step.content.empty();
}

namespace {

int64_t ratio(size_t before, size_t after) { return static_cast<int64_t>((before + after - 1) / after); }

// Notes how much text a Replace may remove. An empty `pattern` may match anything.
void restrict_by_replace(std::string_view pattern, std::string_view content, TextBound* bound) {
  const size_t spaces = count_white_space(pattern), kept = content.size() - count_white_space(content);
  const bool of_spaces = !pattern.empty() && spaces == pattern.size();
  if (content.empty() || pattern.empty()) {
    of_spaces ? bound->drop_space() : bound->drop();
    return;
  }
  if (!of_spaces && kept == 0) bound->make_space();
  const int64_t n = ratio(pattern.size(), content.size());
  const int64_t n_kept = kept == 0 ? 1 : ratio(pattern.size() - spaces, kept);
  bound->shrink(std::max(n, n_kept), std::max(n, n_kept));
}

}  // namespace

// The factors were computed over all characters of Unicode 15. One byte in NFC came from at most 3.5 bytes
// (U+1FBE, U+0308, U+0301 become U+0390), in NFKC from 4 (a mathematical digit), and in lower case from 3
// (U+212A).
void Normalizer::restrict(TextBound* bound) const {
  for (const Step& step : steps_) switch (step.kind) {
      case Kind::kForm:
        bound->shrink(5, 1);
        break;
      case Kind::kLowercase:
        bound->shrink(3, 1);
        break;
      case Kind::kPrepend:
        break;
      case Kind::kReplace:
        restrict_by_replace(step.pattern, step.content, bound);
        break;
      case Kind::kStrip:
        bound->drop_space();
        break;
    }
}

std::string Normalizer::description() const {
  std::string text;
  for (const Step& step : steps_) text += (text.empty() ? "" : ", ") + step.type;
  return text.empty() ? "none" : text;
}

}  // namespace seer
