"""Cluster many embeddings and print seconds, peak memory in MB, and the groups of weight.

    python -m tests.eval.diarization.many_embeddings 10000

Eight directions in 192 dimensions with noise as strong as that between stretches of one speaker in
LibriSpeech (mean cosine .65), in turns of five, as a meeting of hours gives them.
"""

from __future__ import annotations

import json
import resource
import sys
import time

import numpy as np

from atrium_meeting.domain.diarization import Tuning, find_speakers


def main() -> None:
    """Measure once."""
    many = int(sys.argv[1])
    random = np.random.default_rng(0)
    centres = random.normal(size=(8, 192))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    speaking = np.repeat(random.integers(0, 8, many // 5), 5)
    noise = random.normal(0, 0.73 / np.sqrt(192), (len(speaking), 192))
    embeddings = (centres[speaking] + noise).astype(np.float32)
    seconds = random.uniform(0.5, 3.5, len(speaking)).astype(np.float32)
    started = time.perf_counter()
    found = find_speakers(embeddings, seconds, 0, Tuning())
    spent = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([spent, peak, len(found)]))


if __name__ == "__main__":
    main()
