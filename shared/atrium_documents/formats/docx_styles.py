"""What a paragraph's style says in a DOCX file: heading level, role, and its automatic number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from docx.oxml import ns

from atrium_documents.list_numbers import format_list_number

qn: Final = cache(ns.qn)
"""Clark notation of a prefixed name; asked for a few names many thousand times."""
W_VAL: Final = qn("w:val")
W_ILVL: Final = qn("w:ilvl")
W_NUM_ID: Final = qn("w:numId")
_W_STYLE_ID: Final = qn("w:styleId")
_W_ABSTRACT: Final = qn("w:abstractNumId")
_HEADING_NAME: Final = re.compile(
    r"^(?:heading|标题|標題|überschrift|titre|título|titolo|заголовок|見出し|제목)\s*([1-9])\b",
    re.IGNORECASE,
)
_CODE_NAME: Final = re.compile(r"code|preformatted|listing|源代码|代码", re.IGNORECASE)
_PLACEHOLDER: Final = re.compile(r"%([1-9])")
_MOST_STYLE_PARENTS: Final = 20


@dataclass(slots=True)
class StyleFacts:
    """What a paragraph style means, its parents included."""

    level: int | None = None
    """Heading level from 1, by name or outline level."""
    role: str = ""
    """"title", "caption", "code", "toc" or ""."""
    numbering: tuple[str, int | None] | None = None
    """(numId, list level); the level is ``None`` where the list names this style."""
    bold: bool | None = None
    size: float | None = None
    """Type size in points."""


class Styles:
    """The paragraph styles of a document."""

    def __init__(self, styles_element: Any | None) -> None:
        self._by_id: dict[str, Any] = {}
        self._facts: dict[str, StyleFacts] = {}
        self.default_id: str | None = None
        for style in styles_element.findall(qn("w:style")) if styles_element is not None else ():
            style_id = style.get(_W_STYLE_ID)
            if style_id is not None:
                self._by_id[style_id] = style
                if style.get(qn("w:default")) in ("1", "true", "on") and (
                    style.get(qn("w:type")) == "paragraph"
                ):
                    self.default_id = style_id

    def facts(self, style_id: str | None) -> StyleFacts:
        """Return the facts of a style; an unknown style means nothing."""
        key = style_id or self.default_id or ""
        known = self._facts.get(key)
        if known is None:
            known = self._facts[key] = self._gather(key)
        return known

    def numbering_of_style(self, style_id: str) -> str | None:
        """Return the numId that a list style points to."""
        style = self._by_id.get(style_id)
        found = style.find(f".//{W_NUM_ID}") if style is not None else None
        return found.get(W_VAL) if found is not None else None

    def _chain(self, style_id: str) -> Iterator[Any]:
        for _ in range(_MOST_STYLE_PARENTS):
            style = self._by_id.get(style_id)
            if style is None:
                return
            yield style
            parent = style.find(qn("w:basedOn"))
            if parent is None:
                return
            style_id = parent.get(W_VAL)

    def _gather(self, style_id: str) -> StyleFacts:
        facts = StyleFacts()
        for style in self._chain(style_id):
            name_element = style.find(qn("w:name"))
            name = name_element.get(W_VAL, "") if name_element is not None else style_id
            heading = _HEADING_NAME.match(name)
            if facts.level is None and not facts.role:
                if heading:
                    facts.level = int(heading.group(1))
                else:
                    facts.role = _role(name)
            outline = style.find(f"{qn('w:pPr')}/{qn('w:outlineLvl')}")
            if facts.level is None and outline is not None and not facts.role:
                facts.level = outline_level(outline)
            numbering = style.find(f"{qn('w:pPr')}/{qn('w:numPr')}")
            if facts.numbering is None and numbering is not None:
                facts.numbering = numbering_properties(numbering)
            run = style.find(qn("w:rPr"))
            if run is not None:
                facts.bold = run_bold(run) if facts.bold is None else facts.bold
                facts.size = run_size(run) if facts.size is None else facts.size
        return facts


def _role(name: str) -> str:
    lowered = name.lower()
    if lowered == "title":
        return "title"
    if lowered in ("caption", "题注"):
        return "caption"
    if re.match(r"toc \d|目录 \d|table of figures", lowered):
        return "toc"
    return "code" if _CODE_NAME.search(name) else ""


def outline_level(element: Any) -> int | None:
    """Return a heading level from 1, or ``None`` for body text (level 9)."""
    value = element.get(W_VAL, "")
    return int(value) + 1 if value.isdigit() and int(value) < 9 else None


def numbering_properties(element: Any) -> tuple[str, int | None] | None:
    """Return (numId, list level) of a ``w:numPr``."""
    number = element.find(W_NUM_ID)
    level = element.find(W_ILVL)
    if number is None and level is None:
        return None
    level_value = level.get(W_VAL, "") if level is not None else ""
    return (
        number.get(W_VAL, "") if number is not None else "",
        int(level_value) if level_value.isdigit() else None,
    )


def run_bold(properties: Any) -> bool | None:
    """Return whether run properties switch bold on or off, ``None`` if they say nothing."""
    bold = properties.find(qn("w:b"))
    if bold is None:
        return None
    return bold.get(W_VAL, "1") not in ("0", "false", "off")


def run_size(properties: Any) -> float | None:
    """Return the type size in points that run properties set."""
    size = properties.find(qn("w:sz"))
    value = size.get(W_VAL, "") if size is not None else ""
    return int(value) / 2 if value.isdigit() else None


@dataclass(slots=True)
class _Level:
    start: int = 1
    number_format: str = "decimal"
    text: str = ""
    restart: int | None = None
    suffix: str = " "
    legal: bool = False
    style: str | None = None


@dataclass(slots=True)
class _List:
    abstract: str
    levels: dict[int, _Level]
    restarts: dict[int, int] = field(default_factory=dict)
    """List level -> number at which this list begins anew the first time it is used."""


class Numbering:
    """Counts automatic numbers through a document, as Word does (ECMA-376 part 1, 17.9)."""

    def __init__(self, numbering_element: Any | None, styles: Styles) -> None:
        root = () if numbering_element is None else numbering_element
        self._styles = styles
        self._abstracts = {
            child.get(_W_ABSTRACT): child for child in root if child.tag == qn("w:abstractNum")
        }
        self._numbers = {child.get(W_NUM_ID): child for child in root if child.tag == qn("w:num")}
        self._lists: dict[str, _List | None] = {}
        self._counters: dict[str, dict[int, int]] = {}

    def number(self, num_id: str, level: int | None, style_id: str | None) -> str | None:
        """Count one paragraph and return its number with what follows it, such as ``"3.1 "``.

        Returns "" for a bullet, ``None`` where there is no such list.
        """
        if num_id not in self._lists:
            self._lists[num_id] = self._load(num_id)
        found = self._lists[num_id]
        if found is None:
            return None
        if level is None:
            level = next(
                (n for n, spec in found.levels.items() if style_id and spec.style == style_id), 0
            )
        spec = found.levels.get(level)
        if spec is None:
            return None
        counters = self._counters.setdefault(found.abstract, {})
        if level in found.restarts:
            counters[level] = found.restarts.pop(level)
        elif level in counters:
            counters[level] += 1
        else:
            counters[level] = spec.start
        for deeper in [n for n in counters if n > level]:
            restart = found.levels[deeper].restart if deeper in found.levels else None
            if restart != 0 and (restart is None or level < restart):
                del counters[deeper]
        if spec.number_format == "bullet":
            return ""
        text = _PLACEHOLDER.sub(
            lambda match: _counted(found, counters, int(match.group(1)) - 1, legal=spec.legal),
            spec.text,
        )
        return text + spec.suffix if text else ""

    def _load(self, num_id: str) -> _List | None:
        num = self._numbers.get(num_id)
        if num is None:
            return None
        abstract_id = _child_value(num, "w:abstractNumId")
        abstract = self._abstracts.get(abstract_id)
        link = _child_value(abstract, "w:numStyleLink") if abstract is not None else None
        if link:
            target = self._numbers.get(self._styles.numbering_of_style(link) or "")
            if target is None:
                return None
            abstract_id = _child_value(target, "w:abstractNumId")
            abstract = self._abstracts.get(abstract_id)
        if abstract is None or abstract_id is None:
            return None
        found = _List(abstract_id, {_index(lvl): _level(lvl) for lvl in abstract.iter(qn("w:lvl"))})
        for override in num.findall(qn("w:lvlOverride")):
            index = _index(override)
            replacement = override.find(qn("w:lvl"))
            if replacement is not None:
                found.levels[index] = _level(replacement)
            start = _child_value(override, "w:startOverride")
            if start is not None and start.isdigit():
                found.restarts[index] = int(start)
        return found


def _counted(found: _List, counters: dict[int, int], index: int, *, legal: bool) -> str:
    spec = found.levels.get(index, _Level())
    number = counters.setdefault(index, spec.start)
    return format_list_number(number, "decimal" if legal else spec.number_format)


def _child_value(element: Any, tag: str) -> str | None:
    child = element.find(qn(tag))
    return child.get(W_VAL) if child is not None else None


def _index(element: Any) -> int:
    value = element.get(W_ILVL, "0")
    return int(value) if value.isdigit() else 0


def _level(element: Any) -> _Level:
    start = _child_value(element, "w:start") or "1"
    restart = _child_value(element, "w:lvlRestart")
    number_format = _child_value(element, "w:numFmt")
    if number_format is None:
        # Formats newer than the first edition hide in a compatibility element.
        nested = element.find(f".//{qn('w:numFmt')}")
        number_format = nested.get(W_VAL, "decimal") if nested is not None else "decimal"
    return _Level(
        start=int(start) if start.isdigit() else 1,
        number_format=number_format,
        text=_child_value(element, "w:lvlText") or "",
        restart=int(restart) if restart and restart.isdigit() else None,
        suffix="" if _child_value(element, "w:suff") == "nothing" else " ",
        legal=element.find(qn("w:isLgl")) is not None,
        style=_child_value(element, "w:pStyle"),
    )
