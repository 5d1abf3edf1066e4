"""What holds for every text, found by trying many."""

from __future__ import annotations

import contextlib
import io

import docx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atrium_documents import (
    BlockKind,
    DocumentHasNoText,
    DocumentTypeUnknown,
    ParseLimits,
    from_json,
    to_json,
)
from atrium_documents.builder import DocumentBuilder
from atrium_documents.cleaning import flowing, join_lines, verbatim, visible
from atrium_documents.frames import document_frames, document_from_frames

from .conftest import Read, check, texts

# Emoji, CJK extension B, combining marks, joiners, controls, separators and direction marks.
ODD = st.text(
    alphabet=st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from(
            "𠀀𠮷😀👩\u200d💻é\u0301\u200b\ufeff\u202e\x00\x0b\x85\u2028\u3000中文ab12 \n"
        ),
    ),
    max_size=60,
)
BLOCK = st.tuples(
    st.sampled_from(BlockKind), ODD, st.integers(-3, 12), st.none() | st.integers(1, 9)
)
RELAXED = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@RELAXED
@given(st.lists(BLOCK, max_size=25), ODD)
def test_any_blocks_make_a_document_with_exact_offsets(
    blocks: list[tuple[BlockKind, str, int, int | None]], title: str
) -> None:
    builder = DocumentBuilder(ParseLimits(), title=title)
    for kind, text, level, page in blocks:
        builder.add(kind, text, level=level if kind is BlockKind.HEADING else None, page=page)
    expected = [piece.text for piece in builder.pieces]
    try:
        document = builder.build("text/plain")
    except DocumentHasNoText:
        assert not any(char.isalnum() for text in expected for char in text)
        return
    check(document)
    assert texts(document) == expected
    headings = [b for b in document.blocks if b.kind is BlockKind.HEADING]
    opened = [s for s in document.sections if s.level > 0]
    assert [(s.start, s.level) for s in opened] == [(b.start, b.level) for b in headings]
    for section in opened:
        assert section.title == section.path[-1]
        inner = [s for s in opened if section.start < s.start < section.end]
        assert all(s.level > section.level and s.end <= section.end for s in inner)
    assert from_json(to_json(document)) == document
    assert document_from_frames(list(document_frames(document))) == document


@RELAXED
@given(data=ODD)
@pytest.mark.parametrize("filename", ["a.txt", "a.md", "a.html", "a.csv", "a.py"])
def test_any_text_is_read_or_refused(read: Read, filename: str, data: str) -> None:
    with contextlib.suppress(DocumentHasNoText, DocumentTypeUnknown):
        read(data.encode() or b" ", filename)


@settings(RELAXED, max_examples=25)
@given(st.lists(ODD, min_size=1, max_size=8))
def test_word_paragraphs_come_back_as_written(read: Read, paragraphs: list[str]) -> None:
    document = docx.Document()
    # A styled heading keeps short paragraphs from being taken for headings.
    document.add_heading("Heading", 1)
    kept = ["Heading"]
    for text in paragraphs:
        written = "".join(char for char in visible(text) if char.isprintable() or char == "\n")
        if flowing(written):
            document.add_paragraph(written)
            kept.append(flowing(written))
    out = io.BytesIO()
    document.save(out)
    assert texts(read(out.getvalue(), "a.docx")) == kept


@given(ODD)
def test_cleaning_twice_changes_nothing(text: str) -> None:
    assert flowing(flowing(text)) == flowing(text)
    assert verbatim(verbatim(text)) == verbatim(text)


@given(st.lists(st.text("abc中文，. -", min_size=1, max_size=12), min_size=1, max_size=6))
def test_joining_lines_loses_no_letter(lines: list[str]) -> None:
    joined = join_lines(lines)
    assert joined.replace(" ", "") == "".join(lines).replace(" ", "")
