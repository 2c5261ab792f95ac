#include "tokenizer/normalizer.h"

#include <map>
#include <utility>

#include "seer/error.h"
#include "tokenizer/characters.h"
#include "tokenizer/json_file.h"
#include "tokenizer/json_node.h"

namespace seer {

Normalizer::Normalizer(const nlohmann::json& tokenizer, const std::string& path) {
  const auto it = tokenizer.find("normalizer");
  if (it != tokenizer.end() && !it->is_null()) add(*it, path + ": normalizer");
}

void Normalizer::add(const nlohmann::json& node, const std::string& path) {
  static const std::map<std::string, NormalForm> kForms = {{"NFC", NormalForm::kNfc},
                                                           {"NFD", NormalForm::kNfd},
                                                           {"NFKC", NormalForm::kNfkc},
                                                           {"NFKD", NormalForm::kNfkd}};
  const std::string type = node_type(node, path);
  if (type == "Sequence") {
    for (const nlohmann::json& part : node_list(node, "normalizers", path)) add(part, path);
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
  std::string out(text);
  bool dropped = false;
  for (const Step& step : steps_) {
    switch (step.kind) {
      case Kind::kForm:
        out = normal_form(out, step.form);
        break;
      case Kind::kPrepend:
        if (!continues && !out.empty()) out.insert(0, step.content);
        break;
      case Kind::kReplace:
        dropped = replace(step, &out) || dropped;
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

bool Normalizer::replace(const Step& step, std::string* text) {
  std::vector<Span> spans;
  if (step.regex == nullptr) {
    find_string(*text, step.pattern, &spans);
  } else {
    step.regex->find(*text, &spans);
  }
  std::string out;
  for (const Span& span : spans)
    out += span.match ? std::string_view(step.content)
                      : std::string_view(*text).substr(span.begin, span.end - span.begin);
  *text = std::move(out);
  return !spans.empty() && spans[0].match && spans[0].end > 0 && step.content.empty();
}

std::string Normalizer::description() const {
  std::string text;
  for (const Step& step : steps_) text += (text.empty() ? "" : ", ") + step.type;
  return text.empty() ? "none" : text;
}

}  // namespace seer
