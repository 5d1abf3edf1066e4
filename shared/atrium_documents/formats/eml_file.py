"""Internet mail (RFC 5322 and MIME), read with the standard library."""

from __future__ import annotations

import email
import platform
from collections.abc import Iterator
from email import policy
from email.message import EmailMessage, Message
from typing import Final

from atrium_documents.decoding import decode
from atrium_documents.errors import DocumentBroken
from atrium_documents.formats.mail import Attachment, Mail, add_mail
from atrium_documents.reading import Reading

_ENGINE: Final = f"python {platform.python_version()} email"
_SHOWN: Final = ("From", "To", "Cc", "Date")


def read(reading: Reading) -> None:
    """Read an .eml file."""
    reading.builder.used(_ENGINE)
    try:
        message = email.message_from_bytes(reading.data, policy=policy.default)
        html, text, attachments = _parts(message)
        mail = Mail(
            subject=_header(message, "Subject"),
            head=[(name, _header(message, name)) for name in _SHOWN],
            html=html,
            text=text,
            attachments=attachments,
        )
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        raise DocumentBroken(
            f"The mail cannot be read ({type(error).__name__}: {error}). Export it anew as EML."
        ) from error
    add_mail(reading, mail)


def _header(message: Message, name: str) -> str:
    try:
        values = message.get_all(name, [])
        return ", ".join(str(value) for value in values)
    except (ValueError, IndexError, AttributeError, LookupError):
        # The library rejects some malformed headers; the raw text is still readable.
        raw = next((v for k, v in message.raw_items() if k.lower() == name.lower()), "")
        return str(raw)


def _parts(message: EmailMessage | Message) -> tuple[str, str, list[Attachment]]:
    """The HTML body, the plain body, and what is attached; pictures within HTML are left out."""
    html: list[str] = []
    text: list[str] = []
    attachments: list[Attachment] = []
    for part in _leaves(message):
        media_type = part.get_content_type()
        name = part.get_filename() or ""
        disposition = part.get_content_disposition()
        if media_type == "message/rfc822":
            attachments.append(_mail_attachment(part, name))
        elif disposition == "attachment" or (name and disposition != "inline"):
            if not (part.get("Content-ID") and media_type.startswith("image/")):
                attachments.append(Attachment(name or "attachment", media_type, _bytes(part)))
        elif media_type == "text/html":
            html.append(_text(part))
        elif media_type.startswith("text/"):
            text.append(_text(part))
        elif name and not media_type.startswith("image/"):
            attachments.append(Attachment(name, media_type, _bytes(part)))
    return "\n".join(html), "\n\n".join(text), attachments


def _leaves(message: Message) -> Iterator[Message]:
    """All parts that hold content; an attached mail is one leaf, however much it holds."""
    open_parts = [message]
    while open_parts:
        part = open_parts.pop()
        payload = part.get_payload()
        if (
            part.is_multipart()
            and isinstance(payload, list)
            and (part.get_content_maintype() == "multipart")
        ):
            open_parts.extend(reversed([child for child in payload if isinstance(child, Message)]))
        else:
            yield part


def _mail_attachment(part: Message, name: str) -> Attachment:
    payload = part.get_payload()
    inner = payload[0] if isinstance(payload, list) and payload else part
    data = inner.as_bytes() if isinstance(inner, Message) else b""
    subject = _header(inner, "Subject") if isinstance(inner, Message) else ""
    return Attachment(name or f"{subject or 'mail'}.eml", "message/rfc822", data)


def _bytes(part: Message) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _text(part: Message) -> str:
    return decode(_bytes(part), part.get_content_charset())[0]
