"""Text in pictures, through rapidocr (PP-OCR models on ONNX Runtime; Chinese and English).

The models come with the package and are loaded when the first picture is read. Pages that lie on
their side or on their head are turned: most lines of a page run in one direction, and a classifier
tells which end is up.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atrium_documents.cleaning import plain_forms
from atrium_documents.page_tables import Line

ENGINE: Final = f"rapidocr {version('rapidocr')}"
_LOWEST_SCORE: Final = 0.5
_LINES_ASKED: Final = 16
"""The longest lines of a page decide which way is up."""
_DETECTION_PIXELS: Final = 1280
_THREADS: Final = 1
"""Workers share the processors; on busy ones two threads took four times as long as one."""


@dataclass(frozen=True, slots=True)
class Recognized:
    """The lines of a picture, at places on it when it is upright; sizes in pixels."""

    lines: list[Line]
    width: int
    height: int


class OcrReader:
    """Finds and reads the lines of a picture."""

    def __init__(self) -> None:
        self._engine: Any = None

    def recognize(self, picture: NDArray[Any]) -> Recognized:
        """Read ``picture`` (RGB, height x width x 3)."""
        engine = self._load()
        # The models were trained on pictures as OpenCV holds them.
        bgr = np.ascontiguousarray(picture[:, :, ::-1])
        found = engine(bgr, use_det=True, use_cls=False, use_rec=False)
        boxes = getattr(found, "boxes", None)
        if boxes is None or len(boxes) == 0:
            return Recognized([], picture.shape[1], picture.shape[0])
        boxes = np.asarray(boxes, dtype=np.float32)
        bgr, boxes = self._upright(engine, bgr, boxes)
        crops = engine.crop_text_regions(bgr, boxes)
        read = engine.recognize_txt(crops)
        lines = [
            _line(box, text)
            for box, text, score in zip(boxes, read.txts, read.scores, strict=True)
            if score >= _LOWEST_SCORE and text.strip()
        ]
        return Recognized(lines, bgr.shape[1], bgr.shape[0])

    def _load(self) -> Any:
        if self._engine is None:
            import rapidocr

            logging.getLogger("RapidOCR").setLevel(logging.ERROR)
            models = Path(rapidocr.__file__).parent / "models"
            self._engine = rapidocr.RapidOCR(
                params={
                    "Global.log_level": "error",
                    "EngineConfig.onnxruntime.intra_op_num_threads": _THREADS,
                    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                    # Lines are found on a smaller picture than they are read on.
                    "Det.limit_type": "max",
                    "Det.limit_side_len": _DETECTION_PIXELS,
                    # Named files are opened as they are; otherwise the package may download.
                    "Det.model_path": str(models / "PP-OCRv6_det_small.onnx"),
                    "Rec.model_path": str(models / "PP-OCRv6_rec_small.onnx"),
                    "Cls.model_path": str(models / "ch_ppocr_mobile_v2.0_cls_mobile.onnx"),
                }
            )
        return self._engine

    def _upright(
        self, engine: Any, picture: NDArray[Any], boxes: NDArray[np.float32]
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """Turn a page so that its lines run from left to right."""
        widths = np.linalg.norm(boxes[:, 1] - boxes[:, 0], axis=1)
        heights = np.linalg.norm(boxes[:, 3] - boxes[:, 0], axis=1)
        tall = heights > 1.5 * widths
        if heights[tall].sum() > widths[~tall].sum():
            picture, boxes = _quarter_turn(picture, boxes)
            widths = heights
        longest = np.argsort(-widths)[:_LINES_ASKED]
        crops = engine.crop_text_regions(picture, boxes[longest])
        _, classes = engine.cls_and_rotate(crops)
        upside_down = sum(label == "180" for label, _ in classes.cls_res)
        if upside_down > len(longest) / 2:
            for _ in range(2):
                picture, boxes = _quarter_turn(picture, boxes)
        return picture, boxes


def _quarter_turn(
    picture: NDArray[Any], boxes: NDArray[np.float32]
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Turn picture and boxes by 90 degrees against the clock."""
    width = picture.shape[1]
    turned = np.stack([boxes[:, :, 1], width - boxes[:, :, 0]], axis=2)
    # The corner that comes to lie top left was top right: corners go clockwise from the top left.
    return np.ascontiguousarray(np.rot90(picture)), np.roll(turned, -1, axis=1)


def _line(box: NDArray[np.float32], text: str) -> Line:
    x0, top = (float(value) for value in box.min(axis=0))
    x1, bottom = (float(value) for value in box.max(axis=0))
    # The height of a slanted line's box says nothing of its type size; its short side does.
    size = float(np.linalg.norm(box[3] - box[0]))
    return Line(plain_forms(text.strip()), x0, top, x1, bottom, size)
