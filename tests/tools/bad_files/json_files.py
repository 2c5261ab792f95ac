"""Bad config.json and generation_config.json."""
import files
from rows import row, with_model

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0123456789abcdef\nsize 4976698672\n"


def config(name, *words, text=None, code=3, **keys):
    def build():
        folder = files.model()
        if text is None:
            folder.change("config.json", **keys)
        else:
            folder.write("config.json", text() if callable(text) else text)
        return with_model(folder, "config.json", *words, code=code)

    row("config.json", name)(build)


@row("config.json", "4096 layers")
def _():
    return with_model(files.model().change("config.json", num_hidden_layers=4096), "config.json", "missing: ", "more;")


def generation(name, *words, text=None, **keys):
    def build():
        folder = files.model()
        if text is None:
            folder.change("generation_config.json", **keys)
        else:
            folder.write("generation_config.json", text)
        return with_model(folder, "generation_config.json", *words)

    row("generation_config.json", name)(build)


def cut():
    return (files.MODEL / "config.json").read_bytes()[:100]


config("empty", "expected", "JSON", text="")
config("cut short", "expected", "JSON", text=cut)
config("no JSON", "expected", "JSON", text="hidden_size: 256\n")
config("a list", "expected a JSON object, found", text="[1, 2]")
config("nested 65 deep", "nested more than 64 deep", text='{"a":' * 65 + "1" + "}" * 65)
config("nested 1,000,000 deep", "nested more than 64 deep", text=lambda: '{"a":' + "[" * 1_000_000)
config("a key twice", "there twice", text='{"hidden_size": 1, "hidden_size": 2}')
config("NaN", "rms_norm_eps", "finite", text='{"rms_norm_eps": NaN}')
config("17 MB of blanks", "at most 16 MiB", text=lambda: " " * 17_000_000)
config("no UTF-8", "JSON", text=b'{"architectures": ["\xff\xfe"]}')
config("UTF-16", "JSON", text=lambda: cut().decode().encode("utf-16"))
config("Git LFS pointer", "Git LFS pointer", "git lfs pull", text=POINTER)
config("web page", "web page", "download", text="<!DOCTYPE html><html></html>")
config("another architecture", "GPT2LMHeadModel", "expected", architectures=["GPT2LMHeadModel"], model_type="gpt2")
config("an architecture of 1 MB", "is not supported; expected", architectures=["x" * 1_000_000], model_type="x")
config("a key of 1 MB twice", "there twice",
       text=lambda: '{"%s": 1, "%s": 2}' % ("k" * 1_000_000, "k" * 1_000_000))
config("architectures no list", "architectures", "a list of names", architectures=7)
config("two families", "name different families", "Make them agree", model_type="qwen2")
config("a size as text", "hidden_size", "an integer from 1 to", "found", hidden_size="256")
config("a negative size", "hidden_size", "an integer from 1 to", "found -1", hidden_size=-1)
config("a size of 1e300", "hidden_size", "an integer from 1 to", hidden_size=1e300)
config("positions of 2^30 + 1", "max_position_embeddings", "an integer from 1 to 1073741824", "found 1073741825",
       max_position_embeddings=2**30 + 1)
config("positions of 2^31", "max_position_embeddings", "an integer from 1 to 1073741824", "found 2147483648",
       max_position_embeddings=2**31)
config("positions beyond 64 bits", "max_position_embeddings", "an integer from 1 to 1073741824",
       "found 1.8446744073709552e+19", max_position_embeddings=2**64)
config("an id of 2^31", "eos_token_id", "integers up to 2147483647", "found 2147483648", eos_token_id=2**31)
config("4097 layers", "num_hidden_layers", "from 1 to 4096", num_hidden_layers=4097)
config("heads that do not divide", "num_attention_heads (4)", "multiple of num_key_value_heads (3)",
       num_attention_heads=4, num_key_value_heads=3)
config("an odd head size", "even head size", "found 63", head_dim=63)
config("quantised by another method", "quant_method", "expected", "bitsandbytes", quantization_config={"quant_method": "bitsandbytes"})
config("quantised, without its sizes", "bits", "expected", quantization_config={"quant_method": "gptq"})
config("another activation", "hidden_act 'gelu'", "expected silu", hidden_act="gelu")
config("another rope", "rope", "yarnish", rope_scaling={"rope_type": "yarnish", "factor": 2.0})
config("a negative rope factor", "factor", rope_scaling={"rope_type": "linear", "factor": -2.0})
config("ids as text", "eos_token_id", "a token id or a list", eos_token_id="</s>")

generation("cut short", "expected", "JSON", text='{"temperature": 0.')
generation("a temperature as text", "temperature", "a number from", "found", temperature="warm")
generation("top_p of 2", "top_p", "a number from 0 to 1", "found 2", top_p=2)
generation("ids as text", "eos_token_id", "a token id", eos_token_id="</s>")
generation("Git LFS pointer", "Git LFS pointer", "git lfs pull", text=POINTER)
