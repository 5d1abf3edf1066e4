"""Placeholders for personal data: the same value the same one, and all of them undone in a reply.

A placeholder is ``⟦PHONE_1⟧``. Models do not always write it back as they read it, so a reply may
change its case, spaces and brackets. What a reply calls by a number that was never given stays as
it is: also what the caller's own text already held, because its numbers are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from atrium_gateway.domain.pii.kinds import Found, PiiKind
from atrium_gateway.domain.pii.normalise import Normalised

_OPENING = ("⟦", "〚", "【", "[[", "{{", "\\u27e6")
_CLOSING = ("⟧", "〛", "】", "]]", "}}", "\\u27e7")
_FIRST = frozenset(each[0] for each in _OPENING)
_LETTERS = frozenset(kind.value[0].lower() for kind in PiiKind)
_LOOSE_KIND = "|".join(kind.value.replace("_", r"[\s_\-]{0,2}") for kind in PiiKind)
_EXACT_KIND = "|".join(kind.value for kind in PiiKind)
_LOOKALIKE = re.compile(rf"({_LOOSE_KIND})[\s_\-]{{0,3}}([0-9]{{1,6}})", re.IGNORECASE)
_OPEN = "|".join(map(re.escape, _OPENING))
_CLOSE = "|".join(map(re.escape, _CLOSING))
_WRITTEN = re.compile(
    rf"(?:{_OPEN})\s{{0,2}}({_LOOSE_KIND})[\s_\-]{{0,2}}([0-9]{{1,6}})(?![0-9])"
    rf"(?:\s{{0,2}}(?:{_CLOSE}))?"
    rf"|(?<![A-Za-z0-9_])({_EXACT_KIND})_([0-9]{{1,6}})(?![A-Za-z0-9_])",
    re.IGNORECASE,
)
_NOISE = re.compile(r"[\s_\-]+")
_LONGEST = 40
"""Characters of the longest spelling of a placeholder that is still taken for one."""


def _name(kind: str, number: str) -> str:
    return f"{_NOISE.sub('', kind).lower()}{int(number)}"


class Redaction:
    """What was replaced in the texts of one call.

    Args:
        texts: Every text of the call, so that no placeholder is given that one of them holds.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._taken = {
            _name(*match.groups()) for text in texts for match in _LOOKALIKE.finditer(text)
        }
        self._placeholders: dict[tuple[PiiKind, str], str] = {}
        self._values: dict[str, str] = {}
        self._last: dict[PiiKind, int] = {}

    def hide(self, text: str, found: Iterable[Found]) -> str:
        """Return a text with what was found in it replaced.

        Args:
            text: As the caller wrote it.
            found: In order, without overlaps.
        """
        parts: list[str] = []
        at = 0
        for each in found:
            parts += (
                text[at : each.start],
                self._placeholder(each.kind, text[each.start : each.end]),
            )
            at = each.end
        parts.append(text[at:])
        return "".join(parts)

    def restoration(self) -> Restoration:
        """Return what undoes the replacements made so far."""
        return Restoration(self._values)

    def _placeholder(self, kind: PiiKind, value: str) -> str:
        # Two spellings of one number are one value; the reply gets the first.
        same = "".join(filter(str.isalnum, Normalised(value).text)).lower()
        key = (kind, same)
        placeholder = self._placeholders.get(key)
        if placeholder is None:
            number = self._last.get(kind, 0) + 1
            while _name(kind, str(number)) in self._taken:
                number += 1
            self._last[kind] = number
            placeholder = self._placeholders[key] = f"⟦{kind.value}_{number}⟧"
            self._values[_name(kind, str(number))] = value
        return placeholder


class Restoration:
    """Puts values back in the place of placeholders.

    Args:
        values: Values by the names of their placeholders.
    """

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._values = dict(values or {})

    @property
    def values(self) -> int:
        """How many different values were replaced."""
        return len(self._values)

    def whole(self, text: str, *, in_json: bool = False) -> str:
        """Return a text with every known placeholder undone.

        Args:
            text: What a model wrote.
            in_json: Whether the text is JSON; values are escaped for its strings then.
        """
        return self._undo(text, 0, in_json) if self._values else text

    def restorer(self, *, in_json: bool) -> Restorer:
        """Return what does the same to a text that comes in pieces."""
        return Restorer(self, in_json)

    def _undo(self, text: str, start: int, in_json: bool) -> str:
        parts: list[str] = []
        at = start
        for match in _WRITTEN.finditer(text, start):
            kind, number = match[1] or match[3], match[2] or match[4]
            value = self._values.get(_name(kind, number))
            if value is not None:
                if in_json:
                    value = json.dumps(value, ensure_ascii=False)[1:-1]
                parts += text[at : match.start()], value
                at = match.end()
        parts.append(text[at:])
        return "".join(parts)

    def _may_go_on(self, tail: str) -> bool:
        """Say whether more characters can make a known placeholder of the beginning of one."""
        opening = next((each for each in _OPENING if tail.startswith(each)), "")
        if not opening and any(each.startswith(tail) for each in _OPENING):
            return True
        match = _WRITTEN.match(tail)
        if match is not None and match.end() < len(tail):
            rest = tail[match.end() :].lstrip()
            return bool(opening) and any(each.startswith(rest) for each in _CLOSING)
        if match is not None and tail.endswith(_CLOSING):
            return False
        written = _NOISE.sub("", tail[len(opening) :]).lower()
        return any(name.startswith(written) for name in self._values)


class Restorer:
    """Undoes placeholders in a text that comes in pieces, wherever the cuts are.

    Args:
        restoration: Knows the values.
        in_json: Whether the text is JSON.
    """

    def __init__(self, restoration: Restoration, in_json: bool = False) -> None:
        self._restoration = restoration
        self._in_json = in_json
        self._held = ""
        # The character before: it tells whether a word begins.
        self._before = ""

    def feed(self, piece: str) -> str:
        """Return what can be shown now; the beginning of a placeholder waits for its end."""
        if not self._restoration.values:
            return piece
        text = self._held + piece
        keep = self._keep_from(text)
        self._held = text[keep:]
        return self._show(text[:keep])

    def end(self) -> str:
        """Return what was held back, at the end of the text."""
        text, self._held = self._held, ""
        return self._show(text)

    def _show(self, text: str) -> str:
        shown = self._restoration._undo(self._before + text, len(self._before), self._in_json)
        self._before = text[-1:] or self._before
        return shown

    def _keep_from(self, text: str) -> int:
        for at in range(max(0, len(text) - _LONGEST), len(text)):
            char = text[at]
            begins = char in _FIRST or (char.lower() in _LETTERS and self._is_word_start(text, at))
            if begins and self._restoration._may_go_on(text[at:]):
                return at
        return len(text)

    def _is_word_start(self, text: str, at: int) -> bool:
        before = text[at - 1] if at else self._before
        return not (before.isascii() and (before.isalnum() or before == "_"))
