"""Programs that a model writes for a calculation: what they may say, and how they become exact.

A program is a small part of Python: assignments, loops, conditions, functions and arithmetic, with
the helper functions named in :data:`HELPERS`. It is read here, never run here. What it says is
rewritten so that every operator and helper works on exact numbers (a sandbox's floats round
differently from machine to machine), and every number in it is compared with those of the question:
one that neither stands there nor is a unit's common constant is a guess.
"""

from __future__ import annotations

import ast
import builtins
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from atrium_grounding.quantities import QuantityKind, find_quantities
from atrium_grounding.tokens import fold

MOST_CHARACTERS: Final = 4_000
"""Of a program."""

_MOST_NODES: Final = 2_000
_DEEPEST: Final = 60
_MOST_DIGITS_TO_ROUND: Final = 12

HELPERS: Final[dict[str, str]] = {
    "abs": "absolute",
    "sum": "total",
    "min": "minimum",
    "max": "maximum",
    "sorted": "in_order",
    "round": "round_half_up",
    "int": "whole",
    "float": "number",
    "Decimal": "number",
    "Fraction": "_div",
    "str": "as_text",
    "len": "len",
    "range": "range",
    "list": "list",
    "tuple": "tuple",
    "enumerate": "enumerate",
    "zip": "zip",
    "reversed": "reversed",
    "any": "any",
    "all": "all",
    "divide": "_div",
    "pow": "_pow",
    "prod": "product",
    "average": "average",
    "mean": "average",
    "median": "median",
    "floor": "floor",
    "ceil": "ceil",
    "sqrt": "sqrt",
    "round_half_up": "round_half_up",
    "round_half_even": "round_half_even",
    "percent": "percent",
    "percent_of": "percent_of",
    "percent_change": "percent_change",
    "compound": "compound",
    "date": "day",
    "datetime": "day",
    "fromisoformat": "parse_day",
    "strptime": "parse_day",
    "timedelta": "days",
    "days_between": "days_between",
    "add_days": "add_days",
    "add_months": "add_months",
    "add_years": "add_years",
    "workdays_between": "workdays_between",
    "add_workdays": "add_workdays",
    "last_day_of_month": "last_day_of_month",
    "weekday": "weekday",
    "age": "age",
}
"""Functions that a program may call, each with its exact counterpart in the sandbox."""

_MODULES: Final = frozenset({"math", "datetime", "decimal", "date", "fractions", "statistics"})
_TODAY: Final = frozenset({"today", "now", "utcnow"})
_READ: Final = frozenset({"year", "month", "day", "days"})
_METHODS: Final = frozenset({"append", "weekday", "isoweekday", "isoformat", "days"})
_RESULTS: Final = ("result", "answer")
_ROUNDING: Final = frozenset({"round", "round_half_up", "round_half_even"})
_OPERATORS: Final[dict[type[ast.operator], str]] = {
    ast.Add: "_add",
    ast.Sub: "_sub",
    ast.Mult: "_mul",
    ast.Div: "_div",
    ast.FloorDiv: "_floordiv",
    ast.Mod: "_mod",
    ast.Pow: "_pow",
}
_COMPARISONS: Final[dict[type[ast.cmpop], str]] = {
    ast.Lt: "_lt",
    ast.LtE: "_le",
    ast.Gt: "_gt",
    ast.GtE: "_ge",
    ast.Eq: "_eq",
    ast.NotEq: "_ne",
    ast.In: "_in",
    ast.NotIn: "_not_in",
}
_STATEMENTS: Final = (
    ast.Assign,
    ast.AugAssign,
    ast.AnnAssign,
    ast.Expr,
    ast.If,
    ast.For,
    ast.While,
    ast.FunctionDef,
    ast.Return,
    ast.Pass,
    ast.Break,
    ast.Continue,
    ast.Import,
    ast.ImportFrom,
)


class ProgramRefused(Exception):
    """A program says what it may not; the message tells what and why."""


class ProgramFailed(Exception):
    """A program failed while it ran, or went over a limit; the message tells why."""


