"""Server-sent events from bytes (WHATWG HTML, 9.2 "Server-sent events").

Our own few lines because what comes from a model server is not trusted: an event has a largest
size, lines end where the standard says (text decoders also break at U+2028, which JSON may hold),
and an event that was not ended with an empty line before the connection closed still counts.
"""

from __future__ import annotations

from dataclasses import dataclass


class EventTooLarge(Exception):
    """An event has more bytes than allowed."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its type ("message" where the stream does not say) and its data."""

    type: str
    data: bytes


class EventStreamDecoder:
    """Turns chunks of bytes, cut anywhere, into events.

    Args:
        most_bytes: Largest event.
    """

    def __init__(self, most_bytes: int = 1 << 20) -> None:
        self._most_bytes = most_bytes
        self._partial: list[bytes] = []  # the line that is still coming
        self._size = 0  # of the event that is still coming
        self._data: list[bytes] = []
        self._type = ""
        self._after_cr = False
        self._at_start = True

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that ``chunk`` completes.

        Raises:
            EventTooLarge: The event that is coming has too many bytes.
        """
        if self._after_cr and chunk:
            # The line ended with the CR before; this LF belongs to it.
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        events: list[Event] = []
        for line in chunk.splitlines(keepends=True):
            self._size += len(line)
            if self._size > self._most_bytes:
                raise EventTooLarge
            self._partial.append(line)
            if line.endswith((b"\n", b"\r")):
                self._take_line(events)
        self._after_cr = chunk.endswith(b"\r")
        return events

    def end(self) -> list[Event]:
        """Return what the stream ended with, when it did not end with an empty line."""
        events: list[Event] = []
        if self._partial:
            self._take_line(events)
        self._dispatch(events)
        return events

    def _take_line(self, events: list[Event]) -> None:
        line = b"".join(self._partial).rstrip(b"\r\n")
        self._partial.clear()
        if self._at_start:
            line = line.removeprefix(b"\xef\xbb\xbf")
            self._at_start = False
        if not line:
            self._dispatch(events)
            return
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
        elif field == b"event":
            self._type = value.decode("utf-8", "replace")
        elif field == b"error":  # llama.cpp names the field so where the standard has an event
            self._type = "error"
            self._data.append(value)

    def _dispatch(self, events: list[Event]) -> None:
        if self._data:
            events.append(Event(self._type or "message", b"\n".join(self._data)))
        self._data.clear()
        self._type = ""
        self._size = 0
