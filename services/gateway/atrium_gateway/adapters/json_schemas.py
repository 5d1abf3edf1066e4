"""JSON schemas of replies, by the Rust library jsonschema-rs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import jsonschema_rs

from atrium_gateway.domain.errors import SchemaUnsupported

_MOST_CHARACTERS = 64 * 1024
_MOST_BACKTRACKS = 100_000
_MOST_REASON_CHARACTERS = 200


class JsonReplySchema:
    """A compiled schema.

    Args:
        validator: The compiled schema.
    """

    def __init__(self, validator: jsonschema_rs.Validator) -> None:
        self._validator = validator

    def mismatch(self, reply: str) -> str:
        """Return why ``reply`` does not follow the schema, or "" when it does.

        Where it is wrong is said, what stands there is not: it may come from a document.
        """
        try:
            value = json.loads(reply)
        except (ValueError, RecursionError):
            return "it is not JSON"
        error = next(iter(self._validator.iter_errors(value)), None)
        if error is None:
            return ""
        place = "/".join(map(str, error.instance_path))
        rule = "/".join(map(str, error.schema_path))
        return f"/{place} breaks the rule at /{rule}"[:_MOST_REASON_CHARACTERS]


class JsonSchemaCompiler:
    """Compiles schemas; the draft is 2020-12 unless ``$schema`` names another."""

    def compile(self, schema: Mapping[str, Any]) -> JsonReplySchema:
        """Return a schema ready to check replies; see ``SchemaCompiler``."""
        try:
            size = len(json.dumps(schema, ensure_ascii=False, allow_nan=False))
        except ValueError as error:
            raise SchemaUnsupported("it holds a number that JSON does not have") from error
        if size > _MOST_CHARACTERS:
            raise SchemaUnsupported(f"it has {size} characters, {_MOST_CHARACTERS} are the limit")
        try:
            validator = jsonschema_rs.validator_for(
                dict(schema),
                offline=True,  # a reference to a URL would make this server fetch it
                pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=_MOST_BACKTRACKS),
            )
        except ValueError as error:
            reason = str(error).partition("\n")[0][:_MOST_REASON_CHARACTERS]
            raise SchemaUnsupported(reason) from error
        return JsonReplySchema(validator)
