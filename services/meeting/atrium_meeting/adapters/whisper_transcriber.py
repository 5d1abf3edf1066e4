"""Speech to words by Whisper on CTranslate2 (faster-whisper)."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import ctranslate2
import numpy as np
import numpy.typing as npt
from faster_whisper import WhisperModel
from faster_whisper.audio import pad_or_trim
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_suppressed_tokens

from atrium_grounding.scripts import Script, in_script
from atrium_meeting.app.ports import ChineseScript, RecognitionHints, RecognizedSegment
from atrium_meeting.domain.audio import SAMPLE_RATE, Region, Samples, cut
from atrium_meeting.domain.errors import RecognitionUnavailable
from atrium_meeting.domain.hallucinations import Evidence, HallucinationLimits, is_loop, said
from atrium_meeting.domain.recognition import Piece, choose_languages, widen_marks, words_of
from atrium_meeting.domain.transcript import Word, split_words
from atrium_meeting.domain.windows import Window, pack, split, uncovered

_FILES: Final = ("model.bin", "config.json", "tokenizer.json")
_FRAMES_PER_SECOND: Final = 100
_EDGE_MS: Final = 80


@dataclass(frozen=True, slots=True)
class WhisperOptions:
    """How Whisper is run.

    Args:
        languages: What is looked for where the hints say nothing (ISO 639-1).
        prompts: What a speaker of a language is taken to have said just before, by language; it
            sets the style, such as punctuation in Chinese.
        beam_size: Hypotheses that are followed at once.
        batch_size: Windows that are decoded together.
        window_ms: Longest stretch that is decoded as one; Whisper sees 30 s.
        pause_ms: Longest pause that is kept within a window.
        language_part_ms: Longest stretch that is taken to be of one language.
        gap_ms: Speech of this length without a word is recognised once more, on its own.
        retry_ms: Longest stretch that is then decoded as one.
        hotword_tokens: Most tokens of hotwords that Whisper is told; the first ones count.
        compute_type: Of CTranslate2.
        threads: For each call; 0: as many as there are cores.
        limits: What is taken to be made up, in a window.
        region_limits: The same in each region of it, by the confidence of its words alone.
    """

    languages: tuple[str, ...] = ("zh", "en")
    prompts: dict[str, str] = field(
        default_factory=lambda: {"zh": "好，我们开始吧。今天说两件事：进度和预算。"}
    )
    beam_size: int = 5
    batch_size: int = 4
    window_ms: int = 15_000
    pause_ms: int = 1_000
    language_part_ms: int = 10_000
    gap_ms: int = 1_500
    retry_ms: int = 10_000
    hotword_tokens: int = 120
    compute_type: str = "int8"
    threads: int = 0
    limits: HallucinationLimits = field(default_factory=HallucinationLimits)
    region_limits: HallucinationLimits = field(
        default_factory=lambda: HallucinationLimits(unsure_log_probability=-1.0)
    )


@dataclass(frozen=True, slots=True)
class _Decoded:
    """What Whisper says of one window."""

    tokens: list[int]
    no_speech_probability: float
    mean_log_probability: float


class WhisperTranscriber:
    """Recognises speech (`Transcriber`); the model is loaded by the first call.

    The language is found out stretch by stretch, neighbours of one language share windows of up to
    15 s, and several windows are decoded at once. May be called from several threads.

    Args:
        folder: Of the model: `model.bin`, `config.json`, `tokenizer.json` and its vocabulary.
        model: Its name.
        options: How it is run.
    """

    def __init__(
        self, folder: Path, model: str = "whisper-base", options: WhisperOptions | None = None
    ) -> None:
        self._folder = folder
        self._model = model
        self._options = options or WhisperOptions()
        self._lock = threading.Lock()
        self._loaded: WhisperModel | None = None

    @property
    def model(self) -> str:
        """Name of the model."""
        return self._model

    def check(self) -> None:
        """Return when the model's files are there. See `Transcriber`."""
        missing = [name for name in _FILES if not (self._folder / name).is_file()]
        if missing:
            raise RecognitionUnavailable(
                f"The speech recognition model {self._model!r} is not complete: "
                f"{', '.join(missing)} missing. Pull the model set `small` (atrium models pull "
                "small), or name another folder of a faster-whisper model.",
                model=self._model,
            )

    def load(self) -> None:
        """Load the model, so that the first call need not wait for it.

        Raises:
            RecognitionUnavailable: No model is there, or it cannot be loaded.
        """
        self._whisper()

    def transcribe(
        self, samples: Samples, speech: Sequence[Region], hints: RecognitionHints
    ) -> list[RecognizedSegment]:
        """Return what is said, a segment for each region. See `Transcriber`."""
        if not speech:
            return []
        whisper = self._whisper()
        options = self._options
        parts = split(samples, speech, options.language_part_ms)
        languages = self._languages(whisper, samples, parts, hints)
        segments: list[RecognizedSegment] = []
        for language, run in _runs(parts, languages, options.window_ms):
            recognizer = _Recognizer(whisper, options, language, hints)
            words = recognizer.recognize(samples, run, options.window_ms, prompted=True)
            # Whisper may stop in the middle of a window, mostly over several voices.
            missed = uncovered(run, words, options.gap_ms)
            if missed:
                words += recognizer.recognize(samples, missed, options.retry_ms, prompted=False)
                words.sort(key=lambda word: word.start_ms)
            segments += [RecognizedSegment(language, tuple(own)) for own in _by_region(run, words)]
        return segments

    def _whisper(self) -> WhisperModel:
        with self._lock:
            if self._loaded is None:
                self.check()
                try:
                    self._loaded = WhisperModel(
                        str(self._folder),
                        device="cpu",
                        compute_type=self._options.compute_type,
                        cpu_threads=self._options.threads,
                        local_files_only=True,
                    )
                except (RuntimeError, ValueError, OSError) as error:
                    raise RecognitionUnavailable(
                        f"The speech recognition model {self._model!r} cannot be loaded: {error}",
                        model=self._model,
                    ) from error
            return self._loaded

    def _languages(
        self,
        whisper: WhisperModel,
        samples: Samples,
        parts: Sequence[Region],
        hints: RecognitionHints,
    ) -> list[str]:
        """Return the language of each part, with its neighbours' word where it is short."""
        allowed = hints.languages or self._options.languages
        if not whisper.model.is_multilingual:
            return ["en"] * len(parts)
        if len(allowed) == 1:
            return [allowed[0]] * len(parts)
        chances = []
        for part in parts:
            sound = cut(samples, part)
            sound = np.pad(sound, (0, max(0, SAMPLE_RATE - len(sound))))
            features = whisper.feature_extractor(sound)[..., :-1]
            # Without padding to 30 s this takes as long as the part is; that suffices here.
            found = dict(whisper.model.detect_language(whisper.encode(features[..., :3000]))[0])
            chances.append([found.get(f"<|{code}|>", 0.0) for code in allowed])
        chosen = choose_languages(chances, [part.length_ms for part in parts])
        return [allowed[language] for language in chosen]


