"""What the two e-mail formats share: the head of a mail, its body, and its attachments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from atrium_documents.cleaning import WORD, one_line
from atrium_documents.errors import DocumentError
from atrium_documents.formats.html_file import add_html
from atrium_documents.formats.text_file import add_plain_text
from atrium_documents.model import BlockKind
from atrium_documents.reading import Reading

_MOST_ATTACHMENTS: Final = 200


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file attached to a mail."""

    name: str
    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail, whatever format it came in."""

    subject: str
    head: Sequence[tuple[str, str]]
    """(From, To, Cc, Date) and their values, as shown above the body."""
    html: str
    text: str
    attachments: Iterable[Attachment]


def add_mail(reading: Reading, mail: Mail) -> None:
    """Add subject, head, body and attachments, each attachment as a section of its own."""
    builder = reading.builder
    subject = one_line(mail.subject)
    builder.title = subject or None
    builder.add(BlockKind.HEADING, subject, level=1)
    lines = [f"{name}: {one_line(value)}" for name, value in mail.head if value.strip()]
    builder.add(BlockKind.PARAGRAPH, "\n".join(lines))
    before = len(builder.pieces)
    if mail.html:
        add_html(builder, mail.html)
    if not any(WORD.search(piece.text) for piece in builder.pieces[before:]) and mail.text:
        del builder.pieces[before:]
        add_plain_text(builder, mail.text)
    # The mail's own headings stand below its subject.
    for piece in builder.pieces[before:]:
        if piece.kind is BlockKind.HEADING:
            piece.level = min((piece.level or 1) + 1, 6)
    for count, attachment in enumerate(mail.attachments):
        if count >= _MOST_ATTACHMENTS:
            builder.warn(f"Only the first {_MOST_ATTACHMENTS} attachments were read.")
            break
        _add_attachment(reading, attachment)


def _add_attachment(reading: Reading, attachment: Attachment) -> None:
    builder = reading.builder
    builder.add(BlockKind.HEADING, attachment.name, level=2)
    if reading.depth >= builder.limits.max_attachment_depth:
        builder.warn(
            f"Attachment {attachment.name!r} lies more than {builder.limits.max_attachment_depth} "
            "mails deep and was not opened."
        )
        return
    reading.budget.take_unpacked(len(attachment.data))
    try:
        nested = reading.read_nested(
            attachment.data, attachment.name, attachment.media_type, reading
        )
    except DocumentError as error:
        builder.warn(f"Attachment {attachment.name!r} was not read: {error.message}")
        return
    for engine in nested.engines:
        builder.used(engine)
    for warning in nested.warnings:
        builder.warn(f"Attachment {attachment.name!r}: {warning}")
    for piece in nested.pieces:
        if piece.kind is BlockKind.HEADING:
            piece.level = min((piece.level or 1) + 2, 6)
        builder.append(piece)
