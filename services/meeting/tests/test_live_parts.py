import asyncio

import numpy as np
import pytest

from atrium_meeting.app.turns import Turns
from atrium_meeting.domain.errors import LiveFrameInvalid
from atrium_meeting.domain.frame_places import FramePlaces
from atrium_meeting.domain.online_speakers import OnlineSpeakers
from atrium_meeting.domain.sound_tape import SoundTape, quietest_ms
from atrium_meeting.domain.voices import voices_from_bytes, voices_to_bytes
from atrium_meeting.testing import silence, tone


async def test_who_is_urgent_has_the_next_turn():
    turns, order = Turns(1), []

    async def wait(name: str, *, urgent: bool) -> None:
        async with turns.take(lambda: urgent):
            order.append(name)
            await asyncio.sleep(0)

    async with turns.take(lambda: False):
        waiting = [
            asyncio.create_task(wait(name, urgent=urgent))
            for name, urgent in (("a", False), ("b", False), ("c", True), ("d", True))
        ]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
    await asyncio.gather(*waiting, return_exceptions=True)
    assert order == ["c", "d", "b"]
    async with turns.take(lambda: False):
        pass


def test_frames_are_placed_by_their_offsets():
    places = FramePlaces(1000, 60_000)
    assert places.place(500, b"old", 16 * 500).skipped == 16 * 500  # before what is expected
    half = places.place(500, b"half", 16 * 1500)
    assert (half.silence, half.skipped) == (0, 16 * 500)
    assert places.received == 16 * 2000
    assert places.place(None, b"next", 160).skipped == 0
    gap = places.place(5010, b"later", 160)
    assert gap.silence == 16 * 3000
    assert places.is_repeated(5010, b"later")
    assert not places.is_repeated(5010, b"other")
    with pytest.raises(LiveFrameInvalid):
        places.place(3000, b"other", 160)
    with pytest.raises(LiveFrameInvalid):
        places.place(70_000, b"far", 160)


def test_the_tape_gives_back_what_it_was_given():
    tape = SoundTape()
    sound = tone(2.0)
    for at in range(0, len(sound), 1600):
        tape.append(16_000 + at, sound[at : at + 1600])
    assert np.array_equal(tape.between(1500, 2500), sound[8000:24_000])
    assert np.array_equal(tape.between(500, 1000), silence(0.5))
    tape.forget_before(2000)
    assert np.array_equal(tape.between(2000, 3000), sound[16_000:])


def test_the_quietest_place_is_found():
    sound = np.concatenate([silence(0.2), tone(0.5), silence(0.06), tone(0.4)])
    assert quietest_ms(sound, 300) in (720, 730, 740)
    assert quietest_ms(tone(0.02), 0) == 20


def test_voices_survive_as_bytes():
    speakers = OnlineSpeakers()
    assert voices_from_bytes(b"").count == 0
    assert voices_from_bytes(voices_to_bytes(speakers)).count == 0
    voices = np.eye(4, dtype=np.float32)
    for voice in voices[:3]:
        speakers.assign(voice, 3000)
    again = voices_from_bytes(voices_to_bytes(speakers))
    assert [again.assign(voice, 3000) for voice in voices] == ["S1", "S2", "S3", "S4"]
