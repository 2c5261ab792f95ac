"""Checks commands without running them: the programs, files and options that they name must exist."""
import functools
import json
import pathlib
import re
import shlex
import subprocess

# Programs that are not part of the project. Their options are not checked.
OTHERS = {"apt", "cat", "curl", "docker", "echo", "env", "export", "g++", "head", "hf", "jq", "mpirun", "tail"}
OPTION = re.compile(r"--?[A-Za-z][\w-]*")
SEPARATORS = {"&&", "||", "|", ";", "&"}


class Checker:
    def __init__(self, root, seer):
        self.root, self.seer = root, seer

    def _help(self, *arguments):
        done = subprocess.run([self.seer, *arguments, "--help"], capture_output=True, text=True, timeout=60, check=True)
        return done.stdout

    @functools.cached_property
    def subcommands(self):
        text = self._help().split("Commands:\n")[1].split("\n\n")[0]
        return set(re.findall(r"^  (\w+) ", text, re.MULTILINE))

    @functools.cache
    def options_of(self, subcommand):
        """Returns {option: whether it takes a value} for the options that `seer SUBCOMMAND --help` lists."""
        options = {}
        for line in self._help(subcommand).splitlines():
            head = re.match(r" +(-[^ ]+(?:, -[^ ]+)*)( [A-Z[][^ ]*)?(?:  |$)", line)
            if head:
                options |= {name: head[2] is not None for name in head[1].split(", ")}
        return options

    @functools.cached_property
    def all_options(self):
        return {option for subcommand in self.subcommands for option in self.options_of(subcommand)}

    def wrong(self, text, whole=True):
        """Returns a list of what is wrong with a command line. If it is not `whole`, an option may lack its value, and words in
        capitals stand for other words."""
        body = re.split(r"<<", text)[0].replace("\\\n", " ")  # drops the text of a here document
        try:
            lexer = shlex.shlex(body, posix=True, punctuation_chars="&|;<>")
            lexer.whitespace_split = True
            words = list(lexer)
        except ValueError as error:
            return [f"a shell would not read it: {error}"]
        found, command = [], []
        for word in [*words, ";"]:
            if word not in SEPARATORS:
                command.append(word)
            elif command:
                found += self._wrong_command(command, whole)
                command = []
        return found

    def _wrong_command(self, words, whole):
        if "mpirun" in words or words[0] == "env":  # these start the program that they name, which is checked
            at = next((i for i, word in enumerate(words) if pathlib.Path(word).name == "seer"), None)
            words = words[at:] if at is not None else words
        program, arguments = words[0], words[1:]
        if pathlib.Path(program).name == "seer":
            return self._wrong_seer(arguments, whole)
        if program == "cmake":
            return self._wrong_cmake(arguments)
        if program.startswith("$(") or program in OTHERS:
            return []
        if "/" in program:
            return self._wrong_script(program, arguments, whole)
        return [f"nobody knows the program {program}"]

    def _wrong_seer(self, arguments, whole):
        if not arguments or arguments[0].startswith("-"):
            return []
        subcommand, *arguments = arguments
        if not whole and subcommand.isupper():
            return []
        if subcommand not in self.subcommands:
            return [f"seer has no command {subcommand}"]
        options, found = self.options_of(subcommand), []
        while arguments:
            word = arguments.pop(0)
            if word in {"<", ">", ">>"} or not OPTION.fullmatch(word.split("=")[0]):
                continue
            name, equals, _ = word.partition("=")
            if name not in options:
                found.append(f"seer {subcommand} has no option {name}")
            elif options[name] and not equals and not arguments:
                found += [f"{name} has no value"] if whole else []
            elif options[name] and not equals:
                value = arguments.pop(0)
                if name in {"--config"} and not (self.root / value).is_file():
                    found.append(f"there is no file {value}")
        return found

    def _wrong_cmake(self, arguments):
        presets = {preset["name"] for preset in json.loads((self.root / "CMakePresets.json").read_text())["configurePresets"]}
        sources = "".join((self.root / name).read_text() for name in ("CMakeLists.txt", "engine/CMakeLists.txt"))
        found = []
        for word, value in zip(arguments, [*arguments[1:], ""]):
            if word == "--preset" and value not in presets:
                found.append(f"there is no preset {value}")
            if word == "--target" and value not in sources:
                found.append(f"there is no target {value}")
            option = re.match(r"-D(SEER_\w+)=", word)
            if option and not re.search(rf"\b{option[1]}\b", sources):
                found.append(f"there is no option {option[1]}")
        return found

    def _wrong_script(self, program, arguments, whole):
        path = self.root / program
        if not path.is_file():
            return [f"there is no file {program}"]
        if not path.stat().st_mode & 0o100:
            return [f"{program} is not executable"]
        if path.name == "quickstart.sh":  # it passes its arguments on to `seer`
            if not arguments or arguments[0].startswith("-"):
                arguments = ["generate", *arguments]
            return self._wrong_seer(arguments, whole)
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".sh":
            bash = subprocess.run(["bash", "-n", path], capture_output=True, text=True)
            if bash.returncode != 0:
                return [bash.stderr.strip()]
        return [f"{program} does not know {word}" for word in arguments
                if OPTION.fullmatch(word.split("=")[0]) and word.split("=")[0] not in text]
