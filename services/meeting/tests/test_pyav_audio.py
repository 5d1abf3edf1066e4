from __future__ import annotations

import random
import struct
import time
import wave
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import psutil
import pytest

from atrium_meeting.adapters.pyav_audio import OpusFrames, PyavDecoder
from atrium_meeting.domain.audio import SAMPLE_RATE, Samples, to_pcm16
from atrium_meeting.domain.errors import (
    DecoderUnavailable,
    FrameBroken,
    RecordingBroken,
    RecordingCodecUnknown,
    RecordingEmpty,
    RecordingEncrypted,
    RecordingHasNoSound,
    RecordingNotAudio,
    RecordingRefused,
    RecordingTooLong,
)
from atrium_meeting.testing import encode, silence, tone

_ENCRYPTED = {
    "encryption_scheme": "cenc-aes-ctr",
    "encryption_key": "00112233445566778899aabbccddeeff",
    "encryption_kid": "ffeeddccbbaa99887766554433221100",
}


def _tone(rate: int, channels: int = 1, seconds: float = 2.0) -> npt.NDArray[np.float32]:
    time_ = np.arange(round(rate * seconds)) / rate
    return np.tile((0.3 * np.sin(2 * np.pi * 440 * time_)).astype(np.float32), (channels, 1))


def _heard(path: Path) -> Samples:
    return np.concatenate([piece.samples for piece in PyavDecoder().decode(path)])


def _loudness(samples: Samples) -> float:
    return float(np.sqrt(np.square(samples).mean()))


def _pitch(samples: Samples) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax() * SAMPLE_RATE / len(samples))


def _wav(path: Path, channels: npt.NDArray[np.float32], rate: int) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((len(channels), 2, rate, 0, "NONE", ""))
        file.writeframes(to_pcm16(channels.T.reshape(-1)))
    return path


@pytest.mark.parametrize(
    ("name", "codec", "rate", "channels"),
    [
        ("phone.wav", "pcm_u8", 8_000, 1),
        ("odd.wav", "pcm_s16le", 12_345, 2),
        ("talk.m4a", "aac", 44_100, 2),
        ("browser.webm", "libopus", 48_000, 2),
        ("talk.mp3", "libmp3lame", 22_050, 1),
        ("high.mkv", "pcm_f32le", 96_000, 1),
    ],
)
def test_any_format_becomes_mono_sound_at_16_khz(
    tmp_path: Path, name: str, codec: str, rate: int, channels: int
) -> None:
    path = encode(tmp_path / name, _tone(rate, channels), codec, rate=rate)
    heard = _heard(path)
    assert len(heard) / SAMPLE_RATE == pytest.approx(2.0, abs=0.1)
    assert _pitch(heard) == pytest.approx(440, abs=1)
    assert _loudness(heard) == pytest.approx(0.212, rel=0.08)


def test_one_voice_among_24_channels_stays_as_loud_as_it_is(tmp_path: Path) -> None:
    channels = np.zeros((24, 32_000), np.float32)
    channels[17] = _tone(16_000)[0]
    path = _wav(tmp_path / "table.wav", channels, 16_000)
    info = PyavDecoder().examine(path)
    assert (info.channels, info.sample_rate, info.duration_ms) == (24, 16_000, 2_000)
    assert _loudness(_heard(path)) == pytest.approx(0.212, rel=0.01)


def test_a_channel_with_swapped_poles_does_not_cancel_the_other(tmp_path: Path) -> None:
    sound = _tone(16_000)[0]
    path = _wav(tmp_path / "swapped.wav", np.stack([sound, -0.8 * sound]), 16_000)
    assert _loudness(_heard(path)) == pytest.approx(0.9 * 0.212, rel=0.01)


def test_pieces_meet_at_quiet_places_and_together_are_the_recording(tmp_path: Path) -> None:
    sound = np.concatenate([tone(9.2), silence(0.6), tone(11.4), silence(0.6), tone(5)])
    path = encode(tmp_path / "talk.flac", sound, "flac")
    pieces = list(PyavDecoder(piece_ms=10_000, slack_ms=2_000).decode(path))
    assert [piece.offset_ms for piece in pieces] == [0, 9_650, 21_350]
    together = np.concatenate([piece.samples for piece in pieces])
    np.testing.assert_allclose(together, sound, atol=1 / 32768)
    assert not any(piece.truncated for piece in pieces)


