"""What turns a downloaded file into the files an engine opens.

A conversion reads data and writes data; it runs nothing that was downloaded. The same input gives
the same bytes on every machine, so its results have digests in ``models.yaml`` like any other file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

Conversion = Callable[[Path, Path], None]
"""``conversion(source, target)`` reads the downloaded files in folder ``source`` and writes the
files of the finished model into folder ``target``."""


def _convert_e5(source: Path, target: Path) -> None:
    # Imported when needed: the libraries behind it take longer to load than a list of models.
    from atrium_models.conversions.e5 import convert_e5

    convert_e5(source, target)


def _convert_reader(source: Path, target: Path) -> None:
    from atrium_models.conversions.reader import convert_reader

    convert_reader(source, target)


CONVERSIONS: Mapping[str, Conversion] = {"e5": _convert_e5, "reader": _convert_reader}
"""Conversions by the name that ``models.yaml`` gives them."""
