from __future__ import annotations

import json

import pytest

from atrium_documents import SCHEMA, StoredDocumentUnreadable, from_json, to_json

from .conftest import Read

# What release 0.1 wrote. It must be readable for ever, so it is spelled out here.
STORED = (
    '{"schema":"atrium.document/1","media_type":"text/markdown","title":"Leave","page_count":null,'
    '"language":"zh","engine":"markdown-it-py 4.3.0","warnings":["w"],'
    '"text":"Leave\\n\\n年假😀","blocks":[["heading",0,5,1,2,null],["paragraph",7,10,null,2,"S"]],'
    '"sections":[["Leave",1,["Leave"],0,10,2]]}'
)


def test_document_comes_back_as_it_was(read: Read) -> None:
    document = read("---\ntitle: T\n---\n# A\n\n😀 𠮷\n\n| a | b |\n|--|--|\n| 1 | 2 |", "a.md")
    assert from_json(to_json(document)) == document
    assert from_json(to_json(document).encode()) == document


def test_what_an_earlier_release_stored_is_read() -> None:
    document = from_json(STORED)
    assert document.text == "Leave\n\n年假😀"
    assert [(b.number, b.page, b.sheet) for b in document.blocks] == [(1, 2, None), (2, 2, "S")]
    assert document.sections[0].path == ("Leave",)
    assert json.loads(to_json(document)) == json.loads(STORED)


@pytest.mark.parametrize(
    ("stored", "problem"),
    [
        ("", "not JSON"),
        ("[]", "has schema 'list'"),
        ("{}", "has schema None"),
        (STORED.replace(SCHEMA, "atrium.document/2"), "has schema 'atrium.document/2'"),
        (STORED.replace('"title":"Leave",', ""), "KeyError"),
        (STORED.replace('"paragraph"', '"poem"'), "breaks schema"),
        (STORED.replace(',7,10,', ',3,10,'), "block 2 lies at 3:10"),
        (STORED.replace(',7,10,', ',7,7,'), "block 2 lies at 7:7"),
        (STORED.replace(',7,10,', ',7,11,'), "blocks end at 11"),
        (STORED.replace('],0,10,2]', '],0,11,2]'), "section leaves the text"),
        (STORED.replace('"text":"Leave', '"text":5,"x":"'), "text is int"),
    ],
)  # fmt: skip
def test_json_that_is_no_document_is_refused(stored: str, problem: str) -> None:
    with pytest.raises(StoredDocumentUnreadable, match="stored document") as caught:
        from_json(stored)
    assert problem in caught.value.message
    assert caught.value.reason == "STORED_DOCUMENT_UNREADABLE"
