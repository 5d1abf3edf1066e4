from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from google.protobuf import field_mask_pb2, struct_pb2, wrappers_pb2

from atrium.admin.v1 import admin_pb2, admin_service_pb2
from atrium.knowledge.v1 import knowledge_pb2, knowledge_service_pb2, sync_pb2
from atrium.meeting.v1 import meeting_pb2
from atrium_shared.rpc.violations import _SHAPES, described, is_taken, nul_fields, violations_of

PROTOS = Path(__file__).parents[3] / "protos" / "atrium"


def wrong(message: object) -> dict[str, str]:
    return dict(map(described, violations_of(message)))


def test_a_shape_is_told_in_words_with_an_example() -> None:
    told = wrong(knowledge_service_pb2.CreateCollectionRequest(collection_id="手册"))
    assert told["collection_id"].endswith("63 in all, such as handbook-2")
    told = wrong(admin_service_pb2.CreateUserRequest(user_id="林"))
    assert told["user_id"].endswith("such as lin.ma")


def test_names_for_people_stand_on_one_line() -> None:
    assert not wrong(meeting_pb2.Meeting(title="", agenda=["预算 2026"], hotwords=["a b"]))
    told = wrong(meeting_pb2.Meeting(title="a\u2028b", agenda=["x\n"], hotwords=["\u3000"]))
    assert told["title"].startswith("stands on one line")
    assert told["agenda[0]"] == told["hotwords[0]"]
    assert told["agenda[0]"].startswith("is not blank")


@pytest.mark.parametrize(
    ("resource", "action", "fine"),
    [
        ("labels/hr", "read", True),
        ("labels/*", "*", True),
        ("labels/hr", "ask", False),
        ("knowledge.documents", "write", True),
        ("knowledge.documents", "reed", False),
    ],
)
def test_a_grant_of_what_nothing_asks_for_is_refused(
    resource: str, action: str, *, fine: bool
) -> None:
    assert bool(wrong(admin_pb2.Grant(resource=resource, action=action))) is not fine


def test_what_is_left_to_the_service_is_not_looked_into() -> None:
    item = sync_pb2.SyncItem(id="a\0")
    request = sync_pb2.SyncDocumentsRequest(item=item)
    assert not list(nul_fields(request))
    assert [path for path, _ in nul_fields(item)] == ["id"]


def test_empty_and_choice_are_told_in_words() -> None:
    told = wrong(knowledge_service_pb2.AskRequest(language="fr"))
    assert told["question"] == "must not be empty"
    assert told["language"] == "must be zh or en, or empty"


def test_a_mail_address_looks_like_one_or_is_empty() -> None:
    for fine in ("", "lin@example.com", "lin.ma+hr@acme.example"):
        assert not wrong(admin_pb2.User(email=fine))
    for mistyped in ("lin", "lin@", "lin at example.com", "林@example.com", "a@b.c\n"):
        told = wrong(admin_pb2.User(email=mistyped))
        assert told["email"] == "must be a mail address, such as lin@example.com"


@pytest.mark.parametrize(
    ("paths", "taken"),
    [
        ([], {"collection.display_name"}),
        (["*"], {"collection.display_name"}),
        (["display_name"], {"collection.display_name"}),
        (["versions_kept"], set()),
    ],
)
def test_what_an_update_leaves_out_cannot_be_wrong(paths: list[str], taken: set[str]) -> None:
    request = knowledge_service_pb2.UpdateCollectionRequest(
        collection=knowledge_pb2.Collection(name="collections/handbook"),
        update_mask=field_mask_pb2.FieldMask(paths=paths),
    )
    broken = [each for each in violations_of(request) if is_taken(request, each)]
    assert {path for path, _ in map(described, broken)} == taken


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
    written = "".join(file.read_text("utf-8") for file in PROTOS.rglob("*.proto"))
    used = re.findall(r'pattern: ("(?:[^"\\]|\\.)*")', written)
    assert pattern in map(json.loads, used)
