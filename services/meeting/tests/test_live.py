from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atrium.meeting.v1 import meeting_pb2, meeting_service_pb2
from atrium_meeting.adapters.sql_live import SqlLive
from atrium_meeting.bootstrap import MIGRATIONS
from atrium_meeting.domain.errors import LiveTakenOver
from atrium_meeting.domain.recordings import Origin
from atrium_meeting.testing import silence
from atrium_meeting.testing_live import (
    LiveClient,
    Request,
    ToneTranscriber,
    live,
    opus_packets,
    say,
    spoken,
)
from atrium_meeting.testing_service import Fakes, House, open_house, run_sql
from atrium_shared.clock import FixedClock
from atrium_shared.database import Database
from atrium_shared.testing import error_of, eventually

FAST = {"live_partial_seconds": 0.4, "live_keep_seconds": 0.1}


@pytest.fixture
async def house(state: Path) -> AsyncIterator[House]:
    async with open_house(state, fakes=Fakes(transcriber=ToneTranscriber()), **FAST) as house:
        yield house


def joined(*parts: np.ndarray) -> np.ndarray:
    return np.concatenate(parts)


def live_tasks() -> list[str]:
    names = [task.get_name() for task in asyncio.all_tasks()]
    return [name for name in names if name.startswith("live ")]


def stored(house: House, column: str, table: str) -> Any:
    """Return what a column holds in the first row of a table."""
    query = f"SELECT {column} FROM {table}"
    return run_sql(house.settings.database_url, query)[0][0]


async def stored_words(house: House, meeting: str) -> list[str]:
    transcript = await house.transcript(meeting)
    return [word.text for one in transcript.utterances for word in one.words]


def check_stable(client: LiveClient) -> None:
    """What was stable once stays: all that is stable or final is one text that only grows."""
    final: list[tuple[str, int]] = []
    before: list[tuple[str, int]] = []
    for event in client.events:
        now = list(final)
        if event.HasField("final"):
            now += [(word.text, word.start_ms) for word in event.final.utterance.words]
            final = now
        elif event.HasField("partial"):
            partial = event.partial
            assert partial.stable_words <= len(partial.utterance.words)
            words = partial.utterance.words[: partial.stable_words]
            now += [(word.text, word.start_ms) for word in words]
        else:
            continue
        assert now[: len(before)] == before
        before = now


async def test_a_live_meeting_is_partial_then_final_then_ready(house: House):
    meeting = (await house.meeting()).name
    async with live(house.as_(), meeting) as client:
        started = await client.next("started")
        assert started.started.expected_offset_ms == 0
        assert started.resume_token
        await client.play(joined(say(range(10)), silence(1), say(range(10, 14))), pace=0.02)
        await client.end()
        events = await client.rest()
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds[0] == "started"
    assert kinds[-1] == "finished"
    assert kinds.count("final") == 2
    assert kinds.index("partial") < kinds.index("final")
    check_stable(client)
    assert client.final_words == spoken(range(14))
    first, second = (one.final.utterance for one in events if one.HasField("final"))
    assert (first.id, second.id) == ("u1", "u2")
    assert (first.words[0].start_ms, second.words[0].start_ms) == (0, 3000)
    done = events[-1].finished.meeting
    assert done.state == meeting_pb2.Meeting.READY
    assert [one.id for one in done.speakers] == ["S1"]
    assert await stored_words(house, meeting) == spoken(range(14))


async def test_words_are_stored_before_they_are_sent(house: House):
    meeting = (await house.meeting()).name
    async with live(house.as_(), meeting) as client:
        await client.play(joined(say(range(5)), silence(1)))
        final = await client.next("final")
        assert await stored_words(house, meeting) == spoken(range(5))
        assert final.kept_until_ms >= final.final.utterance.end_ms
        found = await house.as_().GetMeeting(meeting_service_pb2.GetMeetingRequest(name=meeting))
        assert found.state == meeting_pb2.Meeting.LIVE
        assert found.speakers[0].speaking_time.ToMilliseconds() > 500


async def test_without_partial_results_none_are_sent(house: House):
    meeting = (await house.meeting()).name
    async with live(house.as_(), meeting, partial_results=False) as client:
        await client.play(say(range(40)))
        await client.end()
        kinds = {event.WhichOneof("event") for event in await client.rest()}
    assert kinds <= {"started", "final", "finished", None}
    assert client.final_words == spoken(range(40))