def test_a_cut_off_recording_is_kept_as_far_as_it_goes_and_marked(tmp_path: Path) -> None:
    path = encode(tmp_path / "talk.wav", tone(20))
    path.write_bytes(path.read_bytes()[: 16_000 * 2 * 7])
    pieces = list(PyavDecoder(piece_ms=5_000, slack_ms=100).decode(path))
    assert sum(len(piece.samples) for piece in pieces) / SAMPLE_RATE == pytest.approx(7, abs=0.1)
    assert [piece.truncated for piece in pieces] == [False, True]


def test_damage_in_the_middle_leaves_the_rest(tmp_path: Path) -> None:
    path = encode(tmp_path / "talk.mp3", _tone(16_000, seconds=10.0), "libmp3lame")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2_000] = random.Random(1).randbytes(2_000)
    path.write_bytes(data)
    assert len(_heard(path)) / SAMPLE_RATE > 8


def test_sound_that_is_missing_in_between_keeps_its_time(tmp_path: Path) -> None:
    path = tmp_path / "gap.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16_000)
        stream.layout = "mono"
        for start in (0, 5):
            data = np.frombuffer(to_pcm16(tone(1)), "<i2")[None, :]
            frame = av.AudioFrame.from_ndarray(data, format="s16", layout="mono")
            frame.sample_rate, frame.pts = 16_000, start * 16_000
            container.mux(stream.encode(frame))
    heard = _heard(path)
    assert len(heard) / SAMPLE_RATE == pytest.approx(6, abs=0.01)
    assert _loudness(heard[17_000:79_000]) == 0
    assert _loudness(heard[80_500:]) > 0.2


def test_0_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    path.touch()
    with pytest.raises(RecordingEmpty) as caught:
        PyavDecoder().examine(path)
    assert (caught.value.reason, caught.value.field) == ("RECORDING_EMPTY", "recording")


@pytest.mark.parametrize(
    "data",
    [
        b"Minutes of the meeting of Monday.\n" * 40,
        b"%PDF-1.7\n" + bytes(range(256)) * 20,
        random.Random(2).randbytes(60_000),
        b"\x00" * 50_000,
    ],
    ids=["text", "pdf", "noise", "zeros"],
)
def test_what_is_no_recording_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "talk.mp3"
    path.write_bytes(data)
    with pytest.raises(RecordingNotAudio):
        PyavDecoder().examine(path)


def test_a_playlist_cannot_reach_other_files(tmp_path: Path) -> None:
    target = encode(tmp_path / "secret.wav", tone(1))
    for name, text in {
        "list.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n",
        "list.txt": f"ffconcat version 1.0\nfile {target.name}\n",
    }.items():
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(RecordingNotAudio):
            PyavDecoder().examine(path)


def test_a_film_without_sound_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "silent.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))
        container.mux([*stream.encode(picture), *stream.encode(None)])
    with pytest.raises(RecordingHasNoSound):
        PyavDecoder().examine(path)


def test_a_recording_without_a_sample_is_refused(tmp_path: Path) -> None:
    path = _wav(tmp_path / "nothing.wav", np.zeros((1, 0), np.float32), 16_000)
    with pytest.raises(RecordingHasNoSound):
        list(PyavDecoder().decode(path))


def test_protected_recordings_are_refused(tmp_path: Path) -> None:
    encrypted = encode(tmp_path / "film.mp4", tone(1), "aac", options=_ENCRYPTED)
    plain = encode(tmp_path / "talk.m4a", tone(1), "aac").read_bytes()
    bought = tmp_path / "bought.m4p"
    bought.write_bytes(plain.replace(b"mp4a", b"drms"))
    for path in (encrypted, bought):
        with pytest.raises(RecordingEncrypted, match="without protection"):
            PyavDecoder().examine(path)


def test_an_unknown_codec_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"
    header = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 100, b"WAVE", b"fmt ", 16, 0x7A7A, 1, 16_000,
                         32_000, 2, 16)  # fmt: skip
    path.write_bytes(header + struct.pack("<4sI", b"data", 64) + b"\x01" * 64)
    with pytest.raises(RecordingCodecUnknown):
        PyavDecoder().examine(path)


def test_a_header_without_the_rest_is_refused_as_broken(tmp_path: Path) -> None:
    path = encode(tmp_path / "talk.m4a", tone(2), "aac")  # its index stands at the end
    path.write_bytes(path.read_bytes()[:2_000])
    with pytest.raises(RecordingBroken, match="cut off or damaged"):
        list(PyavDecoder().decode(path))


