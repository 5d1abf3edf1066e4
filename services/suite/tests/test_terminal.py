from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from atrium.engine.v1 import engine_pb2
from atrium.knowledge.v1 import knowledge_pb2
from atrium_suite.demo.transcript import Transcript
from atrium_suite.terminal.answers import engine_in_words, place_of, tokens_in_words
from atrium_suite.terminal.output import add_row, make_table, megabytes, plain, printable, wrap
from atrium_suite.terminal.uploads import document_id_for, find_files


def test_what_steers_a_terminal_is_not_printed() -> None:
    assert printable("a\x1b[31mb\u202ec\td\n") == "a\ufffd[31mb\ufffdc\td\n"


def test_markup_in_a_text_from_outside_means_nothing() -> None:
    assert plain("[red]x[/red]").plain == "[red]x[/red]"


def test_what_is_copied_from_a_table_stands_on_one_line() -> None:
    table = make_table("document", "title", whole=("document",))
    add_row(table, "benefits-docx-4a35fa9c", "Benefits and family support of the whole company")
    console = Console(width=40)
    with console.capture() as shown:
        console.print(table)
    assert "benefits-docx-4a35fa9c" in shown.get()


def test_a_reader_who_has_enough_is_no_error() -> None:
    code = (
        "import typer\n"
        "from atrium_suite.cli.calls import run\n"
        "async def work():\n"
        "    for number in range(100_000): print(number)\n"
        "typer.run(lambda: run(work()))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.readline()
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 141


def test_a_place_names_document_sections_and_page_once() -> None:
    passage = knowledge_pb2.Passage(
        document_title="Leave Rules", section_path=["Leave Rules", "Sick leave"], page=2
    )
    assert place_of(passage) == "Leave Rules › Sick leave › p. 2"
    assert place_of(knowledge_pb2.Passage(document="collections/a/documents/b")) == (
        "collections/a/documents/b"
    )


def test_in_little_room_the_title_is_cut_and_the_section_stays() -> None:
    passage = knowledge_pb2.Passage(
        document_title="员工福利与家庭支持 Benefits and Family Support", section_path=["照护假"]
    )
    place = place_of(passage, cells=30)
    assert cell_len(place) <= 30
    assert place.startswith("员工福利")
    assert place.endswith("… › 照护假")


def test_chinese_is_broken_between_any_characters_but_not_before_a_full_stop() -> None:
    text = "照护日独立于年假和病假，须在 Pier 中选择。"
    assert wrap(text, 20) == ["照护日独立于年假和病", "假，须在 Pier 中选", "择。"]
    assert wrap("one two three", 7) == ["one two", "three"]
    assert wrap("abcdefghij", 4) == ["abcd", "efgh", "ij"]
    assert wrap("年假。", 4) == ["年", "假。"]
    assert wrap("", 5) == [""]


def test_a_text_that_is_too_long_ends_in_an_ellipsis() -> None:
    assert wrap("one two three four five", 9, lines=2) == ["one two", "three …"]


def test_an_engine_is_named_by_what_it_is() -> None:
    kinds = engine_pb2.Engine
    generated = engine_pb2.Engine(kind=kinds.GENERATIVE, model="qwen2.5-0.5b")
    assert engine_in_words(generated) == "qwen2.5-0.5b"
    assert engine_in_words(engine_pb2.Engine(kind=kinds.EXTRACTIVE)) == "extractive"


def test_tokens_are_told_by_what_they_were_for() -> None:
    usage = engine_pb2.Usage(prompt_tokens=900, completion_tokens=60, encoder_tokens=12)
    assert tokens_in_words(usage) == "900 + 60 tokens, 12 encoded"
    assert tokens_in_words(engine_pb2.Usage()) == "0 tokens"


def test_the_same_file_keeps_its_id_and_another_of_the_same_name_gets_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path)
    first = document_id_for(Path("a/Leave Rules.docx"))
    assert first == document_id_for(tmp_path / "a" / "Leave Rules.docx")
    assert first.startswith("leave-rules-docx-")
    assert first != document_id_for(Path("Leave Rules.docx"))


@pytest.mark.parametrize("name", ["考勤.docx", "x" * 200 + ".md", "-.pdf", "A B&C.md"])
def test_every_name_gives_a_permitted_id(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", document_id_for(Path(name)))


def test_folders_are_walked_in_order_without_hidden_files(tmp_path: Path) -> None:
    for name in ("b.md", "a/z.md", ".hidden.md", ".git/c.md"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    found = [str(path.relative_to(tmp_path)) for path in find_files([tmp_path])]
    assert found == ["a/z.md", "b.md"]
    assert list(find_files([tmp_path / ".hidden.md"])) == [tmp_path / ".hidden.md"]


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        list(find_files([tmp_path / "absent.md"]))
    assert caught.value.filename == str(tmp_path / "absent.md")


@pytest.mark.parametrize(
    ("size", "words"), [(900, "0.9 kB"), (2_400_000, "2.4 MB"), (491_400_064, "491 MB")]
)
def test_sizes_are_for_people(size: int, words: str) -> None:
    assert megabytes(size) == words


def test_a_transcript_is_on_disk_after_each_part(tmp_path: Path) -> None:
    transcript = Transcript(tmp_path / "demo" / "transcript.md")
    transcript.heading("Questions")
    assert transcript.file.read_text() == "## Questions\n\n"
    transcript.table(("who", "answer"), [("lin", "a | b\nsecond\x1b")])
    assert "| lin | a \\| b<br>second\ufffd |" in transcript.file.read_text()