class Guessed(Exception):
    """A program needs quantities that the question does not give.

    Attributes:
        names: What it calls them.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(", ".join(names))
        self.names = tuple(names)


@dataclass(frozen=True, slots=True)
class Given:
    """The numbers that a question gives."""

    numbers: frozenset[Fraction]


def exact(program: str, given: Given) -> str:
    """Return a program rewritten to exact arithmetic, ready for the sandbox.

    Its last expression is what is shown.

    Raises:
        ProgramRefused: It is no program, or says what it may not.
        Guessed: It needs quantities that are not given.
    """
    tree = _read(program)
    checked = _Checked(program, tree, given)
    statements = [new for node in tree.body for new in _as_list(checked.statement(node))]
    if checked.guesses:
        raise Guessed(list(dict.fromkeys(checked.guesses)))
    result = checked.result_name()
    if result is None:
        raise ProgramRefused("it sets no result; assign what is asked for to `result`")
    statements.append(ast.Expr(_call("_shown", [ast.Name(result, ast.Load())])))
    module = ast.fix_missing_locations(ast.Module(statements, []))
    return ast.unparse(module)


def _as_list(node: ast.stmt | None) -> list[ast.stmt]:
    return [] if node is None else [node]


def _read(program: str) -> ast.Module:
    if len(program) > MOST_CHARACTERS:
        raise ProgramRefused(f"it has more than {MOST_CHARACTERS} characters")
    try:
        tree = ast.parse(program)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        what = error.msg if isinstance(error, SyntaxError) else "it is nested too deeply"
        raise ProgramRefused(f"it is no valid program: {what}") from error
    level: list[ast.AST] = [tree]
    nodes = depth = 0
    while level:  # by levels, as a deep tree would exhaust the stack
        nodes += len(level)
        depth += 1
        if nodes > _MOST_NODES or depth > _DEEPEST:
            raise ProgramRefused("it is too long or nested too deeply")
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    return tree


def _call(function: str, arguments: list[ast.expr]) -> ast.Call:
    return ast.Call(ast.Name(function, ast.Load()), arguments, [])


class _Checked:
    """Checks and rewrites one program, node by node; what is not listed here is refused."""

    def __init__(self, program: str, tree: ast.Module, given: Given) -> None:
        self._program = program
        self._given = given
        self._functions = {
            node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
        }
        self._stores = Counter(
            node.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        )
        self._names = {*self._stores, *(n.arg for n in ast.walk(tree) if isinstance(n, ast.arg))}
        self._last = ""
        self._printed = False
        self.guesses: list[str] = []

    def result_name(self) -> str | None:
        """Return the variable that holds the result."""
        for name in _RESULTS:
            if name in self._names:
                return self._own_name(name)
        if self._printed:
            return "_printed"
        return self._last or None

    # Statements

    def statement(self, node: ast.stmt) -> ast.stmt | None:
        """Return a statement rewritten; None when nothing is left of it."""
        if not isinstance(node, _STATEMENTS):
            raise ProgramRefused(f"{_spoken(node)} is not allowed")
        match node:
            case ast.Import() | ast.ImportFrom():
                self._check_import(node)
                return None
            case ast.Assign(targets=[target]):
                return self._assign(target, node.value)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                return self._assign(target, value)
            case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                current = ast.BinOp(ast.Name(name, ast.Load()), op, value)
                return self._assign(ast.Name(name, ast.Store()), current)
            case ast.Expr(value=ast.Constant(value=str())):
                return None  # a comment
            case ast.Expr(value=ast.Call(func=ast.Name(id="print"), args=arguments)):
                self._printed = True
                shown = self._expressions(arguments)
                value = shown[0] if len(shown) == 1 else ast.List(shown, ast.Load())
                return ast.Assign([ast.Name("_printed", ast.Store())], value)
            case ast.Expr(value=value):
                if _is_append(value):
                    return ast.Expr(self.expression(value))
                self._last = "_last"
                return ast.Assign([ast.Name("_last", ast.Store())], self.expression(value))
            case ast.If(test=test, body=body, orelse=otherwise):
                return ast.If(self.expression(test), self._block(body), self._block(otherwise))
            case ast.For(target=target, iter=over, body=body, orelse=[]):
                return ast.For(
                    self._target(target), self.expression(over), self._block(body), [], None
                )
            case ast.While(test=test, body=body, orelse=[]):
                return ast.While(self.expression(test), self._block(body), [])
            case ast.FunctionDef():
                return self._function(node)
            case ast.Return(value=value):
                return ast.Return(None if value is None else self.expression(value))
            case ast.Pass() | ast.Break() | ast.Continue():
                return node
        raise ProgramRefused(f"this form of {_spoken(node)} is not allowed")

    def _check_import(self, node: ast.Import | ast.ImportFrom) -> None:
        names = (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
        )
        for name in names:
            if name not in _MODULES:
                raise ProgramRefused(f"importing {name!r} is not allowed")

    def _block(self, nodes: list[ast.stmt]) -> list[ast.stmt]:
        block = [new for node in nodes for new in _as_list(self.statement(node))]
        return block or ([ast.Pass()] if nodes else [])

    def _function(self, node: ast.FunctionDef) -> ast.stmt:
        arguments = node.args
        plain = not (
            arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.posonlyargs
        )
        if node.decorator_list or not plain:
            raise ProgramRefused("functions may have plain arguments only, and no decorators")
        new = ast.arguments(
            [], [ast.arg(self._own_name(each.arg)) for each in arguments.args], None, [], [], None,
            self._expressions(arguments.defaults),
        )  # fmt: skip
        last, self._last = self._last, ""
        body = self._block(node.body)
        self._last = last
        return ast.FunctionDef(self._own_name(node.name), new, body, [], None, None)

    def _assign(self, target: ast.expr, value: ast.expr) -> ast.stmt:
        if isinstance(target, ast.Name):
            self._last = self._own_name(target.id)
            literal = value.operand if isinstance(value, ast.UnaryOp) else value
            placeholder = _is_placeholder(literal) and self._stores[target.id] == 1
            if placeholder and target.id in _RESULTS:
                raise ProgramRefused("it sets `result` to nothing that it calculated")
            if placeholder or (isinstance(literal, ast.Constant) and self._is_guess(literal)):
                self.guesses.append(target.id.replace("_", " ").strip())
                return ast.Pass()
        return ast.Assign([self._target(target)], self.expression(value))

    def _target(self, node: ast.expr) -> ast.expr:
        match node:
            case ast.Name(id=name):
                return ast.Name(self._own_name(name), ast.Store())
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                return ast.Tuple([self._target(part) for part in parts], ast.Store())
            case ast.Subscript(value=value, slice=index) if not isinstance(index, ast.Slice):
                return ast.Subscript(
                    self.expression(value), self._exempt(index, 1_000), ast.Store()
                )
        raise ProgramRefused(f"assigning to {_spoken(node)} is not allowed")

    def _own_name(self, name: str) -> str:
        """Return a program's own name as it is written: apart from those of the helpers."""
        if name.startswith("_") and name != "_":
            raise ProgramRefused(f"names may not begin with an underscore ({name!r})")
        return f"v_{name}"

    # Expressions

    def _expressions(self, nodes: Iterable[ast.expr]) -> list[ast.expr]:
        return [self.expression(node) for node in nodes]

    def expression(self, node: ast.expr) -> ast.expr:
        """Return an expression rewritten."""
        match node:
            case ast.Constant():
                return self._constant(node)
            case ast.Name(id=name):
                return self._name(name)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return _call(_OPERATORS[type(op)], self._expressions([left, right]))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return _call("_neg", [self.expression(operand)])
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.expression(operand)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return ast.UnaryOp(ast.Not(), self.expression(operand))
            case ast.BoolOp(op=op, values=values):
                return ast.BoolOp(op, self._expressions(values))
            case ast.Compare(left=left, ops=ops, comparators=others):
                return self._comparison([left, *others], ops)
            case ast.IfExp(test=test, body=body, orelse=otherwise):
                return ast.IfExp(
                    self.expression(test), self.expression(body), self.expression(otherwise)
                )
            case ast.List(elts=parts):
                return ast.List(self._expressions(parts), ast.Load())
            case ast.Tuple(elts=parts):
                return ast.Tuple(self._expressions(parts), ast.Load())
            case ast.Dict(keys=keys, values=values) if None not in keys:
                names: list[ast.expr | None] = [self.expression(key) for key in keys if key]
                return ast.Dict(names, self._expressions(values))
            case ast.Subscript(value=value, slice=index):
                return ast.Subscript(self.expression(value), self._index(index), ast.Load())
            case ast.ListComp(elt=each, generators=parts):
                return ast.ListComp(self.expression(each), self._generators(parts))
            case ast.GeneratorExp(elt=each, generators=parts):
                # A list, as the interpreter's generators would hide where time goes.
                return ast.ListComp(self.expression(each), self._generators(parts))
            case ast.Attribute(value=value, attr=attribute):
                return self._attribute(value, attribute)
            case ast.Call():
                return self._called(node)
            case ast.JoinedStr(values=parts):
                return self._joined(parts)
        raise ProgramRefused(f"{_spoken(node)} is not allowed")

    def _constant(self, node: ast.Constant) -> ast.expr:
        value = node.value
        if isinstance(value, complex | bytes) or value is ...:
            raise ProgramRefused(f"{_spoken(node)} is not allowed")
        if self._is_guess(node):
            self.guesses.append(_literal(self._program, node))
        if isinstance(value, float):
            return _call("number", [ast.Constant(_literal(self._program, node))])
        return ast.Constant(value)

    def _is_guess(self, node: ast.Constant) -> bool:
        value = node.value
        if isinstance(value, bool) or value is None:
            return False
        if isinstance(value, str):
            numbers = re.findall(r"\d+(?:\.\d+)?", value.replace(",", ""))
            return any(len(n) > 60 or Fraction(n) not in self._given.numbers for n in numbers)
        if isinstance(value, int | float):
            literal = _fraction(_literal(self._program, node))
            return literal is not None and literal not in self._given.numbers
        return False

    def _name(self, name: str) -> ast.expr:
        own = self._own_name(name)
        if name in self._names:
            return ast.Name(own, ast.Load())
        if name == "pi":
            return _call("number", [ast.Constant(_PI)])
        if name in HELPERS or name in self._functions or name in _MODULES:
            raise ProgramRefused(f"{name!r} is a function; it can only be called")
        if name in _BUILTINS:
            raise ProgramRefused(f"{name!r} is not allowed")
        self.guesses.append(name.replace("_", " "))
        return ast.Constant(0)

    def _comparison(self, values: list[ast.expr], ops: list[ast.cmpop]) -> ast.expr:
        sides = self._expressions(values)
        parts: list[ast.expr] = []
        for left, op, right in zip(sides, ops, sides[1:], strict=False):
            if type(op) not in _COMPARISONS:
                raise ProgramRefused("comparing with `is` is not allowed")
            parts.append(_call(_COMPARISONS[type(op)], [left, right]))
        return parts[0] if len(parts) == 1 else ast.BoolOp(ast.And(), parts)

    def _exempt(self, node: ast.expr, most: int) -> ast.expr:
        """Return an index or a count of decimals, which needs no source when it is small."""
        match node:
            case ast.Constant(value=int() as value) if 0 <= value <= most:
                return ast.Constant(value)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as value)):
                if value <= most:
                    return ast.UnaryOp(ast.USub(), ast.Constant(value))
        return self.expression(node)

    def _index(self, node: ast.expr) -> ast.expr:
        if isinstance(node, ast.Slice):
            bounds = [
                None if bound is None else self._exempt(bound, 1_000)
                for bound in (node.lower, node.upper, node.step)
            ]
            return ast.Slice(*bounds)
        return self._exempt(node, 1_000)

    def _generators(self, parts: list[ast.comprehension]) -> list[ast.comprehension]:
        return [
            ast.comprehension(
                self._target(part.target), self.expression(part.iter),
                self._expressions(part.ifs), 0,
            )
            for part in parts
        ]  # fmt: skip

    def _attribute(self, value: ast.expr, attribute: str) -> ast.expr:
        if isinstance(value, ast.Name) and value.id == "math" and attribute == "pi":
            return _call("number", [ast.Constant(_PI)])
        if attribute not in _READ:
            raise ProgramRefused(f"the attribute {attribute!r} is not allowed")
        return ast.Attribute(self.expression(value), attribute, ast.Load())

    def _called(self, node: ast.Call) -> ast.expr:
        name = self._callee(node.func)
        if name is None:
            method = node.func
            assert isinstance(method, ast.Attribute)
            if node.keywords:
                raise ProgramRefused(f"{method.attr!r} takes no named arguments")
            function: ast.expr = ast.Attribute(
                self.expression(method.value), method.attr, ast.Load()
            )
            return ast.Call(function, self._expressions(node.args), [])
        if name in _TODAY:
            self.guesses.append("today's date")
            return ast.Constant(0)
        arguments = list(node.args)
        if name in self._functions:
            new = self._expressions(arguments)
            target = self._own_name(name)
        elif name in _ROUNDING and len(arguments) == 2:
            decimals = self._exempt(arguments[1], _MOST_DIGITS_TO_ROUND)
            new, target = [self.expression(arguments[0]), decimals], HELPERS[name]
        elif name in ("strptime", "fromisoformat"):
            new, target = self._expressions(arguments[:1]), HELPERS[name]
        else:
            new, target = self._expressions(arguments), HELPERS[name]
        keywords = [
            ast.keyword(
                self._own_name(each.arg) if name in self._functions else each.arg,
                self.expression(each.value),
            )
            for each in node.keywords
            if each.arg is not None
        ]
        if len(keywords) != len(node.keywords):
            raise ProgramRefused("arguments with ** are not allowed")
        return ast.Call(ast.Name(target, ast.Load()), new, keywords)

    def _callee(self, node: ast.expr) -> str | None:
        """Return the function called; None for a method of a value."""
        match node:
            case ast.Name(id=name):
                if name in self._functions:
                    return name
                if name in self._names or name not in HELPERS:
                    raise ProgramRefused(f"calling {name!r} is not allowed")
                return name
            case ast.Attribute(value=ast.Name(id=module), attr=name) if (
                module in _MODULES and module not in self._names
            ):
                if name in _TODAY or name in HELPERS:
                    return name
                raise ProgramRefused(f"calling '{module}.{name}' is not allowed")
            case ast.Attribute(value=ast.Attribute(value=ast.Name(id=module)), attr=name) if (
                module in _MODULES
            ):
                if name in _TODAY or name in HELPERS:
                    return name
            case ast.Attribute(attr=name) if name in _METHODS:
                return None
        raise ProgramRefused(f"calling {_spoken(node)} is not allowed")

    def _joined(self, parts: list[ast.expr]) -> ast.expr:
        whole: ast.expr = ast.Constant("")
        for part in parts:
            match part:
                case ast.FormattedValue(value=value, conversion=-1, format_spec=form):
                    arguments = [self.expression(value)]
                    if form is not None:
                        assert isinstance(form, ast.JoinedStr)
                        if not all(isinstance(each, ast.Constant) for each in form.values):
                            raise ProgramRefused("a computed format is not allowed")
                        constants = [e.value for e in form.values if isinstance(e, ast.Constant)]
                        spec = "".join(map(str, constants))
                        arguments.append(ast.Constant(spec))
                    whole = _call("_add", [whole, _call("as_text", arguments)])
                case ast.Constant():
                    whole = _call("_add", [whole, self._constant(part)])
                case _:
                    raise ProgramRefused("this form of text is not allowed")
        return whole


