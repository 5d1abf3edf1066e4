"""How the demo looks: in a terminal it moves, in a pipe it is plain, and all of it is kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.rule import Rule
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from atrium.admin.v1 import admin_pb2
from atrium.knowledge.v1 import knowledge_pb2
from atrium_suite.demo.handbook import Handbook, SampleQuestion
from atrium_suite.demo.meeting import MeetingShown, SampleMeeting
from atrium_suite.demo.steps import Asked
from atrium_suite.demo.transcript import Transcript
from atrium_suite.terminal.answers import DECISIONS, engine_in_words, place_of
from atrium_suite.terminal.meetings import (
    SpeakerNames,
    clock,
    print_catch_up,
    print_minutes,
    print_utterance,
)
from atrium_suite.terminal.output import make_console, make_table, plain, show_path, wrap
from atrium_suite.terminal.uploads import FileAdded

_WIDTH = 112
_DEGRADED = "▾"


class DemoScreen:
    """Shows the demo and writes its transcript.

    Args:
        transcript: Where everything is kept.
    """

    def __init__(self, transcript: Transcript) -> None:
        console = make_console()
        width = min(console.width, _WIDTH) if console.is_terminal else _WIDTH
        self.console = make_console(width=width)
        self._transcript = transcript

    def opening(self, handbook: Handbook, models: str) -> None:
        """Say what is about to happen."""
        title = f"Atrium · {handbook.company['zh']} {handbook.company['en']}"
        about = (
            f"One handbook of {len(handbook.documents)} documents in "
            f"{len({document.path.suffix for document in handbook.documents})} formats. "
            f"{len(handbook.people)} people ask the same {len(handbook.questions)} questions, in "
            "Chinese and English. Each is answered from what that person may read, and from "
            "nothing else."
        )
        zh = "同一本员工手册，四个人问同样的问题：每个人得到的答案，只来自他有权阅读的内容。"
        self.console.print()
        self.console.print(Rule(Text(title, "bold"), align="left", style="dim"))
        self.console.print(about)
        self.console.print(zh)
        self._transcript.heading(title, level=1)
        self._transcript.paragraph(about)
        self._transcript.paragraph(zh)
        if models == "none":
            self.note(
                "Without models: answers are taken word for word, and search knows keywords only, "
                "so a question finds documents in its own language. `make demo` uses models."
            )

    def part(self, words: str) -> None:
        """Begin a part of the demo."""
        self.console.print()
        self.console.print(Text(f"▎{words}", "bold cyan"))
        self._transcript.heading(words)

    def line(self, what: str, words: str, seconds: float | None = None) -> None:
        """Say in one line what was done."""
        took = "" if seconds is None else f"  {seconds:.1f} s"
        self.console.print(
            Text.assemble(("✓ ", "green"), (f"{what:<10} ", "bold"), plain(words), took)
        )
        self._transcript.paragraph(f"**{what}** {words}{took}")

    def note(self, words: str) -> None:
        """Say what should be known."""
        self.console.print(plain(words, "dim"))
        self._transcript.paragraph(words)

    def fault(self, words: str) -> None:
        """Say what went wrong."""
        self.console.print(Text.assemble(("✗ ", "bold red"), plain(words, "red")))
        self._transcript.paragraph(f"**✗** {words}")

    @contextmanager
    def busy(self, words: str) -> Iterator[None]:
        """Show that something is being done, for as long as the block runs."""
        if not self.console.is_terminal:
            yield
            return
        with self.console.status(plain(words)):
            yield

    @contextmanager
    def documents(self, handbook: Handbook) -> Iterator[DocumentsView]:
        """Show how the documents get on."""
        view = DocumentsView(handbook)
        with self._live(view):
            yield view
        self._transcript.table(*view.cells())

    @contextmanager
    def question(self, question: SampleQuestion) -> Iterator[QuestionView]:
        """Show the answers to a question as they come."""
        view = QuestionView(question)
        self.console.print()
        for language, text in question.text.items():
            mark = "❯ " if language == next(iter(question.text)) else "  "
            self.console.print(Text.assemble((mark, "bold cyan"), plain(text, "bold")))
        self.console.print(plain(f"  {question.about}", "dim"))
        self._transcript.heading(" / ".join(question.text.values()), level=3)
        self._transcript.paragraph(question.about)
        with self._live(view):
            yield view
        self._transcript.table(*view.cells())
        for reason in view.degraded_reasons():
            self._transcript.paragraph(f"{_DEGRADED} degraded 降级: {reason}")

    def meeting(self, sample: SampleMeeting, shown: MeetingShown) -> None:
        """Show what was said with what is struck out, the minutes, and what somebody missed."""
        speakers = shown.transcript.speakers
        left = sample.left
        away = f"{clock(left['left_at_ms'])}-{clock(left['joined_at_ms'])}"
        self.console.print()
        self.console.print(
            Text.assemble(("❯ ", "bold cyan"), plain(sample.title, "bold"), (f"  {away}", "dim"))
        )
        self._transcript.heading(sample.title, level=3)
        names = SpeakerNames(speakers)
        for utterance in shown.transcript.utterances:
            print_utterance(self.console, utterance, names)
        self.console.print()
        print_minutes(self.console, shown.minutes, speakers)
        self.console.print()
        print_catch_up(self.console, shown.catch_up, speakers)
        self.console.print()
        self._transcript.paragraph(
            "\n".join(f"- {show_path(file)}" for file in shown.files if file.suffix == ".md")
        )

    def audit(self, events: Sequence[admin_pb2.AuditEvent], verified: str) -> None:
        """Show the end of the audit log."""
        rows = [
            (
                str(event.sequence),
                event.actor.removeprefix("users/"),
                event.on_behalf_of.removeprefix("users/"),
                event.action,
                admin_pb2.AuditEvent.Decision.Name(event.decision),
                event.model or event.detail,
                event.hash.hex()[:8],
            )
            for event in reversed(events)
        ]
        columns = ("#", "actor", "for", "action", "decision", "model or reason", "hash")
        table = make_table(*columns)
        for row in rows:
            table.add_row(*map(plain, row))
        self.console.print(table)
        self._transcript.table(columns, rows)
        self.note(verified)

    def times(self, rows: Sequence[tuple[str, float, str]]) -> None:
        """Show how long each stage took: what, seconds, in words."""
        table = make_table("stage", "seconds", "")
        table.columns[1].justify = "right"
        for what, seconds, words in rows:
            table.add_row(plain(what), f"{seconds:.1f}", plain(words, "dim"))
        self.console.print(table)
        self._transcript.table(
            ("stage", "seconds", ""),
            [(what, f"{seconds:.1f}", words) for what, seconds, words in rows],
        )

    def commands(self, title: str, lines: Sequence[str]) -> None:
        """Show commands to go on with."""
        self.console.print(title)
        for line in lines:
            self.console.print(plain(f"  {line}", "bold"), soft_wrap=True)
        self._transcript.paragraph(title)
        self._transcript.paragraph("\n".join(f"    {line}" for line in lines))

    @contextmanager
    def _live(self, view: DocumentsView | QuestionView) -> Iterator[None]:
        if not self.console.is_terminal:
            yield
            self.console.print(view)
            return
        with Live(view, console=self.console, refresh_per_second=8):
            yield


class DocumentsView:
    """A row for each document: what it is, who reads it, how far it is."""

    _COLUMNS = ("document", "read by", "passages", "pages", "parse", "encode", "index", "")
    _TIMES = slice(4, 7)
    _WIDTH = 104

    def __init__(self, handbook: Handbook) -> None:
        self._documents = handbook.documents
        self._added: dict[str, FileAdded] = {}

    def update(self, added: FileAdded) -> None:
        """Take in that a document got further."""
        self._added[added.file.document_id] = added

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # In little room the times are left out: their sums follow.
        left_out = self._TIMES if options.max_width < self._WIDTH else slice(0)
        columns = list(self._COLUMNS)
        del columns[left_out]
        table = make_table(*columns)
        for column in table.columns:
            column.no_wrap = True
        for column in table.columns[2:-1]:
            column.justify = "right"
        for row in self._rows():
            cells = list(row)
            del cells[left_out]
            table.add_row(*cells)
        yield table

    def cells(self) -> tuple[Sequence[str], list[Sequence[str]]]:
        """Return the same as plain text."""
        return self._COLUMNS, [[cell.plain for cell in row] for row in self._rows()]

    def _rows(self) -> Iterator[Sequence[Text]]:
        for document in self._documents:
            added = self._added.get(document.id)
            labels = ", ".join(document.labels) or "everyone"
            for needed in document.section_labels.values():
                labels += f"\n§ {', '.join(needed)}"
            name = plain(document.path.name)
            if added is None:
                yield (name, plain(labels, "dim"), *([Text("")] * 5), Text("waiting", "dim"))
                continue
            read = added.document
            yield (
                name,
                plain(labels, "dim"),
                Text(str(read.passage_count) if read else ""),
                Text(str(read.page_count) if read and read.page_count else ""),
                _milliseconds(added.progress.parse_seconds),
                _milliseconds(added.progress.encode_seconds),
                _milliseconds(added.progress.index_seconds),
                _state(added),
            )


class QuestionView:
    """A row for each person and language."""

    _COLUMNS = ("", "who", "decision", "answer and sources", "s")
    _WIDTHS = (2, 16, 13, 0, 5)
    _GAP = 2
    _LINES_OF_TEXT = 4

    def __init__(self, question: SampleQuestion) -> None:
        self._question = question
        self._asked: list[Asked] = []
        self._asking = ""

    def asking(self, person: str) -> None:
        """Say who is being answered now."""
        self._asking = person

    def add(self, asked: Asked) -> None:
        """Add an answer."""
        self._asked.append(asked)
        self._asking = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width - sum(self._WIDTHS) - self._GAP * (len(self._WIDTHS) - 1)
        table = Table(box=None, pad_edge=False, padding=(0, self._GAP, 0, 0))
        for column, fixed in zip(self._COLUMNS, self._WIDTHS, strict=True):
            table.add_column(column, header_style="dim", width=fixed or width, no_wrap=True)
        table.columns[-1].justify = "right"
        language = ""
        for asked in self._asked:
            first = asked.language != language
            if first and language:
                table.add_row()
            language = asked.language
            mark, *cells = self._row(asked, width)
            table.add_row(mark if first else Text(""), *cells)
        if self._asked:
            yield table
        for reason in self.degraded_reasons():
            yield plain(f"{_DEGRADED} degraded 降级: {reason}", "yellow")
        if self._asking:
            yield Spinner("dots", Text(f"{self._asking} is being answered ...", "dim"))

    def degraded_reasons(self) -> list[str]:
        """Return why answers are degraded, each reason once."""
        engines = [asked.answer.engine for asked in self._asked]
        return list(dict.fromkeys(each.degraded_reason for each in engines if each.degraded))

    def cells(self) -> tuple[Sequence[str], list[Sequence[str]]]:
        """Return the same as plain text, nothing cut."""
        rows: list[Sequence[str]] = [
            [cell.plain for cell in self._row(asked, None)] for asked in self._asked
        ]
        return self._COLUMNS, rows

    def _row(self, asked: Asked, width: int | None) -> Sequence[Text]:
        answer = asked.answer
        name, _, colour = DECISIONS[answer.decision]
        answered = name == "ANSWERED"
        words: list[Text] = []

        def add(text: str, style: str, lines: int | None) -> None:
            broken = [text] if width is None else wrap(text, width, lines=lines)
            words.extend(plain(line, style) for line in broken)

        add(answer.text, "" if answered else "dim", self._LINES_OF_TEXT)
        for source in _sources(answer, width):
            add(source, "dim cyan", 1)
        for remark in asked.verdict.remarks:
            add(f"≈ {remark}", "yellow", None)
        for fault in asked.verdict.faults:
            add(f"✗ {fault}", "bold red", None)
        engine = engine_in_words(answer.engine) if answered else ""
        mark = f"{_DEGRADED} " if answer.engine.degraded else ""
        return (
            Text(asked.language, "dim"),
            Text.assemble((asked.person.id, "bold"), "\n", (asked.person.role, "dim")),
            Text.assemble(
                (name.replace("_", " "), f"bold {colour}"),
                "\n",
                (mark + engine, "magenta" if engine and engine != "extractive" else "dim"),
            ),
            Text("\n").join(words),
            Text(f"{asked.seconds:.1f}", "dim"),
        )


def _sources(answer: knowledge_pb2.Answer, width: int | None) -> list[str]:
    """Return each source once, with the numbers under which it is cited."""
    numbers: dict[str, str] = {}
    for citation in answer.citations:
        number = f"[{citation.number}]"
        cells = None if width is None else width - len(number) - 1
        place = place_of(citation.passage, cells=cells)
        if number not in numbers.setdefault(place, ""):
            numbers[place] += number
    return [f"{cited} {place}" for place, cited in numbers.items()]


def _state(added: FileAdded) -> Text:
    if added.error is not None:
        return plain(f"✗ {added.reason}", "bold red")
    if added.document is None:
        return plain(added.stage, "yellow")
    by_ocr = any("OCR" in warning for warning in added.document.warnings)
    return Text.assemble(("✓ ", "green"), ("OCR" if by_ocr else "", "dim"))


def _milliseconds(seconds: float) -> Text:
    return Text(f"{seconds * 1000:,.0f} ms" if seconds else "")
