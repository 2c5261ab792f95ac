// seer tokenize: turns text into ids and back, with only the tokenizer loaded.
#include "seer/tokenizer.h"

#include <algorithm>

#include "tools/seer/commands.h"
#include "tools/seer/exit_code.h"
#include "tools/seer/input.h"
#include "tools/seer/interrupt.h"
#include "tools/seer/model_options.h"
#include "tools/seer/output.h"

namespace seer::cli {
namespace {

constexpr const char* kTokenizeDescription =
    "Prints a text's token ids on one line, separated by spaces; with --decode, the text of token ids, byte "
    "for byte and without a newline after it.";

struct TokenizeOptions {
  static constexpr CommandHead kHead = {"tokenize", "-m DIR [-p TEXT | -f FILE] [options]",
                                        kTokenizeDescription};

  std::string model_dir;
  PromptOptions input;
  bool decode = false, no_bos = false, parse_special = false, special = false, raw = false;

  void add_to(Args& args) {
    add_model_dir(args, model_dir);
    input.add_to(args, "the text (or ids)");
    args.flag("--decode", decode, "the input is token ids separated by white space; print their text");
    args.flag("--no-bos", no_bos, "leave out the BOS (and EOS) the model's files ask for");
    args.flag("--parse-special", parse_special, "special tokens written out in the text become those tokens");
    args.flag("--special", special, "with --decode: write special tokens out instead of leaving them out");
    args.flag("--raw", raw, kRawHelp);
  }

  void check() const {
    require_model_dir(model_dir);
    if (decode && (no_bos || parse_special))
      throw Error(ErrorKind::kUsage,
                  "--no-bos and --parse-special are about text; leave them out with --decode");
    if (special && !decode)
      throw Error(ErrorKind::kUsage, "--special needs --decode; did you mean --parse-special?");
  }
};

// Returns the ids that have a text, and warns about the others. Vocabularies of models are often padded
// beyond their tokenizers, so a model may generate such an id.
std::vector<int32_t> known_ids(std::vector<int32_t> ids, int64_t n_vocab, const std::string& source) {
  for (const int32_t id : ids)
    if (id < 0)
      throw Error(ErrorKind::kUsage, source + ": expected token ids from 0 on, found " + std::to_string(id));
  const auto unknown = [n_vocab](int32_t id) { return id >= n_vocab; };
  const auto first = std::find_if(ids.begin(), ids.end(), unknown);
  if (first != ids.end())
    log_warning("token id " + std::to_string(*first) + " is beyond the tokenizer's " +
                std::to_string(n_vocab) + " entries: such ids have no text");
  std::erase_if(ids, unknown);
  return ids;
}

}  // namespace

CommandTable describe_tokenize() { return table_of<TokenizeOptions>(); }

int run_tokenize(const Arguments& arguments) {
  TokenizeOptions options;
  Args args(TokenizeOptions::kHead);
  options.add_to(args);
  if (!args.parse(arguments)) return kDone;
  if (options.raw) leave_stdout_raw();
  options.check();

  const Prompt prompt = read_prompt(options.input, true);
  const auto tokenizer = Tokenizer::load(options.model_dir);
  if (options.decode) {
    const std::vector<int32_t> ids = parse_ids(prompt.text, prompt.source);
    write_stdout(tokenizer->decode(known_ids(ids, tokenizer->n_vocab(), prompt.source), !options.special));
  } else {
    write_stdout(join_ids(tokenizer->encode(prompt.text, !options.no_bos, options.parse_special,
                                            {-1, throw_if_interrupted})) +
                 "\n");
  }
  return kDone;
}

}  // namespace seer::cli