def test_20_hours_are_refused_by_the_header(tmp_path: Path) -> None:
    path = encode(tmp_path / "day.wav", tone(1, level=0.1), rate=8_000)
    size = 20 * 3600 * 8_000 * 2
    with path.open("r+b") as file:
        data = file.read().index(b"data")
        file.seek(4)
        file.write(struct.pack("<I", size + data))
        file.seek(data + 4)
        file.write(struct.pack("<I", size))
        file.truncate(data + 8 + size)  # takes no space on the disk
    started = time.monotonic()
    with pytest.raises(RecordingTooLong, match=r"20\.0 h or more; a recording may last 6 h"):
        next(PyavDecoder().decode(path))
    assert time.monotonic() - started < 20


def test_what_turns_out_longer_than_its_header_says_is_refused(tmp_path: Path) -> None:
    path = encode(tmp_path / "talk.mp3", _tone(16_000, seconds=12.0), "libmp3lame")
    pieces = PyavDecoder(limit_ms=10_000, piece_ms=5_000, slack_ms=100).decode(path)
    assert next(pieces).offset_ms == 0
    with pytest.raises(RecordingTooLong):
        list(pieces)


def test_garbage_within_a_format_never_does_more_than_refuse(tmp_path: Path) -> None:
    good = encode(tmp_path / "talk.webm", _tone(48_000), "libopus", rate=48_000).read_bytes()
    chance = random.Random(3)
    for number in range(6):
        data = bytearray(good)
        for _ in range(60):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path = tmp_path / f"fuzz{number}.webm"
        path.write_bytes(data)
        try:
            heard = _heard(path)
        except RecordingRefused:
            continue
        assert np.isfinite(heard).all()


def test_a_process_that_dies_or_hangs_fails_its_recording_alone(tmp_path: Path) -> None:
    path = encode(tmp_path / "talk.wav", tone(120))
    for how in ("kill", "suspend"):
        pieces = PyavDecoder(piece_ms=5_000, slack_ms=100, stall_seconds=0.5).decode(path)
        next(pieces)
        (child,) = _children()
        getattr(child, how)()
        with pytest.raises(RecordingBroken):
            list(pieces)
        assert _children() == []
    assert len(_heard(path)) == 120 * SAMPLE_RATE


def test_whoever_stops_early_leaves_no_process_behind(tmp_path: Path) -> None:
    pieces = PyavDecoder(piece_ms=5_000, slack_ms=100).decode(
        encode(tmp_path / "talk.wav", tone(60))
    )
    next(pieces)
    assert len(_children()) == 1
    pieces.close()
    assert _children() == []


def test_a_process_that_cannot_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "atrium_documents.confinement.environment", lambda: {"PYTHONHOME": "/nowhere"}
    )
    with pytest.raises(DecoderUnavailable, match=r"did not start\. It printed: .+"):
        PyavDecoder().examine(encode(tmp_path / "talk.wav", tone(1)))


def _children() -> list[psutil.Process]:
    return [
        child for child in psutil.Process().children() if "pyav_worker" in " ".join(child.cmdline())
    ]


def _opus(seconds: float, channels: int = 1) -> list[bytes]:
    context = av.CodecContext.create("libopus", "w")
    context.sample_rate, context.format = 48_000, "flt"
    context.layout = "mono" if channels == 1 else "stereo"
    packets = []
    sound = _tone(48_000, channels, seconds)
    for start in range(0, sound.shape[1], 960):
        part = np.ascontiguousarray(sound[:, start : start + 960].T.reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(part, format="flt", layout=context.layout.name)
        frame.sample_rate, frame.pts = 48_000, start
        packets += context.encode(frame)
    return [bytes(packet) for packet in packets]


@pytest.mark.parametrize("channels", [1, 2])
def test_opus_frames_become_sound(channels: int) -> None:
    frames = OpusFrames(channels)
    heard = np.concatenate([frames.decode(packet) for packet in _opus(2.0, channels)])
    assert len(heard) / SAMPLE_RATE == pytest.approx(2.0, abs=0.05)
    assert _pitch(heard) == pytest.approx(440, abs=1)


def test_a_broken_opus_frame_does_not_harm_the_next() -> None:
    frames = OpusFrames()
    packets = _opus(1.0)
    frames.decode(packets[0])
    for broken in (b"", b"\xff" * 10, b"\x03" + b"\xff" * 3, b"\x00" * 20_000):
        with pytest.raises(FrameBroken) as caught:
            frames.decode(broken)
        assert caught.value.reason == "AUDIO_FRAME_BROKEN"
    heard = np.concatenate([frames.decode(packet) for packet in packets[1:]])
    assert _pitch(heard[SAMPLE_RATE // 10 :]) == pytest.approx(440, abs=2)