_PI: Final = "3.1415926535897932384626433832795028841971693993751"
_BUILTINS: Final = frozenset(dir(builtins))


def _is_placeholder(node: ast.expr) -> bool:
    """Tell what stands for a quantity that is not known: 0, None, "", `input()`."""
    match node:
        case ast.Constant(value=None | "" | "?" | "unknown"):
            return True
        case ast.Constant(value=int() | float() as value):
            return value == 0 and not isinstance(value, bool)
        case ast.Call(func=ast.Name(id="input")):
            return True
    return False


def _is_append(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "append"
    )


def _spoken(node: ast.AST) -> str:
    names: dict[type[ast.AST], str] = {
        ast.Lambda: "a lambda",
        ast.ClassDef: "a class",
        ast.Try: "try",
        ast.With: "with",
        ast.Raise: "raise",
        ast.Global: "global",
        ast.Delete: "del",
        ast.Attribute: "an attribute",
        ast.Await: "await",
        ast.Yield: "yield",
        ast.NamedExpr: "':='",
        ast.Starred: "'*'",
    }
    return names.get(type(node), type(node).__name__)


def _literal(program: str, node: ast.Constant) -> str:
    """Return a constant as it was written: reading it as a float would round it."""
    return (ast.get_source_segment(program, node) or str(node.value)).replace("_", "")


