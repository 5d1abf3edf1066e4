"""CSV and TSV: one line of text per record, with the column names."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator

from atrium_documents.cleaning import visible
from atrium_documents.decoding import decode
from atrium_documents.errors import DocumentBroken
from atrium_documents.model import BlockKind
from atrium_documents.reading import Reading
from atrium_documents.tables import column_names, guess_header_rows, row_text

_DELIMITERS = ",;\t|"


def read(reading: Reading) -> None:
    """Read a table of separated values; the separator is found from the content."""
    text, encoding = decode(reading.data)
    reading.builder.used(f"csv ({encoding})")
    text = visible(text)
    rows = _rows(text)
    try:
        sample = list(itertools.islice(rows, 20))
        header = guess_header_rows(sample)
        names = column_names(sample[:header]) if header else None
        for number, row in enumerate(itertools.chain(sample, rows)):
            line = row_text(row, names if number >= header else None)
            reading.builder.add(BlockKind.TABLE_ROW, line)
    except csv.Error as error:
        raise DocumentBroken(
            f"The file is no readable CSV: {error}. Save it anew as CSV or XLSX."
        ) from error


def _rows(text: str) -> Iterator[list[str]]:
    return (row for row in csv.reader(io.StringIO(text), _dialect(text)) if any(row))


def _dialect(text: str) -> type[csv.Dialect]:
    class Found(csv.excel):
        delimiter = _delimiter(text)

    return Found


def _delimiter(text: str) -> str:
    """The separator that occurs equally often in most of the first lines."""
    lines = [line for line in text[:20_000].split("\n")[:50] if line.strip()]
    best, best_score = ",", 0.0
    for delimiter in _DELIMITERS:
        counts = [line.count(delimiter) for line in lines]
        usual = max(set(counts), key=counts.count, default=0)
        score = usual and counts.count(usual) / len(counts) + min(usual, 9) / 100
        if score > best_score:
            best, best_score = delimiter, score
    return best