class _Recognizer:
    """Recognises speech of one language."""

    def __init__(
        self,
        whisper: WhisperModel,
        options: WhisperOptions,
        language: str,
        hints: RecognitionHints,
    ) -> None:
        self._whisper = whisper
        self._options = options
        self._tokenizer = Tokenizer(
            whisper.hf_tokenizer,
            whisper.model.is_multilingual,
            task="transcribe",
            language=language,
        )
        self._rewrite = _rewriting(language, hints.script)
        self._told = self._tell(hints.hotwords, options.prompts.get(language, ""))

    def recognize(
        self, samples: Samples, regions: Sequence[Region], window_ms: int, *, prompted: bool
    ) -> list[Word]:
        """Return the words of regions, in order, at their times in the samples."""
        windows = pack(regions, window_ms, self._options.pause_ms)
        words: list[Word] = []
        size = self._options.batch_size
        for start in range(0, len(windows), size):
            words += self._recognize(samples, windows[start : start + size], prompted)
        return words

    def _tell(self, hotwords: Sequence[str], prompt: str) -> list[int]:
        """Return the tokens of hotwords and prompt."""
        told: list[int] = []
        for word in hotwords:
            tokens = self._tokenizer.encode(f", {word}" if told else f" {word}")
            if len(told) + len(tokens) > self._options.hotword_tokens:
                break
            told += tokens
        if told:
            told += self._tokenizer.encode(".")
        return [*told, *self._tokenizer.encode(prompt)]

    def _recognize(self, samples: Samples, windows: Sequence[Window], prompted: bool) -> list[Word]:
        extract = self._whisper.feature_extractor
        features = np.stack(
            [pad_or_trim(extract(window.sound(samples))[..., :-1]) for window in windows]
        )
        encoded = self._whisper.encode(features)
        decoded = self._decode(encoded, len(windows), self._told if prompted else [])
        stuck = [
            place
            for place, result in enumerate(decoded)
            if is_loop(split_words(self._tokenizer.decode(result.tokens)))
        ]
        if stuck:
            again = self._decode(
                self._whisper.encode(features[stuck]), len(stuck), [], no_repeat_ngram_size=4
            )
            for place, result in zip(stuck, again, strict=True):
                decoded[place] = result
        frames = [math.ceil(window.length_ms * _FRAMES_PER_SECOND / 1000) for window in windows]
        words: list[Word] = []
        aligned = self._align(encoded, decoded, frames)
        for window, result, pieces in zip(windows, decoded, aligned, strict=True):
            words += self._said(samples, window, result, words_of(pieces, self._rewrite))
        return words

    def _decode(
        self,
        encoded: ctranslate2.StorageView,
        count: int,
        told: list[int],
        no_repeat_ngram_size: int = 0,
    ) -> list[_Decoded]:
        tokenizer = self._tokenizer
        prompt = self._whisper.get_prompt(tokenizer, told, without_timestamps=True)
        results = self._whisper.model.generate(
            encoded,
            [list(prompt) for _ in range(count)],
            beam_size=self._options.beam_size,
            max_length=self._whisper.max_length,
            no_repeat_ngram_size=no_repeat_ngram_size,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_blank=True,
            suppress_tokens=get_suppressed_tokens(tokenizer, [-1]),
        )
        decoded = []
        for result in results:
            tokens = [token for token in result.sequences_ids[0] if token < tokenizer.eot]
            length = len(result.sequences_ids[0])
            # The score is the mean over the sequence; its end is one token more.
            mean = result.scores[0] * length / (length + 1)
            decoded.append(_Decoded(tokens, result.no_speech_prob, mean))
        return decoded

    def _align(
        self,
        encoded: ctranslate2.StorageView,
        decoded: Sequence[_Decoded],
        frames: Sequence[int],
    ) -> list[list[Piece]]:
        """Return what was decoded as pieces with times, one list for each window."""
        found: list[list[dict[str, Any]]] = self._whisper.find_alignment(
            self._tokenizer, [result.tokens for result in decoded], encoded, list(frames)
        )
        return [
            [
                Piece(
                    str(word["word"]),
                    1000 * float(word["start"]),
                    1000 * float(word["end"]),
                    float(word["probability"]),
                )
                for word in alignment
            ]
            for alignment in found
        ]

    def _said(
        self, samples: Samples, window: Window, result: _Decoded, words: Sequence[Word]
    ) -> list[Word]:
        """Return the words that were not made up, at their places in the samples."""
        limits = self._options.limits
        levels = [_level(cut(samples, region)) for region in window.regions]
        evidence = Evidence(
            result.no_speech_probability, result.mean_log_probability, window.length_ms, max(levels)
        )
        kept = _chosen(words, said([word.text for word in words], evidence, limits))
        # After a pause Whisper lets a word begin too early; its end tells where it belongs.
        placed = [
            (window.place(max(word.start_ms, word.end_ms - _EDGE_MS))[0], word) for word in kept
        ]
        found: list[Word] = []
        for index, group in groupby(placed, lambda entry: entry[0]):
            region = window.regions[index]
            own = [word for _, word in group]
            evidence = Evidence(
                result.no_speech_probability,
                sum(math.log(max(word.confidence, 1e-3)) for word in own) / len(own),
                region.length_ms,
                levels[index],
            )
            truly_said = said([word.text for word in own], evidence, self._options.region_limits)
            kept = _chosen(own, truly_said)
            found += [_moved(word, window, region) for word in kept]
        return found


