"""Cleanup by the tagger that ships with the service: model files, network, guard rails."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final
from zipfile import BadZipFile

import numpy as np

from atrium_meeting.adapters.onnx_tagger import OnnxTagger, agree
from atrium_meeting.domain.cleanup import lexicon
from atrium_meeting.domain.cleanup.guards import Language, chinese, english, guard
from atrium_meeting.domain.cleanup.kinds import name_kinds
from atrium_meeting.domain.cleanup.network import Floats, Network, decide, unpack
from atrium_meeting.domain.cleanup.reading import BETWEEN, read
from atrium_meeting.domain.cleanup.units import Unit, read_word
from atrium_meeting.domain.transcript import Disfluency

FORMAT: Final = 1
"""Version of the model files that this code reads."""
_AT_ONCE: Final = 2048
"""Words that go through the network together: what stays in the processor's cache."""
_REMEMBERED: Final = 65_536


class ModelUnreadable(Exception):
    """A model file is not what this code reads; the installation is broken."""


@dataclass(frozen=True)
class _Tagger:
    network: Network
    vocabulary: Mapping[str, int]
    aliases: Mapping[str, str]
    threshold: float
    looked_past: Collection[str]
    rules: Language
    encoder: OnnxTagger | None = None
    """It reads Chinese, too; what goes is decided by both."""


class TaggerCleaner:
    """Marks disfluencies of Chinese and English; other languages come back without marks.

    It may be used by several threads at once.

    Args:
        folder: Where ``zh.npz``, ``zh.onnx`` and ``en.npz`` are; by default those that ship.
        guarded: False leaves the guard rails out. Only for measuring what they do.

    Raises:
        ModelUnreadable: A file is missing or of another format.
    """

    def __init__(self, folder: Traversable | None = None, *, guarded: bool = True) -> None:
        place = folder or resources.files("atrium_meeting.domain.cleanup") / "models"
        self._taggers = {language: _load(place, language) for language in ("zh", "en")}
        self._guarded = guarded
        self._read = {
            language: lru_cache(_REMEMBERED)(_reader(tagger.aliases))
            for language, tagger in self._taggers.items()
        }

    @property
    def model(self) -> str:
        """Name and version of the tagger."""
        return f"atrium-cleanup-{FORMAT}"

    def mark(
        self, language: str, utterances: Sequence[Sequence[str]]
    ) -> list[list[Disfluency | None]]:
        """Return a label for each word of each utterance.

        Args:
            language: "zh" or "en", also with a region or script ("zh-Hant").
            utterances: Words of each, as ``domain.transcript.split_words`` cuts them.
        """
        language = language.split("-")[0].lower()
        tagger = self._taggers.get(language)
        if tagger is None:
            return [[None] * len(words) for words in utterances]
        read_one = self._read[language]
        units = [[read_one(word) for word in words] for words in utterances]
        marked = []
        for own, proposed in zip(units, _propose(tagger, units), strict=True):
            labels = guard(own, proposed, tagger.rules) if self._guarded else proposed
            marked.append(name_kinds(own, labels))
        return marked

    def probabilities(self, language: str, words: Sequence[str]) -> Floats:
        """Return what the network alone says of an utterance, (words, 3): for measuring."""
        tagger = self._taggers[language]
        units = [self._read[language](word) for word in words]
        return np.concatenate([*_run(tagger, [units])]) if units else np.zeros((0, 3), np.float32)


def _reader(aliases: Mapping[str, str]) -> Callable[[str], Unit]:
    def read_one(word: str) -> Unit:
        unit = read_word(word)
        alias = aliases.get(unit.core)
        return unit if alias is None else unit._replace(core=alias)

    return read_one


def _load(folder: Traversable, language: str) -> _Tagger:
    file = folder / f"{language}.npz"
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            held = {name: arrays[name] for name in arrays.files}
        settings = json.loads(bytes(held["settings"]))
        if settings["format"] != FORMAT:
            raise ModelUnreadable(
                f"{file} is of format {settings['format']}, expected {FORMAT}; run "
                "`make train-cleanup`."
            )
        words = bytes(held["vocabulary"]).decode().split("\n")
        network = unpack(held)
    except (OSError, KeyError, ValueError, BadZipFile) as exc:
        raise ModelUnreadable(
            f"{file} is not a tagger of format {FORMAT}; install the service anew or run "
            "`make train-cleanup`."
        ) from exc
    encoder = _load_encoder(folder / "zh.onnx") if language == "zh" else None
    return _Tagger(
        network,
        {word: place for place, word in enumerate(words)},
        settings.get("aliases", {}),
        settings["threshold"] if encoder is None else encoder.threshold,
        lexicon.LOOKED_PAST_ZH if language == "zh" else lexicon.LOOKED_PAST_EN,
        chinese()
        if language == "zh"
        else english(frozenset([*words, *settings.get("common", "").split()])),
        encoder,
    )


def _load_encoder(file: Traversable) -> OnnxTagger:
    try:
        encoder = OnnxTagger(file.read_bytes())
    except (OSError, ValueError) as exc:
        raise ModelUnreadable(
            f"{file} is not an encoder of format {FORMAT}; install the service anew or run "
            "`make train-cleanup`."
        ) from exc
    if encoder.format != FORMAT:
        raise ModelUnreadable(
            f"{file} is of format {encoder.format}, expected {FORMAT}; run `make train-cleanup`."
        )
    return encoder


def _propose(tagger: _Tagger, utterances: Sequence[Sequence[Unit]]) -> Iterator[list[int]]:
    """Yield what the network proposes for each utterance."""
    low = tagger.threshold if tagger.encoder is None else tagger.encoder.low
    for rows in _run(tagger, utterances):
        yield decide(rows, tagger.threshold, low)


def _run(tagger: _Tagger, utterances: Sequence[Sequence[Unit]]) -> Iterator[Floats]:
    """Yield the probabilities of each utterance; long ones go through in parts."""
    parts = [
        units[begin : begin + _AT_ONCE]
        for units in utterances
        for begin in range(0, max(1, len(units)), _AT_ONCE)
    ]
    results: Iterator[Floats] = iter(_batches(tagger, parts))
    for units in utterances:
        count = max(1, -(-len(units) // _AT_ONCE))
        rows = [next(results) for _ in range(count)]
        yield rows[0] if count == 1 else np.concatenate(rows)


def _batches(tagger: _Tagger, parts: Sequence[Sequence[Unit]]) -> Iterator[Floats]:
    batch: list[Sequence[Unit]] = []
    words = 0
    for number, part in enumerate(parts):
        batch.append(part)
        words += len(part) + BETWEEN
        last = number == len(parts) - 1
        if last or words + len(parts[number + 1]) > _AT_ONCE:
            reading = read(batch, tagger.vocabulary, tagger.looked_past)
            found = tagger.network.probabilities(reading.ids, reading.columns, reading.here)
            for start, one in zip(reading.starts, batch, strict=True):
                rows = found[start : start + len(one)]
                if tagger.encoder is not None and one:
                    columns = reading.columns[start : start + len(one)]
                    rows = agree(
                        rows, tagger.encoder.probabilities(one, columns), tagger.encoder.share
                    )
                yield rows
            batch, words = [], 0
