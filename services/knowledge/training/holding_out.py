"""Which of the project's own texts the reader does not learn from."""

import hashlib
from pathlib import Path

HELD_OUT_OF = 10


def held_out(text: str) -> bool:
    """Tell whether a passage is kept from training: one in ten, by its first words."""
    digest = hashlib.sha1(text[:40].encode(), usedforsecurity=False).digest()
    return digest[0] % HELD_OUT_OF == 0


def family_held_out(file: Path, family: str) -> bool:
    """Tell whether a family of sibling passages is kept from training."""
    return file.stem == "held_out" or held_out(family)