async def test_speech_without_a_pause_becomes_final_in_parts(house: House):
    meeting = (await house.meeting()).name
    async with live(house.as_(), meeting) as client:
        await client.play(say(range(300)), pace=0.01)
        await client.end()
        await client.rest()
    check_stable(client)
    lengths = [
        event.final.utterance.end_ms - event.final.utterance.start_ms
        for event in client.events
        if event.HasField("final")
    ]
    assert client.final_words == spoken(range(300))
    assert len(lengths) >= 3
    assert max(lengths) <= 30_000


async def test_speakers_are_told_apart(house: House):
    meeting = (await house.meeting()).name
    async with live(house.as_(), meeting) as client:
        for level in (0.25, 0.65, 0.25):
            await client.play(joined(say(range(10), level), silence(1)))
        await client.end()
        events = await client.rest()
    speakers = [event.final.utterance.speaker for event in events if event.HasField("final")]
    assert speakers == ["S1", "S2", "S1"]


async def test_silence_says_nothing_and_moves_on(house: House):
    meeting = (await house.meeting()).name
    async with live(house.as_(), meeting) as client:
        for _ in range(6):
            await client.play(silence(10), 10_000)
            await asyncio.sleep(0.05)
        while (event := await client.next()).kept_until_ms < 50_000:
            assert event.WhichOneof("event") in (None, "started")
        await client.end()
        assert (await client.rest())[-1].finished.meeting.state == meeting_pb2.Meeting.READY
    assert await stored_words(house, meeting) == []


async def test_a_gap_is_silence(house: House):
    meeting = (await house.meeting()).name
    async with live(house.as_(), meeting) as client:
        await client.play(say(range(5)), offset_ms=0)
        await client.play(say(range(5, 9)), offset_ms=2_000_000)
        await client.end()
        events = await client.rest()
    starts = [event.final.utterance.start_ms for event in events if event.HasField("final")]
    assert client.final_words == spoken(range(9))
    assert starts == [0, 2_000_000]


async def test_frames_that_come_again_are_left_out(house: House):
    meeting = (await house.meeting()).name
    sound = say(range(20))
    async with live(house.as_(), meeting) as client:
        await client.play(sound[:32_000], offset_ms=0)
        await client.play(sound[16_000:32_000], offset_ms=1000)
        await client.play(sound[32_000:])
        await client.end()
        await client.rest()
    assert client.final_words == spoken(range(20))


