"""English, simplified or traditional Chinese: told by characters, and one script from the other."""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from importlib import resources

import opencc

from atrium_grounding.languages import detect_language


class Script(StrEnum):
    """A language as it is written: BCP 47 tags."""

    EN = "en"
    ZH = "zh"
    ZH_HANT = "zh-Hant"


def script_of(text: str) -> Script:
    """Return the language of a text; traditional Chinese when most telling characters are so."""
    if detect_language(text) == "en":
        return Script.EN
    traditional, simplified = _telling()
    old = sum(character in traditional for character in text)
    new = sum(character in simplified for character in text)
    return Script.ZH_HANT if old > new else Script.ZH


def in_script(text: str, script: Script) -> str:
    """Return Chinese text in one script, by phrases where characters alone do not tell.

    English and what else a text holds stay as they are.
    """
    converter = _converter("s2t" if script is Script.ZH_HANT else "t2s")
    return text if script is Script.EN else str(converter.convert(text))


@cache
def _converter(kind: str) -> opencc.OpenCC:
    return opencc.OpenCC(kind)


@cache
def _telling() -> tuple[frozenset[str], frozenset[str]]:
    """Return the characters that only one of the two scripts has."""
    folder = resources.files("opencc").joinpath("dictionary")

    def pairs(name: str) -> list[tuple[str, list[str]]]:
        lines = folder.joinpath(name).read_text(encoding="utf-8").splitlines()
        rows = [line.split("\t") for line in lines if "\t" in line]
        return [(row[0], row[1].split(" ")) for row in rows]

    traditional = {one for one, others in pairs("TSCharacters.txt") if one not in others}
    simplified = {one for one, others in pairs("STCharacters.txt") if one not in others}
    return frozenset(traditional - simplified), frozenset(simplified - traditional)
