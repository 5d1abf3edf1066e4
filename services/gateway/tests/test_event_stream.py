import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atrium_gateway.adapters.event_stream import Event, EventStreamDecoder, EventTooLarge

STREAM = (
    b"\xef\xbb\xbf: a comment\r\n\r\n"
    b'data: {"a": "\xe2\x80\xa8"}\r\n\r\n'  # U+2028 inside a string is no end of a line
    b"event: error\rdata: one\rdata: two\r\r"
    b"id: 7\nretry: 10\ndata:no space\n\n"
    b"error: {}\n\n"
    b"data\n\n"
    b"data: last"
)
EVENTS = [
    Event("message", b'{"a": "\xe2\x80\xa8"}'),
    Event("error", b"one\ntwo"),
    Event("message", b"no space"),
    Event("error", b"{}"),
    Event("message", b""),
    Event("message", b"last"),
]


def decode(chunks: list[bytes]) -> list[Event]:
    decoder = EventStreamDecoder()
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return events + decoder.end()


def test_a_stream_in_one_piece_gives_its_events() -> None:
    assert decode([STREAM]) == EVENTS


def test_a_stream_byte_by_byte_gives_the_same_events() -> None:
    assert decode([STREAM[i : i + 1] for i in range(len(STREAM))]) == EVENTS


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_where_a_stream_is_cut_changes_nothing(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    assert decode([STREAM[a:b] for a, b in itertools.pairwise(places)]) == EVENTS


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_an_error(data: bytes) -> None:
    assert all(isinstance(event.data, bytes) for event in decode([data[:7], data[7:]]))


@pytest.mark.parametrize("chunk", [b"data: " + b"x" * 20, b"data: x\n" * 3, b"x" * 20])
def test_an_event_beyond_the_limit_is_refused(chunk: bytes) -> None:
    decoder = EventStreamDecoder(most_bytes=32)
    decoder.feed(chunk)
    with pytest.raises(EventTooLarge):
        decoder.feed(chunk)


def test_many_small_events_do_not_add_up_to_the_limit() -> None:
    decoder = EventStreamDecoder(most_bytes=32)
    assert len([event for _ in range(100) for event in decoder.feed(b"data: x\n\n")]) == 100
