"""Makes random templates and variables over the grammar that seer::jinja supports. Most of them render; some must fail."""

NAMES = ["a", "b", "c", "x", "item", "messages", "tools", "s", "n", "d", "xs", "flag", "missing", "none_value", "f", "u"]
WORDS = ["user", "assistant", "system", "role", "content", "name", "a", "b", "", " ", "Hello World", "foo-bar baz", "x\ny\n",
         "  padded \n", "<|im_start|>", "it's", 'say "hi"', "tab\there", "ÄÖß ümlaut", "日本語", "😀👩‍👩‍👧", "ǆ Ǆ ﬁ ŉ", "ΑΣ Σ ΣΑΣ", "1", "42",
         "-7", "3.5", "1e3", " 12 ", "0x1f", "nan", "null", "{}", "%s", "%d-%s", "{0}", "{:>5}", "a,b,c", "a b  c", "\u00a0x\u2003", "\x1f\x7f",
         "İstanbul", "line\r\nend\r", "\u2028z", "&<>'\"", "\\n", "Zz", "THE END", "camelCase", "a.b"]
FILTERS_STR = ["trim", "upper", "lower", "title", "capitalize", "string", "safe", "e", "reverse", "escape", "forceescape",
               "replace('a', 'b')", "replace('', '-')", "replace('l', '', 1)", "indent", "indent(2)", "indent(3, true)", "indent(2, blank=true)", "indent('>> ')",
               "center(20)", "truncate(5)", "truncate(8, true)", "truncate(9, false, '~', 0)", "tojson", "urlencode", "trim('x ')", "default('dd')", "d",
               "first", "last", "format", "center", "format(1)", "join('-')", "join"]
FILTERS_LIST = ["reverse|list", "sort", "sort(reverse=true)", "unique|list", "list", "map('string')|list", "map('upper')|list", "select|list", "reject|list",
                "select('string')|list", "reject('none')|list", "select('odd')|list", "map('trim')|list", "batch(2)|list", "batch(2, 'z')|list", "slice(2)|list", "slice(3, 0)|list",
                "map('tojson')|list", "select('in', ['a', 1])|list", "select('equalto', 1)|list", "select('>', 1)|list", "map('int')|list", "map('default', 'q')|list",
                "sort(case_sensitive=true)", "map('length')|list", "map('first')|list", "select('defined')|list", "list|reverse|list"]
FILTERS_DICTS = ["map(attribute='role')|list", "selectattr('role')|list", "selectattr('role', 'equalto', 'user')|list", "rejectattr('content', 'none')|list",
                 "map(attribute='content', default='?')|list", "sort(attribute='role')", "groupby('role')", "selectattr('content', 'defined')|list",
                 "map(attribute='content.0')|list", "rejectattr('role', 'eq', 'user')|list", "unique(attribute='role')|list", "sum(attribute='n')", "max(attribute='n')",
                 "selectattr('role', 'in', ['user', 'tool'])|list", "groupby('role', default='zz')", "sort(attribute='role,n')"]
FILTERS_TO_INT = ["length", "count", "int", "int(7)", "wordcount", "int(base=16)", "int(0, 2)", "abs", "sum", "min", "max", "round", "float", "round(1)", "float(2.5)", "first", "last",
                  "round(0, 'ceil')", "round(2, 'floor')", "round(-1)", "sum(start=3)"]
TESTS = ["defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "true", "false", "mapping", "iterable", "sequence", "callable", "odd", "even",
         "divisibleby(3)", "divisibleby 2", "eq(1)", "ne('a')", "lt(3)", "ge 2", "in [1, 'a']", "sameas none", "sameas(true)", "lower", "upper", "equalto('user')", "greaterthan(0)",
         "escaped", "gt(0)", "le(1.5)", "sameas false", "filter", "test"]