async def test_rounded_offsets_do_not_harm(house: House):
    meeting = (await house.meeting()).name
    sound, step = say(range(30)), 16 * 33 + 5
    async with live(house.as_(), meeting) as client:
        for at in range(0, len(sound), step):
            part = sound[at : at + step]
            await client.play(part, 1000, offset_ms=at // 16)
        await client.end()
        await client.rest()
    assert client.final_words == spoken(range(30))


async def test_a_clock_that_goes_back_is_refused_and_nothing_is_lost(house: House):
    meeting = (await house.meeting()).name
    async with live(house.as_(), meeting) as client:
        await client.play(say(range(20)), offset_ms=60_000)
        await client.play(say(range(20, 25)), offset_ms=10_000)
        error = await error_of(client.rest())
    assert error.reason == "LIVE_FRAME_INVALID"
    token = client.events[-1].resume_token
    async with live(house.as_(), meeting, resume_token=token) as client:
        expected = (await client.next("started")).started.expected_offset_ms
        await client.play(say(range(25)), offset_ms=max(60_000, expected))
        await client.end()
        await client.rest()
    assert await stored_words(house, meeting) == spoken(range(25))


async def test_a_broken_stream_is_gone_on_with_in_the_middle_of_a_word(house: House):
    meeting = (await house.meeting()).name
    sound = joined(say(range(10)), silence(1), say(range(10, 20)), silence(1), say(range(20, 30)))
    places, token, at = {3.13: True, 4.57: False, 6.11: True, 100.0: True}, "", 0
    for place, final in places.items():
        async with live(house.as_(), meeting, resume_token=token) as client:
            started = await client.next("started")
            token = started.resume_token
            at = started.started.expected_offset_ms
            await client.play(sound[at * 16 : int(place * 16_000)], offset_ms=at)
            if place > 10:
                await client.end()
                await client.rest()
            else:
                await client.next("final" if final else "partial")
    assert at > 5000
    assert await stored_words(house, meeting) == spoken(range(30))


async def test_a_sender_may_repeat_more_than_is_expected(house: House):
    meeting = (await house.meeting()).name
    sound = joined(say(range(10)), silence(1), say(range(10, 20)))
    async with live(house.as_(), meeting) as client:
        await client.play(sound[:50_000])
        token = (await client.next("final")).resume_token
    async with live(house.as_(), meeting, resume_token=token) as client:
        await client.play(sound, offset_ms=0)
        await client.end()
        await client.rest()
    assert await stored_words(house, meeting) == spoken(range(20))


async def test_a_stream_that_closes_without_an_end_can_be_gone_on_with(house: House):
    meeting = (await house.meeting()).name
    sound = joined(say(range(10)), silence(1), say(range(10, 20)))
    async with live(house.as_(), meeting) as client:
        await client.play(sound[: 16 * 3_500])
        await client.call.done_writing()
        events = await client.rest()
    assert events[-1].WhichOneof("event") != "finished"
    async with live(house.as_(), meeting) as client:  # its end was orderly: no token is needed
        at = (await client.next("started")).started.expected_offset_ms
        assert 2000 <= at <= 3000
        await client.play(sound[at * 16 :])
        await client.end()
        await client.rest()
    assert await stored_words(house, meeting) == spoken(range(20))


async def test_speakers_are_known_again_after_a_break(house: House):
    meeting = (await house.meeting()).name
    token = ""
    for level, speaker in ((0.25, "S1"), (0.65, "S2"), (0.25, "S1")):
        async with live(house.as_(), meeting, resume_token=token) as client:
            await client.play(joined(say(range(10), level), silence(1)))
            final = await client.next("final")
            assert final.final.utterance.speaker == speaker
            token = final.resume_token


async def test_the_service_goes_on_with_a_stream_after_it_was_started_anew(
    house_at: Callable[..., AbstractAsyncContextManager[House]],
):
    sound = joined(say(range(10)), silence(1), say(range(10, 20)))
    async with house_at(fakes=Fakes(transcriber=ToneTranscriber()), **FAST) as house:
        meeting = (await house.meeting()).name
        async with live(house.as_(), meeting) as client:
            await client.play(sound[: 16 * 3_300])
            token = (await client.next("final")).resume_token
    async with house_at(fakes=Fakes(transcriber=ToneTranscriber()), **FAST) as house:
        async with live(house.as_(), meeting, resume_token=token) as client:
            at = (await client.next("started")).started.expected_offset_ms
            await client.play(sound[at * 16 :], offset_ms=at)
            await client.end()
            await client.rest()
        assert await stored_words(house, meeting) == spoken(range(20))


async def test_a_second_stream_is_refused_unless_it_takes_over(house: House):
    meeting = (await house.meeting()).name
    async with live(house.as_(), meeting) as first:
        token = (await first.next("started")).resume_token
        async with live(house.as_(), meeting) as second:
            assert (await error_of(second.rest())).reason == "LIVE_BUSY"
        async with live(house.as_(), meeting, resume_token=token) as third:
            await third.next("started")
            assert (await error_of(first.rest())).reason == "LIVE_TAKEN_OVER"
            await third.play(say(range(5)))
            await third.end()
            await third.rest()
    assert await stored_words(house, meeting) == spoken(range(5))


async def test_a_token_is_of_one_meeting_alone(house: House):
    one, other = (await house.meeting()).name, (await house.meeting()).name
    async with live(house.as_(), one) as client:
        token = (await client.next("started")).resume_token
        async with live(house.as_(), other) as second:
            await second.next("started")
            for meeting, wrong in ((other, token), (one, "nonsense"), (one, "é")):
                async with live(house.as_(), meeting, resume_token=wrong) as client:
                    error = await error_of(client.rest())
                    assert error.reason == "LIVE_RESUME_INVALID"
    unused = (await house.meeting()).name
    async with live(house.as_(), unused, resume_token=token) as client:
        assert (await error_of(client.rest())).reason == "LIVE_RESUME_INVALID"


async def test_a_meeting_that_is_over_takes_no_more(house: House):
    meeting = (await house.meeting()).name
    async with live(house.as_(), meeting) as client:
        await client.play(say(range(5)))
        await client.end()
        token = (await client.rest())[-1].resume_token
    async with live(house.as_(), meeting) as client:
        assert (await error_of(client.rest())).reason == "MEETING_HAS_TRANSCRIPT"
    async with live(house.as_(), meeting, resume_token=token) as client:
        assert (await error_of(client.rest())).reason == "LIVE_RESUME_INVALID"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"encoding": 0}, "FIELD_INVALID"),
        ({"sample_rate_hertz": 4000}, "FIELD_INVALID"),
        ({"sample_rate_hertz": 96_000}, "FIELD_INVALID"),
        ({"meeting": "meetings/none"}, "MEETING_NOT_FOUND"),
        ({"meeting": "m1"}, "FIELD_INVALID"),
    ],
)
async def test_a_wrong_config_is_refused(house: House, fields: dict[str, object], reason: str):
    meeting = (await house.meeting()).name
    async with live(house.as_(), **{"meeting": meeting, **fields}) as client:
        assert (await error_of(client.rest())).reason == reason


