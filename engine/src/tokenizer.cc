#include "seer/tokenizer.h"

#include <filesystem>
#include <utility>

#include "engine/src/tokenizer_impl.h"
#include "models/checkpoint_folder.h"
#include "models/mapped_file.h"
#include "tokenizer/chat_template.h"

namespace seer {

namespace {

// The readers of these files would only find that they are malformed.
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
  impl->tokenizer = load_tokenizer(model_dir);
  ChatFormat format{};
  if (recognise_chat_format(read_chat_template(model_dir), &format))
    impl->chat_template = chat_format_name(format);
  return std::shared_ptr<const Tokenizer>(new Tokenizer(std::move(impl)));
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_special, bool parse_special) const {
  const TextTokenizer& t = *impl_->tokenizer;
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

std::string Tokenizer::chat_template() const { return impl_->chat_template; }

std::vector<int32_t> Tokenizer::encode_chat(const std::vector<ChatMessage>& messages,
                                            std::string_view name) const {
  if (name.empty()) name = impl_->chat_template;
  if (name.empty())
    throw Error(
        ErrorKind::kUsage,
        "the model's files name no chat template that is known. Name one of llama2, llama3, chatml and "
        "mistral with --chat-template.");
  std::vector<ChatTurn> turns;
  turns.reserve(messages.size());
  for (const ChatMessage& m : messages) turns.push_back({m.role, m.content});
  return seer::encode_chat(turns, parse_chat_format(name), *impl_->tokenizer);
}

}  // namespace seer
