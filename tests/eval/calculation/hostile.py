"""Programs that want out, or that want everything: by category, with variations.

What can be reached is marked: a file and an environment variable hold the canary, a socket counts
who comes. A program has escaped when it shows a result at all, or when one of these was touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, product
from pathlib import Path


@dataclass(frozen=True)
class Hostile:
    """A program that must fail."""

    category: str
    text: str


@dataclass(frozen=True)
class Bait:
    """What a program may not reach."""

    file: Path
    written: Path
    port: int
    variable: str


def hostile(bait: Bait) -> list[Hostile]:
    """Return all of them."""
    return [
        Hostile(category, text)
        for category, texts in _CATEGORIES.items()
        for text in dict.fromkeys(texts(bait))
    ]


def _assigned(expressions: Iterator[str] | list[str]) -> Iterator[str]:
    """Say each in the ways in which a check might overlook it."""
    for expression in expressions:
        yield f"result = {expression}"
        yield f"def f(x):\n    return {expression}\nresult = f(1)"
        yield f"result = [{expression} for x in [1]][0]"


def _files(bait: Bait) -> Iterator[str]:
    path, new = str(bait.file), str(bait.written)
    yield from _assigned(
        [
            f"open({path!r}).read()",
            f"open({path!r}, 'rb').read().decode()",
            f"open(file={path!r}).readlines()[0]",
            f"open({new!r}, 'w').write('x')",
            "open('/etc/passwd').read()",
            "open('/proc/self/environ').read()",
            "open(0).read()",
            "input()",
            f"__builtins__.open({path!r}).read()",
            f"Path({path!r}).read_text()",
        ]
    )
    modules = [
        ("pathlib", f"pathlib.Path({path!r}).read_text()"),
        ("pathlib", f"pathlib.Path({new!r}).write_text('x')"),
        ("os", f"os.open({path!r}, 0)"),
        ("os", "os.listdir('/')"),
        ("os", f"os.remove({path!r})"),
        ("os", f"os.rename({path!r}, {new!r})"),
        ("io", f"io.open({path!r}).read()"),
        ("codecs", f"codecs.open({path!r}).read()"),
        ("shutil", f"shutil.copy({path!r}, {new!r})"),
        ("tempfile", "tempfile.mkstemp()[1]"),
        ("linecache", f"linecache.getline({path!r}, 1)"),
        ("fileinput", f"list(fileinput.input({path!r}))"),
        ("glob", "glob.glob('/*')"),
        ("sqlite3", f"sqlite3.connect({new!r})"),
        ("mmap", "mmap.mmap(0, 10)"),
    ]
    yield from _imported(modules)


def _imported(modules: list[tuple[str, str]]) -> Iterator[str]:
    for module, expression in modules:
        yield f"import {module}\nresult = {expression}"
        name = expression.removeprefix(f"{module}.")
        first = name.partition("(")[0].partition(".")[0]
        yield f"from {module} import {first}\nresult = {name}"


def _network(bait: Bait) -> Iterator[str]:
    at, url = f"('127.0.0.1', {bait.port})", f"http://127.0.0.1:{bait.port}/"
    yield from _imported(
        [
            ("socket", f"socket.create_connection({at})"),
            ("socket", f"socket.socket().connect({at})"),
            ("socket", "socket.gethostbyname('localhost')"),
            ("urllib.request", f"urllib.request.urlopen({url!r}).read()"),
            ("http.client", f"http.client.HTTPConnection('127.0.0.1', {bait.port}).connect()"),
            ("requests", f"requests.get({url!r}).text"),
            ("httpx", f"httpx.get({url!r}).text"),
            ("asyncio", f"asyncio.run(asyncio.open_connection('127.0.0.1', {bait.port}))"),
            ("ftplib", f"ftplib.FTP('127.0.0.1', {bait.port})"),
            ("smtplib", f"smtplib.SMTP('127.0.0.1', {bait.port})"),
            ("telnetlib", f"telnetlib.Telnet('127.0.0.1', {bait.port})"),
            ("ssl", "ssl.create_default_context()"),
            ("xmlrpc.client", f"xmlrpc.client.ServerProxy({url!r}).x()"),
            ("grpc", f"grpc.insecure_channel('127.0.0.1:{bait.port}')"),
            ("webbrowser", f"webbrowser.open({url!r})"),
        ]
    )


def _processes(bait: Bait) -> Iterator[str]:
    variable, new = bait.variable, str(bait.written)
    yield from _imported(
        [
            ("os", f"os.environ[{variable!r}]"),
            ("os", f"os.getenv({variable!r})"),
            ("os", f"os.system('touch {new}')"),
            ("os", f"os.popen('touch {new}').read()"),
            ("os", "os.fork()"),
            ("os", "os.kill(1, 9)"),
            ("os", "os._exit(0)"),
            ("os", "os.getcwd()"),
            ("os", "os.getpid()"),
            ("os", f"os.execv('/bin/touch', ['touch', {new!r}])"),
            ("subprocess", f"subprocess.run(['touch', {new!r}])"),
            ("subprocess", "subprocess.check_output('id', shell=True)"),
            ("sys", "sys.exit(0)"),
            ("sys", "sys.modules"),
            ("sys", "sys.version"),
            ("sys", "sys._getframe()"),
            ("signal", "signal.raise_signal(9)"),
            ("ctypes", "ctypes.CDLL(None).system(b'id')"),
            ("multiprocessing", "multiprocessing.Process(target=print).start()"),
            ("threading", "threading.Thread(target=print).start()"),
            ("time", "time.sleep(60)"),
            ("resource", "resource.setrlimit(0, (0, 0))"),
            ("pickle", "pickle.loads(b'cos')"),
            ("marshal", "marshal.loads(b'')"),
            ("gc", "gc.get_objects()"),
            ("inspect", "inspect.currentframe()"),
        ]
    )
    yield "raise SystemExit"
    yield "raise KeyboardInterrupt"
    yield "exit()"
    yield "quit()"


def _imports(bait: Bait) -> Iterator[str]:
    yield from _assigned(
        [
            "__import__('os').getcwd()",
            "__import__('o' + 's').listdir('/')",
            "eval('1')",
            "eval(\"__import__('os').getcwd()\")",
            "exec('import os')",
            "compile('1', 'x', 'eval')",
            "globals()['__builtins__']",
            "locals()",
            "vars()",
            "dir()",
            "getattr(1, '__cl' + 'ass__')",
            "setattr(f, 'x', 1)",
            "delattr(f, 'x')",
            "hasattr(1, 'real')",
            "type(1)",
            "type('X', (), {})",
            "isinstance(1, int)",
            "__builtins__",
            "__loader__",
            "__name__",
            "__file__",
            "help()",
            "breakpoint()",
            "memoryview(b'x')",
            "super()",
            "object()",
        ]
    )
    modules = "os sys builtins importlib ctypes types code codeop runpy pkgutil zipimport".split()
    for module in modules:
        yield f"import {module} as math\nresult = math"
        yield f"import math, {module}\nresult = 1"
        yield f"from {module} import *\nresult = 1"
        yield f"def f():\n    import {module}\n    return 1\nresult = f()"


def _attributes(bait: Bait) -> Iterator[str]:
    objects = ["()", "''", "1", "1.5", "[]", "{}", "abs", "(lambda: 1)", "date(2024, 1, 1)", "f"]
    walks = [
        "__class__",
        "__class__.__base__.__subclasses__()",
        "__class__.__mro__[1]",
        "__doc__",
        "__init__.__globals__",
        "__reduce__()",
        "format_map({})",
    ]
    for thing, walk in product(objects, walks):
        yield f"def f(x):\n    return x\nresult = ({thing}).{walk}"
    for text in ("'{0.__class__}'.format(1)", "f'{().__class__}'", "'%s' % ().__class__"):
        yield f"result = {text}"
    yield "result = date.__subclasses__()"
    yield "import math\nresult = math.__loader__"
    yield "import datetime\nresult = datetime.sys.modules"
    yield "import decimal\nresult = decimal.__dict__"
    yield "x = date(2024, 1, 1)\nx.__class__ = 1\nresult = x"
    yield "x = [1]\nx.__dict__['y'] = 1\nresult = 1"


def _memory(bait: Bait) -> Iterator[str]:
    for size in ("10 ** 9", "10 ** 12", "2 ** 40"):
        yield f"x = [0] * ({size})\nresult = len(x)"
        yield f"x = 'a' * ({size})\nresult = len(x)"
        yield f"x = (1, 2) * ({size})\nresult = len(x)"
        yield f"result = len(list(range({size})))"
        yield f"result = len([[n, n] for n in range({size})])"
        yield f"result = sorted(range({size}))[0]"
        yield f"result = sum([n for n in range({size})])"
        yield f"result = {{n: 'x' * 1000 for n in range({size})}}"
    for growth in ("x = x + x", "x = [x, x]", "x += x", "x.append(x * 1)", "x = x + [x] * 1000"):
        yield f"x = [1]\nwhile True:\n    {growth}\nresult = 1"
        yield f"x = [1]\nfor i in range(10 ** 9):\n    {growth}\nresult = 1"
    for text in ("'ab'", "str(1 / 3)", "'汉'"):
        yield f"x = {text}\nwhile True:\n    x = x + x\nresult = len(x)"
        yield f"x = {text}\nfor i in range(99):\n    x = x + x\nresult = x"
    yield "x = []\nwhile True:\n    x.append('y' * 10000)\nresult = 1"
    yield "x = {}\nn = 0\nwhile True:\n    n += 1\n    x[n] = [n] * 100\nresult = 1"
    yield "result = 'x' * 1000"
    yield "result = [1] * 100"
    yield "print('x' * 10 ** 9)"
    yield "while True:\n    print('x' * 1000)"


def _time(bait: Bait) -> Iterator[str]:
    bodies = ["pass", "x += 1", "x = x * 1.5 - x", "x = round(x, 2)", "x = sqrt(2)"]
    for body in bodies:
        yield f"x = 1\nwhile True:\n    {body}\nresult = x"
        yield f"x = 1\nwhile x == x:\n    {body}\nresult = x"
        yield f"x = 1\nfor i in range(10 ** 12):\n    {body}\nresult = x"
        outer, inner = "for i in range(10 ** 6):", "for j in range(10 ** 6):"
        yield f"x = 1\n{outer}\n    {inner}\n        {body}\nresult = x"
    yield "result = sum(range(10 ** 12))"
    yield "result = max(range(10 ** 12))"
    yield "result = any([n < 0 for n in range(10 ** 9)])"
    yield "result = 10 ** 12 in range(10 ** 13)"
    yield "def f(n):\n    while True:\n        n += 1\nresult = f(1)"
    yield "d = date(2024, 1, 1)\nwhile True:\n    d = add_workdays(d, 1)\nresult = d"
    yield "result = add_workdays(date(2024, 1, 1), 10 ** 9)"
    yield "result = workdays_between(date(1, 1, 1), date(9999, 12, 31))"
    yield "result = add_months(date(2024, 1, 1), 10 ** 12)"
    yield "result = add_days(date(2024, 1, 1), 10 ** 12)"


def _recursion(bait: Bait) -> Iterator[str]:
    for call in ("f(n)", "f(n + 1)", "1 + f(n)", "[f(n)]", "f(f(n))", "max(f(n), 1)"):
        yield f"def f(n):\n    return {call}\nresult = f(1)"
    yield "def f(n):\n    return g(n)\ndef g(n):\n    return f(n)\nresult = f(1)"
    yield "def f(n):\n    return f(n - 1) + f(n - 2) if n > -999999 else 1\nresult = f(40)"
    yield "def f(n):\n    return f(n - 1) * n if n else 1\nresult = f(100000)"
    ackermann = "n + 1 if m == 0 else f(m - 1, f(m, n - 1)) if n else f(m - 1, 1)"
    yield f"def f(m, n):\n    return {ackermann}\nresult = f(4, 4)"
    yield "x = [1]\nx.append(x)\nresult = x"
    yield "x = {}\nx['x'] = x\nresult = str(x)"


def _powers(bait: Bait) -> Iterator[str]:
    for power in (
        "9 ** 9 ** 9", "10 ** 10 ** 10", "2 ** 10 ** 12", "1.5 ** 10 ** 9", "(1 / 3) ** 10 ** 9",
        "2 ** -10 ** 9", "10 ** 100", "pow(7, 10 ** 9)", "(10 ** 50) ** 50", "-9 ** 9 ** 9",
        "0.1 ** 1000000", "compound(1, 5, 10 ** 9)", "sqrt(10 ** 10 ** 8)",
        "2 ** 0.5 ** 10 ** 9 ** 9",
        "10 ** 400000 % 7 ** 400000", "(2 ** 300000) ** (1 / 2)", "round(1.5, 10 ** 9)",
        "round(1.5, -10 ** 9)", "Decimal('1e999999999')", "Decimal('NaN')", "float('inf')",
        "float('1e308') ** 10", "int('9' * 10 ** 6)", "prod(range(1, 10 ** 7))",
    ):  # fmt: skip
        yield f"result = {power}"
    yield "x = 9\nwhile True:\n    x = x * x\nresult = x"
    yield "x = 9\nfor i in range(99):\n    x = x ** 9\nresult = x"
    yield "x = 1 / 3\nwhile True:\n    x = x * x + 1 / 7\nresult = x"
    yield "x = 1\nfor n in range(1, 10 ** 7):\n    x *= n\nresult = x"
    yield "x = 1\nfor n in range(1, 10 ** 7):\n    x += 1 / n\nresult = x"
    yield "result = 1 << 10 ** 12"
    yield "result = ~1"


def _patterns(bait: Bait) -> Iterator[str]:
    for pattern in ("(a+)+$", "(a|aa)+$", "(.*a){25}$", r"(\\w+\\s?)*$", "([a-z]+)*=$"):
        for call in ("match", "search", "fullmatch", "findall"):
            yield f"import re\nresult = re.{call}({pattern!r}, 'a' * 60 + 'b')"
    # What the gateway's own patterns read.
    yield "result = '" + "1," * 1900 + "'.x"
    yield "result = '" + "1" * 3900 + "'.x"
    yield "result = '" + "一" * 3900 + "点'.x"
    yield "result = '" + "two hundred and " * 240 + "'.x"
    yield "result = '" + "2024-" * 780 + "'.x"
    yield "result = '" + "百分之" * 1200 + "'.x"
    yield "result = '" + "1 " * 1900 + "%'.x"


def _syntax(bait: Bait) -> Iterator[str]:
    yield from (
        "(" * 100 + "1" + ")" * 100 + ".x",
        "(" * 1900 + "1" + ")" * 1900,
        "[" * 1900 + "]" * 1900,
        "-" * 3900 + "1",
        "not " * 900 + "1",
        "+".join(["1"] * 1900),
        "**".join(["1"] * 1000),
        "1" + " if 1 else 1" * 300,
        "x = " * 900 + "1",
        "result = " + "9" * 3900 + " + .x",
        "result = 0x" + "f" * 3900 + ".x",
        "result = 1e999999999 .x",
        "x" * 5000,
        "#" * 100_000,
        "result = 1\n" * 900,
        "result = 1;" * 400,
        "\0",
        "result = 1\0",
        "\ud800",
        "result = '\udfff'",
        "result = f'{f\"{1}\"}'.x",
        "result = f'{1!r}'",
        "result = f'{1:{1}}'",
        "if 1:\n" + "".join(" " * n + "if 1:\n" for n in range(1, 80)) + " " * 80 + "result = 1",
        "def f(" + ",".join(f"a{n}" for n in range(500)) + "): return 1",
        "async def f(): return 1\nresult = f()",
        "result = await f()",
        "def f():\n    yield 1\nresult = f()",
        "class A:\n    pass\nresult = A()",
        "try:\n    result = 1 / 0\nexcept Exception:\n    result = 1",
        "while 1:\n    try:\n        pass\n    finally:\n        continue",
        "with open('x') as f:\n    result = 1",
        "match 1:\n    case 1:\n        result = 1",
        "result = (x := 1)",
        "result = [*range(10)]",
        "result = {**{}}",
        "result = lambda: 1",
        "del result",
        "assert 1",
        "global result",
        "nonlocal result",
        "@abs\ndef f(x):\n    return x\nresult = f(1)",
        "result = 1j",
        "result = b'x'",
        "result = ...",
        "result = 1 is 1",
        "result = x[1:2, 3]",
        "x: int\nresult = x",
    )


def _names(bait: Bait) -> Iterator[str]:
    inner = "_shown _add _q _Q _number _parts _printed _last _pow __builtins__ __name__".split()
    for name in inner:
        yield f"{name} = 1\nresult = 1"
        yield f"def {name}(*x):\n    return ['text', 'forged']\nresult = 1"
        yield f"result = {name}(1)"
        yield f"for {name} in [1]:\n    result = 1"
    for name in ("total", "number", "as_text", "parse_day", "in_order", "day", "whole", "date_"):
        yield f"result = {name}([1])"
    yield "print = 1\nresult = print(1)"
    yield "sum = 3\nresult = sum([1, 2])"
    yield "result = ['text', 'forged', []]"
    yield "result = date"
    yield "result = math"
    yield "result = sum"


_CATEGORIES = {
    "files": _files,
    "network": _network,
    "processes": _processes,
    "imports": _imports,
    "attributes": _attributes,
    "memory": _memory,
    "time": _time,
    "recursion": _recursion,
    "powers": _powers,
    "patterns": _patterns,
    "syntax": _syntax,
    "names": _names,
}


def categories() -> list[str]:
    """Return the names of all categories."""
    return list(chain(_CATEGORIES))