def _fraction(literal: str) -> Fraction | None:
    try:
        return Fraction(int(literal, 0)) if not re.search(r"[.eE]", literal) else Fraction(literal)
    except ValueError:
        return Fraction(int(literal, 16)) if literal.lower().startswith("0x") else None


# The numbers of a question

MOST_CHARACTERS_READ: Final = 100_000
"""Of all texts that may give numbers; the last ones count."""

_DIGITS: Final = re.compile(r"(?<![\d.])\d{1,60}(?:\.\d{1,60})?(?!\d)")
_THOUSANDS: Final = re.compile(r"(?<=\d)[,，](?=\d{3}(?!\d))")
_SCALED: Final = re.compile(
    r"(\d{1,60}(?:\.\d{1,60})?)\s*(万亿|万|亿|千万|百万|千|百|k\b|m\b|thousand|million|billion)"
)
_SCALES: Final = {
    "万亿": 10**12, "万": 10**4, "亿": 10**8, "千万": 10**7, "百万": 10**6, "千": 1000, "百": 100,
    "k": 1000, "m": 10**6, "thousand": 1000, "million": 10**6, "billion": 10**9,
}  # fmt: skip
_OFF: Final = re.compile(r"([一二三四五六七八九]|\d(?:\.\d)?)([一二三四五六七八九])?\s*折")
_TENTHS: Final = re.compile(r"([一二两三四五六七八九]|\d)\s*成(?![本为员立交长功绩])")
_HAN: Final = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"两": 2}
_HAN_DECIMAL: Final = re.compile(
    r"(百分之|千分之)?\s*([零一二两三四五六七八九十百]{1,20})点([零一二三四五六七八九]{1,20})"
)
_PERCENT: Final = re.compile(r"(\d{1,60}(?:\.\d{1,60})?)\s*(?:%|％|per ?cent|个?百分点|‰|bps?\b)")

