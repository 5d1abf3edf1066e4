from __future__ import annotations

import re
from pathlib import Path

import pytest
from google.protobuf import struct_pb2, wrappers_pb2

from atrium.admin.v1 import admin_service_pb2
from atrium.knowledge.v1 import knowledge_service_pb2
from atrium_shared.rpc.violations import _SHAPES, described, nul_fields, violations_of

PROTOS = Path(__file__).parents[3] / "protos" / "atrium"


def wrong(message: object) -> dict[str, str]:
    return dict(map(described, violations_of(message)))


def test_a_shape_is_told_in_words_with_an_example() -> None:
    told = wrong(knowledge_service_pb2.CreateCollectionRequest(collection_id="手册"))
    assert told["collection_id"].endswith("63 in all, such as handbook-2")
    told = wrong(admin_service_pb2.CreateUserRequest(user_id="林"))
    assert told["user_id"].endswith("such as lin.ma")


def test_empty_and_choice_are_told_in_words() -> None:
    told = wrong(knowledge_service_pb2.AskRequest(language="fr"))
    assert told["question"] == "must not be empty"
    assert told["language"] == "must be zh or en, or empty"


def test_nul_is_found_in_every_string_but_not_in_bytes() -> None:
    request = struct_pb2.Struct()
    request.update({"a": "x\0", "b": {"c": ["fine", "\0"]}, "d\0": 1})
    assert {path for path, _ in nul_fields(request)} == {
        "fields['a'].string_value",
        "fields['b'].struct_value.fields['c'].list_value.values[1].string_value",
        "fields['d\\x00']",
    }
    assert not list(nul_fields(wrappers_pb2.BytesValue(value=b"\0")))


@pytest.mark.parametrize("pattern", _SHAPES)
def test_every_shape_is_in_use_and_its_example_fits(pattern: str) -> None:
    assert re.fullmatch(pattern, _SHAPES[pattern][1])
    assert any(f'"{pattern}"' in file.read_text("utf-8") for file in PROTOS.rglob("*.proto"))