async def test_the_config_comes_first_and_once(house: House):
    meeting = (await house.meeting()).name
    async with live(house.as_()) as client:
        await client.send(b"\0\0")
        assert (await error_of(client.rest())).reason == "LIVE_CONFIG_MISSING"
    async with live(house.as_()) as client:
        await client.call.done_writing()
        assert (await error_of(client.rest())).reason == "LIVE_CONFIG_MISSING"
    async with live(house.as_(), meeting) as client:
        await client.config(meeting)
        assert (await error_of(client.rest())).reason == "LIVE_CONFIG_REPEATED"


@pytest.mark.parametrize(
    ("fields", "audio", "offset_ms", "reason"),
    [
        ({}, b"\0\0\0", None, "AUDIO_FRAME_BROKEN"),
        ({}, b"\0\0" * 160_001, None, "LIVE_FRAME_INVALID"),
        ({}, b"\0\0", 10**15, "LIVE_FRAME_INVALID"),
        ({}, b"", None, "FIELD_INVALID"),
        ({"encoding": Request.Config.OPUS}, b"\xff" * 2000, None, "AUDIO_FRAME_BROKEN"),
        ({"encoding": Request.Config.OPUS}, b"\xff" * 9000, None, "AUDIO_FRAME_BROKEN"),
    ],
)
async def test_sound_that_cannot_be_used_is_refused(
    house: House, fields: dict[str, int], audio: bytes, offset_ms: int | None, reason: str
):
    meeting = (await house.meeting()).name
    async with live(house.as_(), meeting, **fields) as client:
        await client.send(audio, offset_ms)
        assert (await error_of(client.rest())).reason == reason


