"""What is known of the speakers of a live stream, as bytes, so that it survives the stream."""

from __future__ import annotations

import numpy as np

from atrium_meeting.domain.online_speakers import OnlineSpeakers


def voices_to_bytes(speakers: OnlineSpeakers) -> bytes:
    """Return what is known: their number, then for each how long it was heard and its mean."""
    known = speakers.dump()
    table = np.array([[heard_ms, *mean] for heard_ms, mean in known], "<f4")
    return len(known).to_bytes(2, "little") + table.tobytes()


def voices_from_bytes(data: bytes) -> OnlineSpeakers:
    """Return the speakers as `voices_to_bytes` wrote them; none of empty bytes."""
    count = int.from_bytes(data[:2], "little")
    if not count:
        return OnlineSpeakers()
    table = np.frombuffer(data[2:], "<f4").reshape(count, -1)
    return OnlineSpeakers.restore([(float(row[0]), row[1:].tolist()) for row in table])
