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
    step.pattern = node_pattern(node, "String", path);
    step.content = json_string(node, "content", path).value_or("");
  } else {
    throw Error(ErrorKind::kUnsupported, path + ": type '" + type +
                                             "' is not supported; expected NFC, NFD, NFKC, NFKD, Prepend, "
                                             "Replace or a Sequence of them");
  }
  steps_.push_back(std::move(step));
}

std::string Normalizer::apply(std::string_view text, bool continues) const {
  std::string out(text);
  if (out.empty()) return out;
  for (const Step& step : steps_) {
    switch (step.kind) {
      case Kind::kForm:
        out = normal_form(out, step.form);
        break;
      case Kind::kPrepend:
        if (!continues) out.insert(0, step.content);
        break;
      case Kind::kReplace:
        replace_all(&out, step.pattern, step.content);
        break;
    }
  }
  return out;
}

std::string Normalizer::description() const {
  std::string text;
  for (const Step& step : steps_) text += (text.empty() ? "" : ", ") + step.type;
  return text.empty() ? "none" : text;
}

}  // namespace seer