_IN_CONTEXT: Final[tuple[tuple[re.Pattern[str], tuple[str, ...]], ...]] = tuple(
    (re.compile(words), tuple(numbers.split()))
    for words, numbers in (
        (r"%|％|per ?cent|百分|率|折|percentage|discount|税|利息|interest|tax|share|占", "100"),
        (r"‰|千分|per mille", "1000"),
        (r"半|half|halv|average|平均|均|mean|两|双|倍|twice|doubl|平方|square|来回|往返|round trip"
         r"|couple|pair|both|三角|triangle", "2 0.5"),
        (r"三倍|tripl|立方|cube|三分之|third|季", "3"),
        (r"四分之|quarter|季|square|正方", "4 0.25"),
        (r"周|星期|礼拜|week", "7"),
        (r"week|周|workday|工作日|working day|business day", "5"),
        (r"(?s)\A(?=.*(?:年|year|annual|annum))(?=.*(?:月|month))|dozen|一打", "12"),
        (r"年|year|annual|annum", "365 360"),
        (r"年|year|week|周", "52"),
        (r"小时|hour|昼夜", "24"),
        (r"小时|hour|分|min|秒|second|点|时|clock|:\d\d", "60 3600"),
        (r"千|公里|公斤|克|米|升|毫|km|kg|gram|met(?:er|re)|litre|liter|\bml\b|\bmg\b|\bmm\b|thousand|吨|ton"
         , "1000"),
        (r"厘米|米|cm|met(?:er|re)|元|角|分|dollar|cent|yuan|euro|pound|公顷", "100 10"),
        (r"万|亿", "10000 100000000"),
        (r"million|billion|百万", "1000000 1000000000"),
        (r"圆|circle|半径|radius|直径|diamet", "2 3.14 3.1416 3.14159"),
        (r"摄氏|华氏|fahrenheit|celsius", "32 1.8 9 5"),
    )
)  # fmt: skip


