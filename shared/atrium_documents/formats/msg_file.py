"""Outlook mail (.msg, MS-OXMSG), read with python-oxmsg."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from email.header import decode_header, make_header
from importlib.metadata import version
from typing import Final

from olefile.olefile import OleFileError
from oxmsg import Message

from atrium_documents.errors import DocumentBroken
from atrium_documents.formats.html_file import decode_html
from atrium_documents.formats.mail import Attachment, Mail, add_mail
from atrium_documents.reading import Reading

_ENGINE: Final = f"python-oxmsg {version('python-oxmsg')}"
_HTML: Final = 0x1013
_CODE_PAGE: Final = 0x3FDE
_FAILURES: Final = (
    OleFileError, OSError, ValueError, LookupError, AttributeError, TypeError, AssertionError,
    struct.error,
)  # fmt: skip


def read(reading: Reading) -> None:
    """Read a .msg file."""
    reading.builder.used(_ENGINE)
    try:
        message = Message.load(io.BytesIO(reading.data))
        headers = {name.lower(): value for name, value in message.message_headers.items()}
        people = ", ".join(f"{one.name} <{one.email_address}>" for one in message.recipients)
        sent = message.sent_date
        mail = Mail(
            subject=message.subject,
            head=[
                ("From", _decoded(message.sender)),
                ("To", _decoded(headers.get("to")) or people),
                ("Cc", _decoded(headers.get("cc"))),
                ("Date", _decoded(headers.get("date")) or (sent.isoformat(" ") if sent else "")),
            ],
            html=_html(message),
            text=message.body or "",
            attachments=list(_attachments(message)),
        )
    except _FAILURES as error:
        raise DocumentBroken(
            f"The Outlook mail cannot be read ({type(error).__name__}: {error}). Save it anew as "
            "MSG or EML."
        ) from error
    if not mail.html and not mail.text:
        reading.builder.warn("The mail has no plain or HTML body; RTF bodies are not read.")
    add_mail(reading, mail)


def _html(message: Message) -> str:
    """The HTML body, by the encoding that it states itself, or else by the mail's code page."""
    data = message.properties.binary_prop_value(_HTML)
    if not data:
        return message.html_body or ""
    page = message.properties.int_prop_value(_CODE_PAGE)
    return decode_html(data, "utf-8" if page == 65001 else f"cp{page}")


def _decoded(header: object) -> str:
    """Internet headers kept in the file may still be encoded (RFC 2047)."""
    return str(make_header(decode_header(str(header)))) if header else ""


def _attachments(message: Message) -> Iterator[Attachment]:
    for attachment in message.attachments:
        name = attachment.file_name or "attachment"
        media_type = attachment.mime_type or ""
        data = attachment.file_bytes
        if data is None:
            yield Attachment(name, media_type, b"")
        elif not (media_type.startswith("image/") and name.lower().startswith("image0")):
            # Outlook names pictures within the body image001.png and so on.
            yield Attachment(name, media_type, data)
