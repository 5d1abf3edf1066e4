import random
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from atrium_documents import BlockKind, ParsedDocument, ParseLimits
from atrium_documents.builder import DocumentBuilder
from atrium_knowledge.domain.chunking import Chunk, chunk_document, estimate_tokens
from atrium_knowledge.testing import parse_text

SENTENCE = "Every employee has the right to paid leave in each calendar year. "
CHINESE = "每位员工在每个自然年度内都享有带薪年假的权利。"


def texts(document: ParsedDocument) -> list[str]:
    return [document.text[one.start : one.end] for one in chunk_document(document)]


def test_each_section_is_cut_by_itself_and_keeps_its_path():
    document = parse_text("# Guide\n\nIntro.\n\n## Leave\n\n25 days.\n\n## Pay\n\nMonthly.")
    assert [(one.section_path, one.paragraph) for one in chunk_document(document)] == [
        (("Guide",), 2),
        (("Guide", "Leave"), 4),
        (("Guide", "Pay"), 6),
    ]
    assert texts(document) == ["Intro.", "25 days.", "Monthly."]


def test_short_paragraphs_of_a_section_stand_together():
    assert texts(parse_text("# A\n\nOne.\n\nTwo.\n\nThree.")) == ["One.\n\nTwo.\n\nThree."]


def test_a_long_section_is_cut_into_passages_of_about_equal_size():
    paragraphs = [SENTENCE * 4 for _ in range(20)]
    document = parse_text("# A\n\n" + "\n\n".join(paragraphs))
    sizes = [estimate_tokens(text) for text in texts(document)]
    assert min(sizes) > 200
    assert max(sizes) < 330


def test_a_long_paragraph_is_cut_between_its_sentences():
    for sentence in (SENTENCE, CHINESE):
        parts = texts(parse_text("# A\n\n" + sentence * 100))
        assert len(parts) > 3
        end = sentence.strip()[-1]
        assert all(part.endswith(end) for part in parts)
        assert all(part.startswith(sentence[:5]) for part in parts)


def test_a_text_without_sentences_is_cut_between_words():
    words = " ".join(f"word{number}" for number in range(3000))
    parts = texts(parse_text("# A\n\n" + words))
    assert " ".join(parts) == words
    assert max(estimate_tokens(part) for part in parts) < 400


def test_a_text_without_any_gap_is_cut_all_the_same():
    assert "".join(texts(parse_text("x" * 20_000))) == "x" * 20_000


def test_rows_of_a_table_are_kept_whole():
    rows = [f"| Grade: {n} | Pay: {n * 1000} | Note: {SENTENCE * 3}" for n in range(30)]
    document = parse_text("# Pay\n\n" + "\n".join(rows))
    assert sum(text.count("Grade: ") for text in texts(document)) == 30
    assert all(text.startswith("Grade") for text in texts(document))


def test_a_heading_without_text_is_found_too():
    document = parse_text("# Agenda\n\n## Budget\n\n## Staff\n\nTwo people.")
    assert texts(document) == ["Budget", "Two people."]


def test_a_document_without_headings_is_one_section():
    document = parse_text("Just a paragraph.")
    assert [one.section_path for one in chunk_document(document)] == [()]


def test_a_passage_knows_its_page():
    builder = DocumentBuilder(ParseLimits())
    for page in (1, 2, 3):
        builder.add(BlockKind.PARAGRAPH, SENTENCE * 10, page=page)
    assert [one.page for one in chunk_document(builder.build("application/pdf"))] == [1, 2, 3]


def test_each_passage_has_its_own_language():
    document = parse_text(f"# Guide\n\n{SENTENCE * 10}\n\n## 指南\n\n{CHINESE * 10}")
    assert [one.language for one in chunk_document(document)] == ["en", "zh"]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_passages_cover_every_block_once_and_in_order(seed: int):
    document = random_document(random.Random(seed))
    chunks = chunk_document(document)
    assert all(one.end <= other.start for one, other in pairwise(chunks))
    for block in document.blocks:
        if block.kind is BlockKind.HEADING:
            continue
        covered = sum(
            letters(document.text[max(one.start, block.start) : min(one.end, block.end)])
            for one in chunks
            if one.start < block.end and block.start < one.end
        )
        assert covered == letters(document.text[block.start : block.end])
    assert all(one.section_path in sections_at(document, one) for one in chunks)


def letters(text: str) -> int:
    return len("".join(text.split()))


def sections_at(document: ParsedDocument, chunk: Chunk) -> list[tuple[str, ...]]:
    around = [one for one in document.sections if one.start <= chunk.start and chunk.end <= one.end]
    return [one.path for one in around] or [()]


def random_document(chance: random.Random) -> ParsedDocument:
    builder = DocumentBuilder(ParseLimits())
    builder.add(BlockKind.PARAGRAPH, "A beginning.")
    for _ in range(chance.randrange(1, 25)):
        kind = chance.choice(list(BlockKind))
        sentence = chance.choice([SENTENCE, CHINESE, "word "])
        if kind is BlockKind.HEADING:
            builder.add(kind, f"Heading {chance.randrange(9)}", level=chance.randrange(1, 4))
        else:
            builder.add(kind, sentence * chance.choice([1, 3, 30, 90]))
    return builder.build("text/plain")
