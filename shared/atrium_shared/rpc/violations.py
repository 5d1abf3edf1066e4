"""The rules that protos put on their fields (``buf.validate``), and what breaks them in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import protovalidate
from buf.validate import validate_pb2
from google.protobuf.message import Message

violations_of: Final = protovalidate.Validator().collect_violations
"""Returns every :class:`protovalidate.Violation` of a message."""

_ID = "starts with a lower-case letter; then lower-case letters, digits and hyphens, {} in all"
_ONE_LINE = "stands on one line, without line breaks, tabs and other control characters"
_LINE_BREAKING = r"\x00-\x1f\x7f" + "\u0085\u2028\u2029"
_SHAPES: Final = {
    f"^[^{_LINE_BREAKING}]*$": (_ONE_LINE, "Weekly meeting"),
    rf"^[^{_LINE_BREAKING}]*[^{_LINE_BREAKING}\s" + f"\u00a0\u3000][^{_LINE_BREAKING}]*$": (
        f"is not blank and {_ONE_LINE}",
        "Handbook",
    ),
    "^[a-z][a-z0-9-]{0,62}$": (_ID.format("at most 63"), "handbook-2"),
    "^[a-z][a-z0-9-]{1,62}$": (_ID.format("2 to 63"), "acme"),
    "^[a-z][a-z0-9-]{0,31}$": (_ID.format("at most 32"), "wiki"),
    "^([a-z0-9][a-z0-9-]{0,62})?$": (
        "consists of lower-case letters, digits and hyphens, at most 63, no hyphen first",
        "leave-2026",
    ),
    "^[A-Za-z0-9_-]+(/[A-Za-z0-9_.-]+)*$": (
        "consists of letters, digits, _ and -, in parts with slashes between them",
        "hr/compensation",
    ),
    "^[A-Za-z0-9_-]{1,64}$": ("consists of letters, digits, _ and -, at most 64", "2026-a"),
    "^[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$": (
        "starts with a letter or digit; then letters, digits, . _ @ and -, at most 128 in all",
        "lin.ma",
    ),
    "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$": (
        "starts with a letter or digit; then letters, digits, . _ and -, at most 128 in all",
        "page-17",
    ),
    "^[a-z][a-z0-9_-]*([.][a-z0-9_-]+)*$": (
        "consists of lower-case letters, digits, _ and -, in parts with dots between them, a "
        "letter first",
        "docs.polish",
    ),
}
"""What a pattern of the protos asks for, and an example; all letters are those of ASCII."""


def described(violation: protovalidate.Violation) -> tuple[str, str]:
    """Return the path of the field, such as ``"labels[2]"``, and what is wrong with it."""
    proto = violation.proto
    path = ""
    for element in proto.field.elements if proto.field else ():
        path += f".{element.field_name}" if path else element.field_name
        if element.subscript is not None:
            path += f"[{element.subscript.value!r}]"
    return path, _in_words(proto.rule_id, violation.rule_value) or proto.message or (
        f"breaks the rule {proto.rule_id}"
    )


def is_taken(message: Message, violation: protovalidate.Violation) -> bool:
    """Tell whether a request takes the value that breaks a rule.

    An update takes the fields that its mask names; what it leaves out need not be given and cannot
    be wrong (AIP-134).
    """
    elements = violation.proto.field.elements if violation.proto.field else ()
    mask = getattr(message, "update_mask", None)
    if not mask or not mask.paths or "*" in mask.paths or len(elements) < 2:
        return True
    resource, field = elements[0].field_name, elements[1].field_name
    if resource == "update_mask":
        return True
    return any(path.partition(".")[0] == field for path in mask.paths)


def nul_fields(message: Message) -> Iterator[tuple[str, str]]:
    """Find the strings of a message with U+0000 in them, whose rule no proto has to repeat.

    PostgreSQL keeps no such text. Fields of bytes may hold anything. What the protos leave to the
    service to validate is not looked into.

    Yields:
        Path of a field, as of :func:`described`, and what is wrong with it.
    """
    for path, text in _strings(message):
        if "\0" in text:
            yield path, "must not contain the character U+0000 (NUL); leave it out"


def _strings(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Message):
        for field, found in value.ListFields():
            rules = field.GetOptions().Extensions[validate_pb2.field]
            if rules.ignore != validate_pb2.IGNORE_ALWAYS:
                yield from _strings(found, f"{path}.{field.name}" if path else field.name)
    elif isinstance(value, Mapping):
        for key, found in value.items():
            yield from _strings(key, f"{path}[{key!r}]")
            yield from _strings(found, f"{path}[{key!r}]")
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for index, found in enumerate(value):
            yield from _strings(found, f"{path}[{index}]")


def _in_words(rule: str, value: object) -> str:
    if rule == "string.pattern" and value in _SHAPES:
        shape, example = _SHAPES[str(value)]
        return f"{shape}, such as {example}"
    if rule == "string.email":
        return "must be a mail address, such as lin@example.com"
    if rule == "string.min_len" and value == 1:
        return "must not be empty"
    if rule == "string.in" and isinstance(value, Sequence):
        *known, last = [str(each) for each in value if each]
        choice = f"{', '.join(known)} or {last}" if known else last
        return f"must be {choice}{', or empty' * ('' in value)}"
    return ""