def given_by(texts: Iterable[str]) -> Given:
    """Return the numbers that some texts give, in every form in which a program may write them.

    "15 %" gives 15, 0.15, 1.15 and 0.85; "3 万" 3 and 30,000; "八折" 8 and 0.8; a month's name its
    number. Units bring their constants: hours and minutes 60, years 12 months, weeks 7 days.
    """
    numbers = {Fraction(0), Fraction(1)}
    left = MOST_CHARACTERS_READ
    for text in reversed(list(texts)):
        text, left = text[max(len(text) - left, 0) :], max(left - len(text), 0)
        folded = _THOUSANDS.sub("", fold(text))
        plain = {Fraction(digits) for digits in _DIGITS.findall(folded)}
        for digits, scale in _SCALED.findall(folded):
            plain.add(Fraction(digits) * _SCALES[scale])
        percents = {Fraction(digits) for digits in _PERCENT.findall(folded)}
        for quantity in find_quantities(text):
            values = quantity.value if isinstance(quantity.value, tuple) else (quantity.value,)
            exact_values = {
                Fraction(repr(value)) for value in values if value != -1 and math.isfinite(value)
            }
            plain |= exact_values
            if quantity.kind is QuantityKind.PERCENT:
                percents |= exact_values
        for one, other in _OFF.findall(folded):
            tenths = Fraction(_HAN.get(one, 0) or one)
            if other:
                tenths += Fraction(_HAN[other], 10)
            plain |= {tenths, tenths / 10, 1 - tenths / 10, 10 * tenths}
        percents |= {Fraction(_HAN.get(one, 0) or one) * 10 for one in _TENTHS.findall(folded)}
        for rate, entire, fraction in _HAN_DECIMAL.findall(folded):
            digits = "".join(str(_HAN[character]) for character in fraction)
            value = _han_number(entire) + Fraction(int(digits), 10 ** len(digits))
            (percents if rate else plain).add(value)
        for percent in percents:
            plain |= {percent, percent / 100, 1 + percent / 100, 1 - percent / 100, 100 - percent}
        undated = _without_dates(text)
        for words, constants in _IN_CONTEXT:
            if words.search(undated):
                plain |= {Fraction(constant) for constant in constants}
        numbers |= plain
    return Given(frozenset(numbers))


def _han_number(text: str) -> int:
    total = current = 0
    for character in text:
        if character in "十百":
            total += (current or 1) * (10 if character == "十" else 100)
            current = 0
        else:
            current = _HAN[character]
    return total + current


def _without_dates(text: str) -> str:
    """Return a text whose dates bring no units: "2 March" is no talk of months."""
    for quantity in reversed(find_quantities(text)):
        if quantity.kind is QuantityKind.DATE:
            text = text[: quantity.start] + " " + text[quantity.end :]
    return fold(text)