@pytest.mark.parametrize("rate", [8000, 11_025, 44_100, 48_000])
async def test_sound_of_other_rates_is_understood(house: House, rate: int):
    meeting = (await house.meeting()).name
    sound = say(range(20), rate=rate)
    data = np.rint(sound * 32767).astype("<i2").tobytes()
    async with live(house.as_(), meeting, sample_rate_hertz=rate) as client:
        step = rate // 10 * 2
        for at in range(0, len(data), step):
            await client.send(data[at : at + step], at * 500 // rate)
        await client.end()
        await client.rest()
    assert client.final_words == spoken(range(20))


async def test_opus_is_understood(house: House):
    meeting = (await house.meeting()).name
    async with live(house.as_(), meeting, encoding=Request.Config.OPUS) as client:
        for number, packet in enumerate(opus_packets(joined(say(range(20)), silence(0.5)))):
            await client.send(packet, 20 * number)
        await client.end()
        await client.rest()
    assert client.final_words == spoken(range(20))


async def test_a_flood_is_slowed_and_nothing_is_lost(state: Path):
    transcriber = ToneTranscriber(seconds=0.02)
    async with open_house(state, fakes=Fakes(transcriber=transcriber), **FAST) as house:
        meeting = (await house.meeting()).name
        parts = [joined(say(range(at, at + 30)), silence(1)) for at in range(0, 420, 30)]
        async with live(house.as_(), meeting) as client:
            await client.play(joined(*parts), 2000)
            await client.end()
            await client.rest()
        assert client.final_words == spoken(range(420))
        check_stable(client)
        assert max(transcriber.calls) <= 45 * 16_000


async def test_one_stretch_of_a_stream_is_recognised_at_a_time(state: Path):
    transcriber = ToneTranscriber(seconds=0.03)
    async with open_house(
        state, fakes=Fakes(transcriber=transcriber), live_threads=4, **FAST
    ) as house:
        meeting = (await house.meeting()).name
        async with live(house.as_(), meeting) as client:
            for at in range(0, 60, 10):
                await client.play(joined(say(range(at, at + 10)), silence(0.8)), pace=0.1)
            await client.end()
            await client.rest()
    assert client.final_words == spoken(range(60))
    assert transcriber.most_busy == 1


async def test_a_client_that_stalls_loses_the_stream_and_can_go_on(state: Path):
    async with open_house(
        state, fakes=Fakes(transcriber=ToneTranscriber()), live_stall_seconds=0.3, **FAST
    ) as house:
        meeting = (await house.meeting()).name
        async with live(house.as_()) as client:
            assert (await error_of(client.rest())).reason == "LIVE_STALLED"
        async with live(house.as_(), meeting) as client:
            await client.play(say(range(5)))
            error = await error_of(client.rest())
        assert error.reason == "LIVE_STALLED"
        token = client.events[-1].resume_token
        async with live(house.as_(), meeting, resume_token=token) as client:
            await client.play(say(range(5)))
            await client.end()
            await client.rest()
        assert await stored_words(house, meeting) == spoken(range(5))


async def test_a_meeting_that_is_too_long_ends_with_what_was_said(state: Path):
    async with open_house(
        state, fakes=Fakes(transcriber=ToneTranscriber()), max_live_hours=0.002, **FAST
    ) as house:
        meeting = (await house.meeting()).name
        async with live(house.as_(), meeting) as client:
            await client.play(joined(say(range(30)), silence(2)))
            error = await error_of(client.rest())
        assert error.reason == "LIVE_TOO_LONG"
        assert await stored_words(house, meeting) == spoken(range(30))
        found = await house.as_().GetMeeting(meeting_service_pb2.GetMeetingRequest(name=meeting))
        assert found.state == meeting_pb2.Meeting.READY


async def test_strangers_and_readers_open_no_stream(house: House):
    meeting = (await house.meeting()).name
    for who, reason in (
        ("stranger", "MEETING_NOT_FOUND"),
        ("reader", "PERMISSION_DENIED"),
        ("partner", "MEETING_NOT_YOURS"),
    ):
        async with live(house.as_(who), meeting) as client:
            assert (await error_of(client.rest())).reason == reason


async def test_a_meeting_that_is_deleted_ends_its_stream(house: House):
    meeting = (await house.meeting()).name
    async with live(house.as_(), meeting) as client:
        await client.next("started")
        await house.as_().DeleteMeeting(meeting_service_pb2.DeleteMeetingRequest(name=meeting))
        assert (await error_of(client.rest())).reason == "MEETING_NOT_FOUND"


async def test_a_recording_is_not_taken_while_the_meeting_is_live(house: House):
    meeting = (await house.meeting()).name
    async with live(house.as_(), meeting) as client:
        await client.next("started")
        error = await error_of(house.upload(meeting, b"PCM!\0\0"))
        assert error.reason == "MEETING_BUSY"


async def test_a_client_that_hangs_up_leaves_nothing_behind(house: House):
    meeting = (await house.meeting()).name
    await house.meeting()
    threads = threading.active_count()
    for _ in range(3):
        async with live(house.as_(), meeting) as client:
            await client.next("started")
            await client.play(say(range(10)))
        await asyncio.sleep(0.05)
    await eventually(
        lambda: not live_tasks() and stored(house, "lease_time", "live_streams") is None
    )
    assert threading.active_count() <= threads + 2  # one that hears, one that recognises


async def state_of(house: House, meeting: str) -> int:
    return (await house.as_().GetMeeting(meeting_service_pb2.GetMeetingRequest(name=meeting))).state


async def ready(house: House, meeting: str) -> None:
    async with asyncio.timeout(10):
        while await state_of(house, meeting) != meeting_pb2.Meeting.READY:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_meeting_to_which_nobody_returns_is_ended_with_what_was_said(state: Path):
    fakes, sound = Fakes(transcriber=ToneTranscriber()), joined(say(range(5)), silence(1))
    async with open_house(state, fakes=fakes, live_abandoned_hours=0.0002, **FAST) as house:
        left, held = (await house.meeting()).name, (await house.meeting()).name
        async with live(house.as_(), held) as staying:
            await staying.next("started")
            async with live(house.as_(), left) as client:
                await client.play(sound)
                token = (await client.next("final")).resume_token
            await ready(house, left)
            assert await stored_words(house, left) == spoken(range(5))
            async with live(house.as_(), left, resume_token=token) as client:
                assert (await error_of(client.rest())).reason == "LIVE_RESUME_INVALID"
            async with live(house.as_(), left) as client:
                assert (await error_of(client.rest())).reason == "MEETING_HAS_TRANSCRIPT"
            assert await state_of(house, held) == meeting_pb2.Meeting.LIVE
            await staying.play(sound)
            await staying.end()
            await staying.rest()
        assert await stored_words(house, held) == spoken(range(5))


async def test_a_meeting_that_was_left_before_a_restart_is_ended_after_it(
    house_at: Callable[..., AbstractAsyncContextManager[House]],
):
    fakes = Fakes(transcriber=ToneTranscriber())
    async with house_at(fakes=fakes, live_abandoned_hours=24, **FAST) as house:
        meeting = (await house.meeting()).name
        async with live(house.as_(), meeting) as client:
            await client.play(joined(say(range(5)), silence(1)))
            await client.next("final")
    async with house_at(fakes=fakes, live_abandoned_hours=0.0002, **FAST) as house:
        assert await state_of(house, meeting) == meeting_pb2.Meeting.LIVE
        await ready(house, meeting)
        assert await stored_words(house, meeting) == spoken(range(5))


async def test_a_live_meeting_is_abandoned_once_its_last_stream_is_long_gone(house: House):
    meeting = await house.meeting()
    uid = stored(house, "uid", "meetings")
    database = Database(house.settings.database_url, migrations=MIGRATIONS, name="meeting")
    await database.start()
    clock, lease = FixedClock(), timedelta(seconds=30)
    stores = [SqlLive(database, clock) for _ in range(4)]

    async def ended(after: timedelta) -> int:
        counts = [one.end_abandoned(clock.now() - after) for one in stores]
        return sum(await asyncio.gather(*counts))

    opened = await stores[0].open(uid, "s", "", lease, origin=Origin(), author="users/lin")
    clock.advance(20)
    assert await ended(timedelta(seconds=10)) == 0  # its stream counts as open
    clock.advance(3600)
    await stores[0].append(opened, None, 1000, b"", lease)
    clock.advance(3600)
    assert await ended(timedelta(hours=1, seconds=1)) == 0  # it was there an hour ago
    later = await stores[0].open(uid, "s", "s", lease, origin=Origin(), author="users/lin")
    clock.advance(3600)
    assert await ended(timedelta(hours=1, seconds=1)) == 0  # and it came back
    await stores[0].release(later)
    clock.advance(3600)
    assert await ended(timedelta(hours=1)) == 1  # by one alone, however many look
    assert await state_of(house, meeting.name) == meeting_pb2.Meeting.READY
    with pytest.raises(LiveTakenOver):
        await stores[0].append(later, None, 2000, b"", lease)
    await database.close()


async def test_recognition_that_fails_ends_the_stream_and_it_can_be_gone_on_with(state: Path):
    transcriber = ToneTranscriber()
    async with open_house(state, fakes=Fakes(transcriber=transcriber), **FAST) as house:
        meeting = (await house.meeting()).name
        sound = joined(say(range(5)), silence(1), say(range(5, 10)), silence(1))
        async with live(house.as_(), meeting) as client:
            await client.play(sound[:28_000])
            token = (await client.next("final")).resume_token
            transcriber.failure = ValueError("broken")
            await client.play(sound[28_000:])
            assert (await error_of(client.rest())).reason == "INTERNAL"
        transcriber.failure = None
        async with live(house.as_(), meeting, resume_token=token) as client:
            at = (await client.next("started")).started.expected_offset_ms
            await client.play(sound[at * 16 :])
            await client.end()
            await client.rest()
        assert await stored_words(house, meeting) == spoken(range(10))


async def test_who_comes_late_catches_up_while_the_meeting_is_live(house: House):
    meeting = (await house.meeting()).name
    async with live(house.as_(), meeting) as client:
        await client.play(joined(say(range(12)), silence(1), say(range(12, 20)), silence(1)))
        for _ in range(2):
            await client.next("final")
        request = meeting_service_pb2.CatchUpRequest(meeting=meeting, joined_at_ms=3000)
        reply = await house.as_().CatchUp(request)
        assert 3000 <= reply.known_until_ms <= 8000
        cited = {span.utterance for one in reply.sentences for span in one.citations}
        assert cited <= {"u1"}  # what came later was not missed
        question = meeting_service_pb2.AskMeetingRequest(meeting=meeting, question="w15?")
        answers = [part async for part in house.as_().AskMeeting(question)]
        assert answers[-1].HasField("answer")
