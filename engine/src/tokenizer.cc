#include "seer/tokenizer.h"

#include <filesystem>
#include <utility>

#include "engine/base/stop_check.h"
#include "engine/src/chat_template_impl.h"
#include "engine/src/stop_ids.h"
#include "engine/src/tokenizer_impl.h"
#include "models/checkpoint_folder.h"
#include "models/mapped_file.h"

namespace seer {

namespace {

// Adds SentencePiece's own BOS and EOS, which are not in JSON files.
void add_token_variable(const TextTokenizer& tokenizer, int32_t id, const char* name,
                        std::map<std::string, std::string>* variables) {
  if (id >= 0) variables->emplace(name, tokenizer.decode({id}, /*skip_special=*/false));
}

// Refuses files that only stand in for the real ones (such as pointers of Git LFS). The readers of these
// files would only report that they are malformed.
void refuse_stand_ins(const std::filesystem::path& folder) {
  for (const char* name : {"tokenizer.json", "tokenizer.model", "tokenizer_config.json"}) {
    std::error_code error;
    if (std::filesystem::is_regular_file(folder / name, error)) MappedFile::open((folder / name).string());
  }
}

}  // namespace

std::shared_ptr<const Tokenizer> Tokenizer::load(const std::string& model_dir) {
  require_folder(model_dir);
  refuse_stand_ins(model_dir);
  auto impl = std::make_unique<Impl>();
  TokenizerConfig config = TokenizerConfig::load(model_dir);
  impl->tokenizer = load_tokenizer(model_dir, config);
  impl->token_variables = std::move(config.named_texts);
  add_token_variable(*impl->tokenizer, impl->tokenizer->bos_id(), "bos_token", &impl->token_variables);
  add_token_variable(*impl->tokenizer, impl->tokenizer->eos_id(), "eos_token", &impl->token_variables);
  try {
    const std::map<std::string, TemplateText> texts = read_chat_templates(model_dir);
    for (const auto& [name, text] : texts) impl->template_text += text.source + "\n";
    impl->chat_template = template_of_texts(texts);
  } catch (const Error&) {
    impl->chat_template_error = std::current_exception();
  }
  return std::shared_ptr<const Tokenizer>(new Tokenizer(std::move(impl)));
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

namespace {

void check_length(const TextTokenizer& tokenizer, std::string_view text, const EncodeLimits& limits) {
  if (limits.max_tokens < 0) return;
  const int64_t n = tokenizer.least_tokens(text);
  if (n > limits.max_tokens) throw TooManyTokens(n);
}

}  // namespace

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_special, bool parse_special,
                                       const EncodeLimits& limits) const {
  const TextTokenizer& t = *impl_->tokenizer;
  check_length(t, text, limits);
  const StopCheck stop(limits.check);
  std::vector<int32_t> ids = t.encode(text, parse_special);
  if (add_special && t.add_bos()) ids.insert(ids.begin(), t.bos_id());
  if (add_special && t.add_eos()) ids.push_back(t.eos_id());
  return ids;
}

std::string Tokenizer::decode(const std::vector<int32_t>& ids, bool skip_special) const {
  return impl_->tokenizer->decode(ids, skip_special);
}

std::string Tokenizer::token_bytes(int32_t id) const {
  const TextTokenizer& t = *impl_->tokenizer;
  if (id < 0 || id >= t.n_vocab()) return {};
  return t.is_special(id) ? t.decode({id}, /*skip_special=*/false) : t.piece(id);
}

int32_t Tokenizer::token_id(std::string_view name) const { return impl_->tokenizer->added_id(name); }

int64_t Tokenizer::n_vocab() const { return impl_->tokenizer->n_vocab(); }
int32_t Tokenizer::bos_id() const { return impl_->tokenizer->bos_id(); }
int32_t Tokenizer::eos_id() const { return impl_->tokenizer->eos_id(); }
std::string Tokenizer::kind() const { return impl_->tokenizer->kind(); }
TokenizerInfo Tokenizer::info() const {
  const TextTokenizer& t = *impl_->tokenizer;
  TextTokenizer::Description d = t.description();
  return {t.kind(),    std::move(d.normalizer), std::move(d.splits), d.n_added, d.n_special, t.add_bos(),
          t.add_eos(), std::move(d.note)};
}

std::shared_ptr<const ChatTemplate> Tokenizer::chat_template() const {
  if (impl_->chat_template_error) std::rethrow_exception(impl_->chat_template_error);
  return impl_->chat_template;
}

const std::map<std::string, std::string>& Tokenizer::token_variables() const {
  return impl_->token_variables;
}

void Tokenizer::check_chat_template(const ChatTemplate& chat_template) const {
  chat_template.impl().prompt.require_tokens(*impl_->tokenizer);
}

std::vector<int32_t> Tokenizer::end_of_turn_ids(const ChatTemplate* with) const {
  std::vector<int32_t> ids;
  const std::string& text = with == nullptr ? impl_->template_text : with->source();
  for (const std::string& name : ends_of_turn(*impl_->tokenizer, text)) ids.push_back(token_id(name));
  return ids;
}

std::string Tokenizer::render_chat(const ChatPrompt& prompt, const ChatTemplate* with,
                                   const EncodeLimits& limits) const {
  const StopCheck stop(limits.check);
  return impl_->rendered(prompt, impl_->chosen(with)).text;
}

std::vector<int32_t> Tokenizer::encode_chat(const ChatPrompt& prompt, const ChatTemplate* with,
                                            const EncodeLimits& limits) const {
  const PromptTemplate& chosen = impl_->chosen(with);
  const StopCheck stop(limits.check);
  const MarkedText rendered = impl_->rendered(prompt, chosen);
  check_length(*impl_->tokenizer, rendered.text, limits);
  return chosen.encode(rendered, *impl_->tokenizer);
}

std::optional<std::vector<int32_t>> Tokenizer::encode_chat_from(size_t from, const ChatPrompt& prompt,
                                                                const ChatTemplate* with) const {
  const PromptTemplate& chosen = impl_->chosen(with);
  return chosen.encode_from(from, impl_->rendered(prompt, chosen), *impl_->tokenizer);
}

const PromptTemplate& Tokenizer::Impl::chosen(const ChatTemplate* with) const {
  if (with != nullptr) return with->impl().prompt;
  if (chat_template_error) std::rethrow_exception(chat_template_error);
  if (!chat_template)
    throw Error(ErrorKind::kUsage,
                "the model's files have no chat template. Name a file, or one of llama2, llama3, chatml, "
                "mistral and none, with --chat-template.");
  return chat_template->impl().prompt;
}

MarkedText Tokenizer::Impl::rendered(const ChatPrompt& prompt, const PromptTemplate& chosen) const {
  TemplateInput input = template_input(prompt);
  // Sets a variable of Seer's own, which the template `mistral` reads.
  if (!input.kwargs.contains("vocabulary_has_inst"))
    input.kwargs["vocabulary_has_inst"] = tokenizer->added_id("[INST]") >= 0;
  return chosen.render(std::move(input), token_variables);
}

}  // namespace seer
