#include "tokenizer/chat_template.h"

#include <filesystem>

#include "seer/error.h"
#include "tokenizer/json_file.h"

namespace seer {
namespace {

struct Named {
  std::string_view name;
  ChatFormat format;
};
constexpr Named kFormats[] = {{"llama2", ChatFormat::kLlama2},
                              {"llama3", ChatFormat::kLlama3},
                              {"chatml", ChatFormat::kChatMl},
                              {"mistral", ChatFormat::kMistral}};

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpaces = " \t\n\v\f\r";
  const size_t begin = text.find_first_not_of(kSpaces);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpaces) - begin + 1);
}

[[noreturn]] void bad_turns(const std::string& what) { throw Error(ErrorKind::kUsage, "chat: " + what); }

// Text is gathered up to the next special token, so that it is encoded as the stretch a whole string would
// give.
class Writer {
 public:
  explicit Writer(const TextTokenizer& tokenizer) : tokenizer_(tokenizer) {}

  void text(std::string_view t) { pending_ += t; }
  void token(int32_t id) {
    flush();
    ids_.push_back(id);
  }
  void special(std::string_view name) {
    const int32_t id = tokenizer_.special_id(name);
    if (id < 0)
      throw Error(ErrorKind::kUnsupported,
                  "the chat template needs the special token " + std::string(name) +
                      ", which this vocabulary lacks. Name another with --chat-template.");
    token(id);
  }
  void bos() {
    if (tokenizer_.bos_id() >= 0) token(tokenizer_.bos_id());
  }
  void eos() {
    if (tokenizer_.eos_id() >= 0) token(tokenizer_.eos_id());
  }
  std::vector<int32_t> finish() {
    flush();
    return std::move(ids_);
  }

 private:
  void flush() {
    const std::vector<int32_t> part = tokenizer_.encode(pending_, /*parse_special=*/false);
    ids_.insert(ids_.end(), part.begin(), part.end());
    pending_.clear();
  }
  const TextTokenizer& tokenizer_;
  std::vector<int32_t> ids_;
  std::string pending_;
};

void check_roles(const std::vector<ChatTurn>& turns) {
  if (turns.empty()) bad_turns("expected at least one message");
  for (const ChatTurn& turn : turns)
    if (turn.role != "system" && turn.role != "user" && turn.role != "assistant")
      bad_turns("expected the role system, user or assistant, found '" + turn.role + "'");
  if (turns.back().role != "user")
    bad_turns("expected the last message to be the user's, found " + turns.back().role);
}

// Llama 2's and Mistral's: a system message first if at all, then user and assistant in turn. Returns the
// system message and leaves the rest in *turns.
std::string_view take_system(const std::vector<ChatTurn>& all, std::vector<ChatTurn>* turns) {
  const bool has_system = all.front().role == "system";
  turns->assign(all.begin() + (has_system ? 1 : 0), all.end());
  for (size_t i = 0; i < turns->size(); ++i)
    if ((*turns)[i].role != (i % 2 == 0 ? "user" : "assistant"))
      bad_turns("this template expects user and assistant in turn after an optional system message, found " +
                (*turns)[i].role);
  return has_system ? std::string_view(all.front().content) : std::string_view();
}

// Llama 2 chat's template: every exchange is a text of its own between BOS and EOS.
void write_llama2(const std::vector<ChatTurn>& all, Writer* out) {
  std::vector<ChatTurn> turns;
  const std::string_view system = take_system(all, &turns);
  for (size_t i = 0; i < turns.size(); ++i) {
    if (i % 2 == 1) {
      out->text(" ");
      out->text(trim(turns[i].content));
      out->text(" ");
      out->eos();
      continue;
    }
    std::string content = turns[i].content;
    if (i == 0 && !trim(system).empty())
      content = "<<SYS>>\n" + std::string(system) + "\n<</SYS>>\n\n" + content;
    out->bos();
    out->text("[INST] ");
    out->text(trim(content));  // the two together: white space between them stays
    out->text(" [/INST]");
  }
}

