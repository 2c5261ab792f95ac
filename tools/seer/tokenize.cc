// seer tokenize: text to ids and back, with nothing but the tokenizer loaded.
#include "seer/tokenizer.h"

#include "tools/seer/commands.h"
#include "tools/seer/exit_code.h"
#include "tools/seer/input.h"
#include "tools/seer/model_options.h"
#include "tools/seer/output.h"

namespace seer::cli {
namespace {

constexpr const char* kDescription =
    "Prints a text's token ids on one line, separated by spaces; with --decode, the text of token ids, byte "
    "for byte and without a newline after it.";

}  // namespace

int run_tokenize(const Arguments& arguments) {
  std::string model_dir;
  PromptOptions input;
  bool decode = false;
  bool no_bos = false;
  bool parse_special = false;
  bool special = false;
  Args args("tokenize", "-m DIR [-p TEXT | -f FILE] [options]", kDescription);
  add_model_dir(args, model_dir);
  input.add_to(args, "the text (or ids)");
  args.flag("--decode", decode, "the input is token ids separated by white space; print their text");
  args.flag("--no-bos", no_bos, "leave out the BOS (and EOS) the model's files ask for");
  args.flag("--parse-special", parse_special, "special tokens written out in the text become those tokens");
  args.flag("--special", special, "with --decode: write special tokens out instead of leaving them out");
  if (!args.parse(arguments)) return kDone;
  require_model_dir(model_dir);
  if (decode && (no_bos || parse_special))
    throw Error(ErrorKind::kUsage,
                "--no-bos and --parse-special are about text; leave them out with --decode");
  if (special && !decode)
    throw Error(ErrorKind::kUsage, "--special needs --decode; did you mean --parse-special?");

  const Prompt prompt = read_prompt(input, true);
  const auto tokenizer = Tokenizer::load(model_dir);
  if (decode) {
    const std::vector<int32_t> ids = parse_ids(prompt.text, prompt.source);
    check_ids(ids, tokenizer->n_vocab(), prompt.source);
    write_stdout(tokenizer->decode(ids, !special));
  } else {
    write_stdout(join_ids(tokenizer->encode(prompt.text, !no_bos, parse_special)) + "\n");
  }
  return kDone;
}

}  // namespace seer::cli