STR_METHODS = ["strip()", "lstrip()", "rstrip()", "strip('x ')", "split()", "split(' ')", "split(',', 1)", "split('</think>')", "rsplit(' ', 1)", "upper()", "lower()", "title()", "capitalize()",
               "replace('a', 'A')", "replace('', '.', 2)", "startswith('a')", "endswith(('b', ' '))", "find('o')", "rfind('o')", "count('a')", "splitlines()", "splitlines(true)", "isdigit()",
               "isalpha()", "isalnum()", "isspace()", "isupper()", "islower()", "istitle()", "removeprefix('He')", "removesuffix('ld')", "partition(' ')", "rpartition('-')", "center(12, '*')",
               "ljust(8)", "rjust(9, '0')", "zfill(6)", "swapcase()", "join(['a', 'b'])", "join('xyz')", "format(1, 2, a='z')", "isascii()", "isdecimal()", "isnumeric()", "index('a')", "expandtabs(4)",
               "lstrip('\\n')", "split('\\n')[0]", "split('-')[-1]", "startswith('e', 1)", "find('l', 2, -1)", "isprintable()", "isidentifier()", "count('')", "rstrip('\\n')", "encode", "split(sep=' ', maxsplit=1)",
               "split('')", "find('')", "format_map({'a': 1})", "rindex('a')"]
DICT_METHODS = ["items()", "keys()", "values()", "get('role')", "get('q', 'dflt')", "items()|list", "keys()|list", "values()|list", "get('content')|trim", "update({})", "pop('role')", "copy()", "get(1)"]
LIST_METHODS = ["index(1)", "count('a')", "append(1)", "copy()", "pop()", "index('a', 1)"]
FORMATS = ["'%s'|format({0})", "'%d items'|format({0})", "'%5s|%-5s|'|format({0}, {1})", "'%r'|format({0})", "'%05.1f'|format({0})", "'%x'|format({0})", "'%(k)s'|format(k={0})", "'%s %s' % ({0}, {1})",
           "'%s' % {0}", "'{{}} {{}}'.format({0}, {1})", "'{{0!r:>8}}'.format({0})", "'{{:05d}}'.format({0})", "'{{:,.2f}}'.format({0})", "'{{k}}'.format(k={0})", "'{{:^9}}'.format({0})", "'{{:<7}}|'.format({0})",
           "'%+d'|format({0})", "'%e'|format({0})", "'%g'|format({0})", "'%c'|format({0})", "'%%'|format", "'{{:+}}'.format({0})", "'{{:x}}'.format({0})", "'{{:.3}}'.format({0})", "'{{:_}}'.format({0})", "'{{:%}}'.format({0})",
           "'{{0[0]}}'.format({0})", "'{{0.role}}'.format({0})", "'{{:{{}}}}'.format({0}, 5)", "'%-8.2e|'|format({0})", "'%#x'|format({0})", "'% d'|format({0})", "'{{:#o}}'.format({0})", "'{{:e}}'.format({0})", "'{{:08.3f}}'.format({0})"]
TOJSON = ["", "(indent=2)", "(sort_keys=true)", "(ensure_ascii=true)", "(true, 1)", "(separators=(1, 2))", "(separators=(',', ':'))", "(none, none, [s, u])", "(indent=0)", "(indent='--')"]
DATES = ["%Y-%m-%d", "%d %b %Y", "%B %d, %Y", "%H:%M:%S", "%A %a %j %U %w %y %p %I", "%x %X %c", "%%", "%e %-d %Z|%z", "é%d日", "%G-W%V-%u %D %F %T %R %h"]


