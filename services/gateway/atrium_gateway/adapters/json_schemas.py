"""JSON schemas of replies and of tools, by the Rust library jsonschema-rs."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NoReturn

import jsonschema_rs

from atrium_gateway.app.ports import Fault
from atrium_gateway.domain.errors import SchemaUnsupported

_MOST_CHARACTERS = 64 * 1024
_MOST_BACKTRACKS = 100_000
_MOST_REASON_CHARACTERS = 200
_MOST_KEPT = 512
_MOST_KEPT_CHARACTERS = 4 << 20


class _Ambiguous(ValueError):
    """Readers of JSON differ on what a text says."""


class JsonReplySchema:
    """A compiled schema.

    Args:
        validator: The compiled schema.
        characters: Its length as JSON.
    """

    def __init__(self, validator: jsonschema_rs.Validator, characters: int) -> None:
        self._validator = validator
        self.characters = characters

    def mismatch(self, reply: str) -> str:
        """Return why ``reply`` does not follow the schema, or "" when it does.

        Where it is wrong is said, what stands there is not: it may come from a document.
        """
        try:
            value = json.loads(reply)
        except (ValueError, RecursionError):
            return "it is not JSON"
        error = self._first_error(value)
        if error is None:
            return ""
        place = "/".join(map(str, error.instance_path))
        rule = "/".join(map(str, error.schema_path))
        return f"/{place} breaks the rule at /{rule}"[:_MOST_REASON_CHARACTERS]

    def fault(self, arguments: str) -> Fault | None:
        """Return where a tool's arguments do not follow the schema; see ``ReplySchema``."""
        try:
            value = json.loads(
                arguments, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant
            )
        except _Ambiguous as ambiguous:
            return Fault("", str(ambiguous))
        except (ValueError, RecursionError):
            return Fault("", "they are not JSON")
        if not isinstance(value, dict):
            return Fault("", "they are not a JSON object")
        error = self._first_error(value)
        if error is None:
            return None
        path = "".join(f"/{_escape(part)}" for part in error.instance_path)
        path = path[:_MOST_REASON_CHARACTERS]
        return Fault(path, _why(error, path)[:_MOST_REASON_CHARACTERS])

    def _first_error(self, value: object) -> jsonschema_rs.ValidationError | None:
        return next(iter(self._validator.iter_errors(value)), None)


class JsonSchemaCompiler:
    """Compiles schemas; the draft is 2020-12 unless ``$schema`` names another.

    What was compiled is kept by the schema's content, so that a conversation of many rounds pays
    once. The 512 used last are kept, of 4 MiB of text together.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, JsonReplySchema] = OrderedDict()
        self._kept_characters = 0

    def compile(self, schema: Mapping[str, Any]) -> JsonReplySchema:
        """Return a schema ready to check replies; see ``SchemaCompiler``."""
        try:
            text = json.dumps(schema, allow_nan=False)
        except (ValueError, RecursionError) as error:
            raise SchemaUnsupported("it holds a number that JSON does not have") from error
        size = len(text)
        if size > _MOST_CHARACTERS:
            raise SchemaUnsupported(f"it has {size} characters, {_MOST_CHARACTERS} are the limit")
        # The text itself, not a sorted one: two schemas that differ in anything stay apart.
        key = hashlib.sha256(text.encode()).digest()
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            return kept
        compiled = _compile(schema, size)
        self._kept[key] = compiled
        self._kept_characters += size
        while len(self._kept) > _MOST_KEPT or self._kept_characters > _MOST_KEPT_CHARACTERS:
            _, dropped = self._kept.popitem(last=False)
            self._kept_characters -= dropped.characters
        return compiled


def _compile(schema: Mapping[str, Any], characters: int) -> JsonReplySchema:
    try:
        validator = jsonschema_rs.validator_for(
            dict(schema),
            offline=True,  # a reference to a URL would make this server fetch it
            pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=_MOST_BACKTRACKS),
        )
    except ValueError as error:
        reason = str(error).partition("\n")[0][:_MOST_REASON_CHARACTERS]
        raise SchemaUnsupported(reason) from error
    return JsonReplySchema(validator, characters)


def _why(error: jsonschema_rs.ValidationError, path: str) -> str:
    if error.kind.name == "required":
        return f"{path or '/'} lacks {json.dumps(error.kind.value, ensure_ascii=False)}"
    rule = "".join(f"/{_escape(part)}" for part in error.schema_path)
    return f"{path or '/'} breaks the rule at {rule}"


def _escape(part: object) -> str:
    """Return a step of a JSON pointer, with what gRPC cannot carry replaced."""
    step = str(part).replace("~", "~0").replace("/", "~1")
    return step.encode("utf-8", "replace").decode()


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise _Ambiguous("they have a key twice")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise _Ambiguous(f"they hold {name}, which JSON does not have")
