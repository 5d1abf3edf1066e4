"""The encoder that reads Chinese for the tagger, run by ONNX Runtime."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

import numpy as np

from atrium_meeting.adapters.onnx_sessions import open_session
from atrium_meeting.domain.cleanup.features import Ints
from atrium_meeting.domain.cleanup.network import Floats
from atrium_meeting.domain.cleanup.tokens import stretches, tokens
from atrium_meeting.domain.cleanup.units import Unit

SETTINGS: Final = "atrium.settings"
"""Property of the graph: format, vocabulary, thresholds and share, as a JSON object."""

_LEAST: Final = np.float32(1e-7)
"""Probability that nothing lies below, so that no opinion is a veto."""


class OnnxTagger:
    """What an encoder says of each word; it may be used by several threads at once.

    Args:
        model: The file.

    Raises:
        ValueError: It is no such model.
    """

    def __init__(self, model: bytes) -> None:
        try:
            self._session = open_session(model)
        except Exception as exc:  # ONNX Runtime's errors have no class of their own
            raise ValueError(f"ONNX Runtime cannot read it ({exc})") from exc
        settings = json.loads(self._session.get_modelmeta().custom_metadata_map.get(SETTINGS, "{}"))
        try:
            self.format = int(settings["format"])
            self.threshold = float(settings["threshold"])
            self.low = float(settings["low"])
            self.share = float(settings["share"])
            names = settings["vocabulary"].split("\n")
        except (KeyError, AttributeError, TypeError) as exc:
            raise ValueError(f"its property {SETTINGS} lacks {exc}") from exc
        self._vocabulary = {name: row for row, name in enumerate(names)}

    def probabilities(self, units: Sequence[Unit], columns: Ints) -> Floats:
        """Return the probability of each label of each word.

        Args:
            units: Words of an utterance.
            columns: Values of their features, shape (words, features).

        Returns:
            Shape (words, labels).
        """
        found = []
        for begin, end in stretches(units):
            ids, spread, places = tokens(units[begin:end], columns[begin:end], self._vocabulary)
            (rows,) = self._session.run(None, {"input_ids": ids[None], "columns": spread[None]})
            found.append(np.asarray(rows)[0, places])
        return np.concatenate(found)


def agree(one: Floats, other: Floats, share: float) -> Floats:
    """Return the weighted geometric mean of two opinions, ``share`` of it the second's."""
    mixed = np.maximum(one, _LEAST) ** (1 - share) * np.maximum(other, _LEAST) ** share
    found: Floats = mixed / mixed.sum(axis=1, keepdims=True)
    return found
