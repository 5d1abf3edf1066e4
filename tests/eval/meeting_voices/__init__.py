"""Recordings of scripted meetings, made by `make voices`, with all that is known of them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording and what it holds; README.md tells the fields of `meeting`."""

    audio: Path
    meeting: dict[str, Any]


def cache_folder() -> Path:
    """Return where recordings are kept: under ATRIUM_CACHE_DIR, else under `var/`."""
    cache = os.environ.get("ATRIUM_CACHE_DIR")
    return (Path(cache) if cache else _ROOT / "var") / "meeting_voices"


def load(folder: Path | None = None) -> list[Recording]:
    """Return the recordings that were made, in order of their ids; none: run `make voices`."""
    folder = folder or cache_folder() / "meetings"
    recordings = []
    for file in sorted(folder.glob("*.json")):
        meeting = json.loads(file.read_text(encoding="utf-8"))
        if (audio := folder / meeting["audio"]).exists():
            recordings.append(Recording(audio, meeting))
    return recordings
