"""Bad files that a command line names: prompts, ids, messages, tools, configs of benches."""
import files
from rows import Run, row

COMMANDS = {
    "generate": ["generate", "-m", files.MODEL, "-n", "1", "-f"],
    "tokenize": ["tokenize", "-m", files.MODEL, "-f"],
    "perplexity": ["perplexity", "-m", files.MODEL, "-f"],
    "tune": ["tune", "-m", files.MODEL, "-g", files.GATES, "-f"],
    "inspect": ["inspect", "-m", files.MODEL, "-f"],
    "bench": ["bench", "-m", files.MODEL, "-p", "64", "-n", "0", "-r", "1", "-f"],
    "chat": ["chat", "-m", files.MODEL, "--chat-template", "none", "-f"],
}
STDIN = {"chat": "hello\n"}


def text_file(command, name, path, *words, code=3):
    def build():
        return Run([*COMMANDS[command], path], code, *words, stdin=STDIN.get(command))

    row("prompt", f"{command} -f: {name}")(build)


for command_name in COMMANDS:
    text_file(command_name, "missing", "/no/such/text", "/no/such/text", "No such file")
    text_file(command_name, "a folder", "/", "cannot read /", "found a folder")
    text_file(command_name, "a file that cannot be read", "/proc/self/mem", "/proc/self/mem", "Input/output error")
    text_file(command_name, "/dev/zero", "/dev/zero", "cannot read /dev/zero", "found a device")


def prompt(name, *words, code=2, arguments=("-f",), data=b""):
    def build():
        folder = files.Folder().write("prompt", data)
        return Run(["generate", "-m", files.MODEL, "-n", "1", *arguments, folder.path / "prompt"], code, *words,
                   folder=folder)

    row("prompt", name)(build)


IDS = ("--tokens-file",)
prompt("empty", "is empty", "at least one character")
prompt("only blanks as ids", "is empty", "at least one token id", arguments=IDS, data=b" \n\t")
prompt("ids that are text", "item 2, 'two', is not a token id", "whole numbers", arguments=IDS, data=b"1 two 3")
prompt("an id beyond 32 bits", "is not a token id", "whole numbers", arguments=IDS, data=b"1 99999999999")
prompt("a word of 1 MB as an id", "is not a token id", arguments=IDS, data=b"x" * 1_000_000)
prompt("an id that is not in the vocabulary", "token id 4096", "ids 0 to 4095", arguments=IDS, data=b"1 4096")
prompt("a negative id", "token id -1", "ids 0 to 4095", arguments=IDS, data=b"-1")


def messages(name, *words, code=2, data=b"", option="--messages"):
    def build():
        folder = files.Folder().write("file.json", data)
        folder.write("good.json", '[{"role": "user", "content": "x"}]')
        arguments = ["render", "-m", files.MODEL, "--chat-template", "none"]
        if option == "--tools":
            arguments += ["--messages", folder.path / "good.json"]
        return Run([*arguments, option, folder.path / "file.json"], code, *words, folder=folder)

    row("messages", f"{option}: {name}")(build)


messages("empty", "messages", "JSON", data="")
messages("cut short", "messages", "JSON", data='[{"role": "user"')
messages("an object", "messages", data='{"role": "user"}')
messages("nested 1,000,000 deep", "messages", data="[" * 1_000_000)
messages("a message that is a number", "messages", data="[1]")
messages("cut short", "tools", "JSON", data='[{"type"', option="--tools")
messages("an object", "tools", data="{}", option="--tools")


@row("messages", "--messages: missing")
def _():
    return Run(["render", "-m", files.MODEL, "--messages", "/no/such/file"], 3, "/no/such/file", "No such file")


@row("messages", "--messages: a folder")
def _():
    return Run(["render", "-m", files.MODEL, "--messages", "/"], 3, "cannot read /", "found a folder")


@row("bench", "--config: missing")
def _():
    return Run(["bench", "--random-weights", "--config", "/no/such/config.json"], 3, "/no/such/config.json",
               "no such file")


@row("bench", "--config: a device")
def _():
    return Run(["bench", "--random-weights", "--config", "/dev/zero"], 3, "/dev/zero: ", "found a device")


@row("bench", "--config: cut short")
def _():
    folder = files.Folder().write("config.json", '{"hidden_size": ')
    return Run(["bench", "--random-weights", "--config", folder.path / "config.json"], 3, "config.json", "JSON",
               folder=folder)


@row("serve", "a model that is cut short")
def _():
    folder = files.model()
    folder.write("model.safetensors", folder.read("model.safetensors")[:-1])
    return Run(["serve", "-m", folder, "--port", "0"], 3, "model.safetensors", "bytes of tensor data, found",
               folder=folder, writes=True)  # the address of the server