class Grammar:
    def __init__(self, random):
        self.r = random
        self.loops = 0
        self.macros = []
        self.vars = []

    def pick(self, options):
        return options[self.r.randrange(len(options))]

    def chance(self, p):
        return self.r.random() < p

    def wrap(self, text):
        return f"({text})" if self.chance(0.95) else text

    # Variables.
    def json(self, depth=0):
        k = self.r.random()
        if depth > 2 or k < 0.35:
            return self.pick(WORDS)
        if k < 0.5:
            return self.pick([0, 1, 2, 3, -1, 7, 100, 255, -45, 10**9])
        if k < 0.58:
            return self.pick([0.0, 1.5, -2.25, 1e22, 1e-7, 3.14159, 2.5, 0.1, 1e16, 123456789.125, -0.0])
        if k < 0.68:
            return self.pick([True, False, None])
        if k < 0.85:
            return [self.json(depth + 1) for _ in range(self.r.randrange(4))]
        return {self.pick(["role", "content", "name", "a", "b", "n", "items", "é", "x y"]): self.json(depth + 1) for _ in range(self.r.randrange(4))}

    def variables(self):
        message = lambda: {"role": self.pick(["user", "assistant", "system", "tool"]),
                           "content": self.pick([self.pick(WORDS), self.pick(WORDS), None, [{"type": "text", "text": self.pick(WORDS)}]]), "n": self.r.randrange(-3, 9)}
        return {"messages": [message() for _ in range(self.r.randrange(5))], "tools": self.pick([None, [], [{"name": "f", "parameters": {"type": "object", "properties": {"q": {"type": "string"}}}}]]),
                "s": self.pick(WORDS), "u": self.pick(WORDS), "n": self.r.randrange(-5, 20), "f": self.pick([0.5, 2.0, -1.25, 1e10]), "d": {"role": "user", "b": self.json(1), "items": [1, 2]},
                "xs": [self.json(2) for _ in range(self.r.randrange(5))], "flag": self.chance(0.5), "none_value": None, "a": self.json(), "item": self.json()}

    # Expressions.
    def string_literal(self):
        word = self.pick(WORDS)
        quote = self.pick("'\"")
        out = []
        for c in word:
            if c in "\\" + quote:
                out.append("\\" + c)
            elif c == "\n" and self.chance(0.8):
                out.append("\\n")
            elif c == "\r":
                out.append("\\r")
            elif ord(c) > 127 and self.chance(0.2):
                out.append("\\u%04x" % ord(c) if ord(c) < 65536 else "\\U%08x" % ord(c))
            else:
                out.append(c)
        return quote + "".join(out) + quote

    def name(self):
        return self.pick(self.vars + NAMES) if self.chance(0.4) and self.vars else self.pick(NAMES)

    def number(self):
        return self.pick(["0", "1", "2", "3", "7", "10", "-1", "-3", "1.5", "0.25", "2.0", "1e3", "100", "0x1f", "1_000", "True", "n", "n", "f", "0b101", "0o17"])

    def integer(self, d):
        k = self.r.random()
        if d <= 0 or k < 0.4:
            return self.number()
        if k < 0.6:
            return f"({self.integer(d - 1)} {self.pick(['+', '-', '*', '//', '%', '/'])} {self.integer(d - 1)})"
        if k < 0.65:
            return f"{self.integer(d - 1)} {self.pick(['+', '-', '*', '//', '%', '/', '~'])} {self.integer(d - 1)} {self.pick(['+', '*'])} {self.number()}"
        if k < 0.7:
            return f"{self.pick(['2', 'n', '-2', '1.5'])} ** {self.pick(['2', '3', '0', '-1', '0.5'])}"
        if k < 0.85:
            return self.wrap(f"{self.any(d - 1)}|{self.pick(FILTERS_TO_INT)}")
        if k < 0.9 and self.loops:
            return "loop." + self.pick(["index", "index0", "revindex", "revindex0", "length", "depth", "depth0"])
        return f"-{self.number()}"

    def string(self, d):
        k = self.r.random()
        if d <= 0 or k < 0.25:
            return self.pick([self.string_literal(), "s", "u", self.string_literal()])
        if k < 0.4:
            return f"({self.string(d - 1)} {self.pick(['+', '~'])} {self.pick([self.string, self.string, self.any])(d - 1)})"
        if k < 0.58:
            return self.wrap(f"{self.string(d - 1)}|{self.pick(FILTERS_STR)}")
        if k < 0.72:
            return f"{self.string(d - 1)}.{self.pick(STR_METHODS)}"
        if k < 0.8:
            return f"{self.string(d - 1)}{self.slice(d)}"
        if k < 0.86:
            return "(" + self.pick(FORMATS).format(self.any(d - 1), self.any(d - 1)) + ")"
        if k < 0.88:
            return f"strftime_now({self.pick(DATES)!r})"
        if k < 0.92:
            return self.wrap(f"{self.any(d - 1)}|tojson{self.pick(TOJSON)}")
        if k < 0.95:
            return self.wrap(f"{self.any(d - 1)}|string")
        return self.wrap(f"{self.string(d - 1)} * {self.pick(['2', '0', '-1', 'n'])}")

    def slice(self, d, index=True):
        part = lambda: self.pick(["", "", "0", "1", "2", "-1", "-2", "n", "none", "5"])
        if index and self.chance(0.3):
            return f"[{self.pick(['0', '-1', '1', 'n', '5'])}]"
        return f"[{part()}:{part()}" + (f":{self.pick(['', '1', '-1', '2', '-2', '0'])}]" if self.chance(0.4) else "]")

    def list(self, d):
        k = self.r.random()
        if d <= 0 or k < 0.2:
            return self.pick(["xs", "messages", "[]", "[1, 2, 3]", "['b', 'a', 'C']", "range(4)", "d.items()"])
        if k < 0.4:
            return "[" + ", ".join(self.any(d - 1) for _ in range(self.r.randrange(4))) + "]"
        if k < 0.45:
            return "(" + "".join(self.any(d - 1) + ", " for _ in range(self.r.randrange(1, 3))) + ")"
        if k < 0.6:
            return self.wrap(f"{self.list(d - 1)}|{self.pick(FILTERS_LIST)}")
        if k < 0.75:
            return self.wrap(f"messages|{self.pick(FILTERS_DICTS)}")
        if k < 0.82:
            # Only slices, no single items: an item may be a number, and a slice of a number is undefined to jinja2 in a constant
            # expression, but an error elsewhere.
            return f"{self.list(d - 1)}{self.slice(d, index=False)}"
        if k < 0.87:
            return self.wrap(f"{self.list(d - 1)} + {self.list(d - 1)}")
        if k < 0.9:
            return f"{self.list(d - 1)}.{self.pick(LIST_METHODS)}"
        if k < 0.93:
            return f"{self.string(d - 1)}.split({self.pick(['', repr(' '), repr('a')])})"
        if k < 0.96:
            return self.wrap(f"{self.dict(d - 1)}|{self.pick(['list', 'items', 'items|list', 'dictsort', 'dictsort(true)', 'dictsort(by=' + repr('value') + ')', 'dictsort(reverse=true)'])}")
        return f"range({self.pick(['3', 'n', '1, 5', '5, 0, -2', '2, n', 'xs|length'])})"

    def dict(self, d):
        k = self.r.random()
        if d <= 0 or k < 0.4:
            return self.pick(["d", "{}", "messages[0]", "item", "{'a': 1, 'b': 'c'}", "tools[0]"])
        if k < 0.8:
            key = lambda: self.pick([self.string_literal(), self.string_literal(), "1", "true", "none", "(1, 2)", "1.0", "s"])
            return "{" + ", ".join(f"{key()}: {self.any(d - 1)}" for _ in range(self.r.randrange(4))) + "}"
        if k < 0.9:
            return f"dict({self.pick(['', 'd', '[[1, 2]]', 'd, '])}{self.pick(['', 'z=1', 'role=s'])})"
        return self.wrap(f"{self.list(d - 1)}|first")

    def boolean(self, d):
        k = self.r.random()
        if d <= 0 or k < 0.15:
            return self.pick(["flag", "true", "false", "none", "n > 2", "s == 'user'", "messages", "tools", "missing"])
        if k < 0.4:
            return self.wrap(f"{self.any(d - 1)} is {self.pick(['', '', 'not '])}{self.pick(TESTS)}")
        if k < 0.6:
            return f"({self.any(d - 1)} {self.pick(['==', '!=', 'in', 'not in', '<', '>=', '==', '!='])} {self.any(d - 1)})"
        if k < 0.68:
            return f"{self.integer(d - 1)} {self.pick(['<', '<=', '>'])} {self.integer(d - 1)} {self.pick(['<', '>=', '!=', '=='])} {self.integer(d - 1)}"
        if k < 0.76:
            return f"{self.pick([self.string_literal(), self.string(d - 1)])} in {self.pick([self.string, self.list, self.dict])(d - 1)}"
        if k < 0.9:
            return f"({self.boolean(d - 1)} {self.pick(['and', 'or'])} {self.any(d - 1)})"
        if k < 0.94 and self.loops:
            return self.pick(["loop.first", "loop.last", "loop.changed(item)", "loop.previtem", "loop.nextitem is defined", "not loop.first"])
        return self.wrap(f"not {self.boolean(d - 1)}")

    def any(self, d):
        k = self.r.random()
        if k < 0.3:
            return self.string(d)
        if k < 0.45:
            return self.integer(d)
        if k < 0.55:
            return self.boolean(d)
        if k < 0.65:
            return self.list(d)
        if k < 0.72:
            return self.dict(d)
        if d <= 0 or k < 0.8:
            return self.name()
        if k < 0.86:
            return f"{self.name()}.{self.pick(['role', 'content', 'name', 'a', 'items', 'n', 'b'])}"
        if k < 0.9:
            return f"{self.name()}[{self.pick([repr('role'), repr('content'), '0', '-1', 's', 'n', repr('items')])}]"
        if k < 0.93:
            return f"{self.dict(d - 1)}.{self.pick(DICT_METHODS)}"
        if k < 0.97:
            return f"({self.any(d - 1)} if {self.boolean(d - 1)}" + (f" else {self.any(d - 1)})" if self.chance(0.7) else ")")
        if self.macros and self.chance(0.7):
            return self.call_macro(d)
        return self.wrap(f"{self.name()}|default({self.any(d - 1)}{self.pick(['', ', true'])})")

    def call_macro(self, d):
        arguments = [self.any(d - 2) for _ in range(self.r.randrange(3))]
        if self.chance(0.3):
            arguments.append(f"{self.pick(['p', 'q', 'zz'])}={self.any(d - 2)}")
        if self.chance(0.1):
            arguments.append(self.pick(["*xs", "**d", "*[1]"]))
        return f"{self.pick(self.macros)}({', '.join(arguments)})"

    # Statements.
    def open(self):
        return "{%" + self.pick(["", "", "", "-", "-", "+"])

    def close(self):
        return self.pick(["", "", "", "-", "-", "+"]) + "%}"

    def tag(self, text):
        return f"{self.open()} {text} {self.close()}"

    def text(self):
        return self.pick(["", " ", "\n", "  \n  ", "text", "\n\n", "a {# note #} b", "{#- c -#}", "  ", "\t", "é日", "x\n  ", "<|im_end|>\n", "{# x #}\n", "{ ", "} ", "{% raw %}{{ no }}{% endraw %}", "{%- raw -%} {% endraw +%}\n", "\r\n", "$"])

    def output(self, d):
        sign, end = self.pick(["", "", "-", "+"]), self.pick(["", "", "-"])
        return "{{" + sign + " " + self.any(d) + " " + end + "}}"

    def block(self, d):
        return "".join(self.statement(d) for _ in range(self.r.randrange(1, 4)))

    def statement(self, d):
        k = self.r.random()
        if d <= 0 or k < 0.25:
            return self.text()
        if k < 0.55:
            return self.output(self.r.randrange(4))
        if k < 0.66:
            elif_ = self.tag("elif " + self.boolean(2)) + self.block(d - 1) if self.chance(0.3) else ""
            else_ = self.tag("else") + self.block(d - 1) if self.chance(0.5) else ""
            return self.tag("if " + self.boolean(2)) + self.block(d - 1) + elif_ + else_ + self.tag("endif")
        if k < 0.78:
            return self.loop(d)
        if k < 0.9:
            return self.set(d)
        if k < 0.94:
            return self.macro(d)
        if k < 0.955 and self.macros:
            return self.tag(f"call{self.pick(['', '', '(z)', '(z=1)'])} {self.call_macro(2)}") + self.block(d - 1) + self.tag("endcall")
        if k < 0.97:
            return self.tag("filter " + self.pick(["upper", "trim", "indent(2)", "replace('a', s)", "title|trim"])) + self.block(d - 1) + self.tag("endfilter")
        if k < 0.985:
            return self.tag(f"with {self.pick(['x', 'a', 'zz'])} = {self.any(2)}") + self.block(d - 1) + self.tag("endwith")
        return self.tag("generation") + self.block(d - 1) + self.tag("endgeneration")

    def loop(self, d):
        target, iterable = self.pick(["x", "item", "m", "x"]), self.list(2)
        if self.chance(0.2):
            target, iterable = self.pick(["k, v", "k, v", "a, b"]), self.pick([self.dict(1) + "|items", "d.items()", "[(1, 2), (3, 4)]", self.dict(1) + ".items()", "messages|groupby('role')", "xs"])
        condition = f" if {self.pick([target.split(',')[0], self.boolean(1)])}" if self.chance(0.25) else ""
        self.loops += 1
        saved = list(self.vars)
        self.vars += target.replace(" ", "").split(",")
        body = self.block(d - 1)
        if self.chance(0.2):
            body += self.tag("if " + self.boolean(1)) + self.tag(self.pick(["break", "continue"])) + self.tag("endif") + self.text()
        self.vars = saved
        self.loops -= 1
        else_ = self.tag("else") + self.block(d - 1) if self.chance(0.2) else ""
        return self.tag(f"for {target} in {iterable}{condition}") + body + else_ + self.tag("endfor")

    def set(self, d):
        k = self.r.random()
        name = self.pick(["x", "a", "b", "z", "item", "acc"])
        if k < 0.55:
            text = self.tag(f"set {name} = {self.any(3)}")
        elif k < 0.65:
            text = self.tag(f"set {name}, z = {self.any(1)}, {self.any(1)}")
        elif k < 0.78:
            text = self.tag(f"set {name}{self.pick(['', '', ' | upper', ' | trim | length'])}") + self.block(d - 1) + self.tag("endset")
        elif k < 0.9 or "ns" not in self.vars:
            text = self.tag(f"set ns = namespace({self.pick(['', 'v=0', 'v=s, w=[]', 'd'])})") + self.pick(["", self.tag(f"set ns.v = {self.any(2)}"), self.tag("for x in xs") + self.tag("set ns.v = x") + self.tag("endfor")])
            text += "{{ ns." + self.pick(["v", "w", "q"]) + " }}"
            name = "ns"
        else:
            text = self.tag(f"set ns.v = {self.any(1)}")
            name = "ns"
        if name not in self.vars:
            self.vars.append(name)
        return text

    def macro(self, d):
        name = self.pick(["m1", "m2", "m3"])
        saved, loops = list(self.vars), self.loops
        self.vars += ["p", "q"]
        self.loops = 0
        body = self.block(d - 1) + self.pick(["", "", "{{ p }}", "{{ caller() }}", "{{ caller(1) if caller }}", "{{ varargs }}{{ kwargs }}", "{{ q }}"])
        self.vars, self.loops = saved, loops
        self.macros.append(name)
        return self.tag(f"macro {name}({self.pick(['', 'p', 'p, q=1', 'p=s, q=p', 'p, q'])})") + body + self.tag("endmacro")

    def template(self):
        self.vars, self.macros, self.loops = [], [], 0
        return "".join(self.statement(3) for _ in range(self.r.randrange(1, 7)))
