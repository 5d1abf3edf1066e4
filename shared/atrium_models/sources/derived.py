"""Models that are made from another model of the store, and converting in general."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from atrium_models.catalog import Derived, ModelSpec
from atrium_models.checking import matches
from atrium_models.conversions import CONVERSIONS
from atrium_models.errors import ModelConversionFailed
from atrium_models.progress import Reporter, Stage


def convert_checked(
    model: ModelSpec, conversion: str, source: Path, ready: Path, report: Reporter
) -> None:
    """Run ``conversion`` on the files of folder ``source`` and check what comes out of it.

    Raises:
        ModelConversionFailed: The files cannot be converted, or others came out than expected.
    """
    report.begin(Stage.CONVERTING)
    CONVERSIONS[conversion](source, ready)
    for name, expected in model.files.items():
        if not matches(ready / name, expected):
            raise ModelConversionFailed(
                model.name, f"{name} came out with other bytes than expected"
            )


class DerivedModel:
    """A model that is made from the files of another one, its base.

    Args:
        entry: The base and what to make of it.
        base: Returns the base's folder, pulling it where it is not here yet; raises SourceFailed
            when that is not possible.
    """

    def __init__(self, entry: Derived, base: Callable[[Reporter], Path]) -> None:
        self._entry = entry
        self._base = base

    @property
    def label(self) -> str:
        """What people call it."""
        return self._entry.model

    def extra_bytes(self, model: ModelSpec) -> int:
        """Nothing: the base counts by itself."""
        del model
        return 0

    def fetch(self, model: ModelSpec, work: Path, ready: Path, report: Reporter) -> None:
        """See :meth:`atrium_models.sources.Source.fetch`."""
        del work
        convert_checked(model, self._entry.conversion, self._base(report), ready, report)