void write_llama3(const std::vector<ChatTurn>& turns, Writer* out) {
  const auto header = [&](std::string_view role) {
    out->special("<|start_header_id|>");
    out->text(role);
    out->special("<|end_header_id|>");
    out->text("\n\n");
  };
  out->bos();
  for (const ChatTurn& turn : turns) {
    header(turn.role);
    out->text(trim(turn.content));
    out->special("<|eot_id|>");
  }
  header("assistant");
}

void write_chatml(const std::vector<ChatTurn>& turns, bool add_bos, Writer* out) {
  if (add_bos) out->bos();
  for (const ChatTurn& turn : turns) {
    out->special("<|im_start|>");
    out->text(turn.role + "\n" + turn.content);
    out->special("<|im_end|>");
    out->text("\n");
  }
  out->special("<|im_start|>");
  out->text("assistant\n");
}

// Mistral 7B Instruct: v0.1 and v0.2 write [INST] as text, v0.3 as control tokens and the system message with
// the last question instead of the first.
void write_mistral(const std::vector<ChatTurn>& all, bool control_tokens, Writer* out) {
  std::vector<ChatTurn> turns;
  const std::string_view system = trim(take_system(all, &turns));
  const size_t with_system = control_tokens ? turns.size() - 1 : 0;
  out->bos();
  for (size_t i = 0; i < turns.size(); ++i) {
    if (i % 2 == 1) {
      out->text(" ");
      out->text(trim(turns[i].content));
      out->eos();
      continue;
    }
    if (control_tokens) {
      out->special("[INST]");
      out->text(" ");
    } else {
      out->text("[INST] ");
    }
    if (i == with_system && !system.empty()) {
      out->text(system);
      out->text("\n\n");
    }
    out->text(trim(turns[i].content));
    if (control_tokens) {
      out->special("[/INST]");
    } else {
      out->text(" [/INST]");
    }
  }
}

}  // namespace

ChatFormat parse_chat_format(std::string_view name) {
  for (const Named& n : kFormats)
    if (n.name == name) return n.format;
  throw Error(ErrorKind::kUsage, "expected the chat template llama2, llama3, chatml or mistral, found '" +
                                     std::string(name) + "'");
}

std::string_view chat_format_name(ChatFormat format) {
  for (const Named& n : kFormats)
    if (n.format == format) return n.name;
  return {};
}

bool recognise_chat_format(std::string_view jinja, ChatFormat* format) {
  const auto has = [&](std::string_view mark) { return jinja.find(mark) != std::string_view::npos; };
  if (has("<|start_header_id|>")) {
    *format = ChatFormat::kLlama3;
  } else if (has("<|im_start|>")) {
    *format = ChatFormat::kChatMl;
  } else if (has("<<SYS>>")) {
    *format = ChatFormat::kLlama2;
  } else if (has("[INST]")) {
    *format = ChatFormat::kMistral;
  } else {
    return false;
  }
  return true;
}

std::string read_chat_template(const std::string& model_dir) {
  const std::filesystem::path dir = model_dir, jinja = dir / "chat_template.jinja";
  if (std::filesystem::exists(jinja)) return read_text_file(jinja.string());
  const std::string path = (dir / "tokenizer_config.json").string();
  const auto config = read_json_file(path);
  if (!config) return {};
  const auto it = config->find("chat_template");
  if (it == config->end() || !it->is_array()) return json_string(*config, "chat_template", path).value_or("");
  for (const auto& named : *it)
    if (named.is_object() && json_string(named, "name", path) == "default")
      return json_string(named, "template", path).value_or("");
  return {};
}

std::vector<int32_t> encode_chat(const std::vector<ChatTurn>& turns, ChatFormat format,
                                 const TextTokenizer& tokenizer) {
  check_roles(turns);
  Writer out(tokenizer);
  switch (format) {
    case ChatFormat::kLlama2:
      write_llama2(turns, &out);
      break;
    case ChatFormat::kLlama3:
      write_llama3(turns, &out);
      break;
    case ChatFormat::kChatMl:
      write_chatml(turns, tokenizer.add_bos(), &out);
      break;
    case ChatFormat::kMistral:
      write_mistral(turns, tokenizer.special_id("[INST]") >= 0, &out);
      break;
  }
  return out.finish();
}

}  // namespace seer
