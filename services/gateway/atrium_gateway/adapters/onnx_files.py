"""A graph and a tokenizer of the model store, opened for ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atrium_gateway.domain.errors import ModelUnavailable
from atrium_shared.errors import Invalid

if TYPE_CHECKING:
    import onnx
    import onnxruntime as ort
    from tokenizers import Tokenizer

GRAPH_FILE = "model.int8.onnx"
"""The graph in a model's folder."""

CHARACTERS_PER_TOKEN = 64
"""More characters a token than any real text has: what lies beyond is cut unread."""


class TextNotUnicode(Invalid):
    """A text holds half of a surrogate pair, which no character set can carry."""

    reason = "TEXT_NOT_UNICODE"

    def __init__(self, field: str, index: int, position: int) -> None:
        super().__init__(
            f"Text {index} holds an unpaired surrogate at character {position}; "
            "send well-formed Unicode.",
            field=field,
            index=index,
            position=position,
        )


def check_unicode(text: str, field: str, index: int) -> None:
    """Refuse a text that a tokenizer cannot take.

    Raises:
        TextNotUnicode: It cannot be encoded in UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise TextNotUnicode(field, index, exc.start) from exc


@dataclass(frozen=True)
class OnnxFiles:
    """An opened model.

    Attributes:
        session: Runs the graph, on one thread a call.
        properties: What the graph says of itself.
        max_tokens: Longest input.
        tokenizer: Splits texts.
    """

    session: ort.InferenceSession
    properties: Mapping[str, str]
    max_tokens: int
    tokenizer: Tokenizer


def open_files(
    model_dir: Path, *needed: str, rewrite: Callable[[onnx.ModelProto], object] | None = None
) -> OnnxFiles:
    """Open ``model.int8.onnx`` and ``tokenizer.json`` of a folder.

    Args:
        model_dir: The folder; its name is the model's.
        needed: Properties that the graph must have.
        rewrite: Changes the graph in place before it is opened.

    Raises:
        ModelUnavailable: A file is missing or damaged.
    """
    # Here, as a gateway without local models has no use for these 25 MB.
    import onnxruntime as ort
    from tokenizers import Tokenizer

    name = model_dir.name
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Every length is another shape: remembering a memory plan for each would only grow.
    options.enable_mem_pattern = False
    graph, vocabulary = model_dir / GRAPH_FILE, model_dir / "tokenizer.json"
    for path in (graph, vocabulary):
        if not path.is_file():
            raise ModelUnavailable(name, f"{path} is missing; run `atrium models pull {name}`")
    try:
        source = str(graph) if rewrite is None else _rewritten(graph, rewrite)
        session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        properties = session.get_modelmeta().custom_metadata_map
        max_tokens = int(properties["atrium.max_tokens"])
        found = {each: properties[each] for each in needed}
        return OnnxFiles(session, found, max_tokens, Tokenizer.from_file(str(vocabulary)))
    except Exception as exc:  # Both libraries raise bare Exception for a damaged file.
        raise ModelUnavailable(
            name,
            f"{model_dir} is damaged ({exc}); run `atrium models remove {name}` and "
            f"`atrium models pull {name}`",
        ) from exc


def _rewritten(graph: Path, rewrite: Callable[[onnx.ModelProto], object]) -> bytes:
    import onnx

    model = onnx.load(graph)
    rewrite(model)
    content: bytes = model.SerializeToString()
    return content
