from __future__ import annotations

import struct
from email.message import EmailMessage

import pytest

from atrium_documents import (
    BlockKind,
    DocumentBroken,
    DocumentUnpacksTooLarge,
    ParseLimits,
)

from .conftest import Read, outline, texts
from .making import msg, ole


def mail(subject: str = "Leave 年假", body: str = "Hello Bo,\n\nthirty days.\n") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Ann <ann@example.com>"
    message["To"] = "Bo 王 <bo@example.com>"
    message["Date"] = "Tue, 05 Mar 2024 10:00:00 +0800"
    message["Subject"] = subject
    message.set_content(body)
    return message


def test_mail_is_read_with_its_head(read: Read) -> None:
    document = read(mail().as_bytes(), "a.eml")
    assert document.title == "Leave 年假"
    assert document.media_type == "message/rfc822"
    assert texts(document) == [
        "Leave 年假",
        "From: Ann <ann@example.com>\nTo: Bo 王 <bo@example.com>\n"
        "Date: Tue, 05 Mar 2024 10:00:00 +0800",
        "Hello Bo,",
        "thirty days.",
    ]


def test_html_body_is_preferred_for_its_structure(read: Read) -> None:
    message = mail()
    message.add_alternative("<h1>Rules</h1><ul><li>thirty</li></ul>", subtype="html")
    document = read(message.as_bytes(), "a.eml")
    assert outline(document) == [(1, "Leave 年假"), (2, "Rules")]
    assert texts(document, BlockKind.LIST_ITEM) == ["thirty"]


def test_attachments_are_sections_of_the_mail(read: Read) -> None:
    message = mail()
    message.add_attachment(b"# Plan\n\nBuy bolts.", "text", "markdown", filename="plan.md")
    message.add_attachment(b"\x7fELF\0\0", "application", "octet-stream", filename="tool")
    document = read(message.as_bytes(), "a.eml")
    assert outline(document) == [(1, "Leave 年假"), (2, "plan.md"), (3, "Plan"), (2, "tool")]
    assert document.sections[2].path == ("Leave 年假", "plan.md", "Plan")
    assert "Attachment 'tool' was not read" in document.warnings[0]
    assert "markdown-it-py" in document.engine


def test_mails_within_mails_end_at_the_limit(read: Read) -> None:
    message = mail("level 3", "deepest")
    for level in (2, 1, 0):
        outer = mail(f"level {level}", f"body {level}")
        outer.add_attachment(message)
        message = outer
    document = read(message.as_bytes(), "a.eml", limits=ParseLimits(max_attachment_depth=2))
    assert "body 2" in document.text
    assert "deepest" not in document.text
    assert "more than 2 mails deep" in document.warnings[0]


def test_attachments_count_against_what_may_be_unpacked(read: Read) -> None:
    message = mail()
    message.add_attachment(b"x" * 5000, "text", "plain", filename="a.txt")
    with pytest.raises(DocumentUnpacksTooLarge, match="attachments unpack"):
        read(message.as_bytes(), "a.eml", limits=ParseLimits(max_unpacked_bytes=4000))


def test_body_in_an_unknown_charset_is_still_read(read: Read) -> None:
    data = (
        b"From: a@example.com\nTo: b@example.com\nSubject: x\nMIME-Version: 1.0\n"
        b"Content-Type: text/plain; charset=no-such\n\n" + "年假三十天，请提前申请。".encode()
    )
    assert "年假三十天" in read(data, "a.eml").text


def test_outlook_mail_is_read_with_its_attachments(read: Read) -> None:
    document = read(
        msg("预算 Budget", "Hello Bo.", attachments={"p.md": b"# Plan\n\nBolts."}), "a.msg"
    )
    assert document.title == "预算 Budget"
    assert document.media_type == "application/vnd.ms-outlook"
    assert texts(document) == [
        "预算 Budget", 'From: "Ann" <ann@example.com>', "Hello Bo.", "p.md", "Plan", "Bolts.",
    ]  # fmt: skip


def test_outlook_html_body_is_decoded_by_its_content(read: Read) -> None:
    document = read(msg("x", "", html="<p>年假<b>三十</b>天</p>".encode()), "a.msg")
    assert texts(document)[-1] == "年假三十天"


def test_outlook_mail_without_a_body_says_so(read: Read) -> None:
    assert read(msg("only a subject", ""), "a.msg").warnings == (
        "The mail has no plain or HTML body; RTF bodies are not read.",
    )


def test_broken_outlook_mail_is_named_so(read: Read) -> None:
    lost_subject = struct.pack("<IIII", 0x0037001F, 6, 10, 0)
    with pytest.raises(DocumentBroken, match="Outlook mail cannot be read"):
        read(ole({"__properties_version1.0": b"\0" * 32 + lost_subject}), "a.msg")