def _chosen(words: Sequence[Word], keep: Sequence[bool]) -> list[Word]:
    return [word for word, kept in zip(words, keep, strict=True) if kept]


def _by_region(regions: Sequence[Region], words: Sequence[Word]) -> Iterator[list[Word]]:
    """Yield the words of each region that has some."""
    for region in regions:
        own = [
            word
            for word in words
            if region.start_ms <= (word.start_ms + word.end_ms) / 2 < region.end_ms + 0.5
        ]
        if own:
            yield own


def _runs(
    parts: Sequence[Region], languages: Sequence[str], longest_ms: int
) -> Iterator[tuple[str, list[Region]]]:
    """Yield neighbours of one language; those that touch become one region again."""
    for language, group in groupby(zip(languages, parts, strict=True), lambda entry: entry[0]):
        run: list[Region] = []
        for _, part in group:
            if run and run[-1].end_ms == part.start_ms:
                longer = Region(run[-1].start_ms, part.end_ms)
                if longer.length_ms <= longest_ms:
                    run[-1] = longer
                    continue
            run.append(part)
        yield language, run


def _moved(word: Word, window: Window, region: Region) -> Word:
    start = min(max(window.place(word.start_ms)[1], region.start_ms), region.end_ms)
    end = min(max(window.place(word.end_ms)[1], start), region.end_ms)
    return Word(word.text, start, end, word.confidence)


def _rewriting(language: str, script: ChineseScript) -> Callable[[str], str]:
    if language != "zh":
        return str
    target = Script.ZH_HANT if script is ChineseScript.TRADITIONAL else Script.ZH

    def rewrite(text: str) -> str:
        return widen_marks(in_script(text, target))

    return rewrite


def _level(sound: npt.NDArray[np.float32]) -> float:
    return float(np.sqrt(np.square(sound).mean())) if len(sound) else 0.0
