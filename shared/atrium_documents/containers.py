"""Archives that Office files are made of: checked before any parser unpacks them.

A ZIP file states how large each member becomes, and may lie. So both are checked here: what is
declared (sum, number of members, ratio) for all members, and what really comes out for every XML
part, which is what parsers read. Members that are archives themselves are never opened.
"""

from __future__ import annotations

import copy
import io
import re
import zipfile
import zlib
from dataclasses import dataclass
from typing import Final

from atrium_documents.errors import (
    DocumentBroken,
    DocumentEncrypted,
    DocumentUnpacksTooLarge,
    DocumentUnsafe,
)
from atrium_documents.limits import MIB, ParseLimits

_MOST_MEMBERS: Final = 20_000
# Deflate reaches 1,032:1 on zeros. Real sheets of styled empty cells reach about 60:1.
_HIGHEST_RATIO: Final = 200
_RATIO_MATTERS_FROM: Final = 10 * MIB
_CHUNK: Final = 1 * MIB
_XML_PART: Final = re.compile(r"\.(?:xml|rels|vml)$", re.IGNORECASE)
# In UTF-16 either byte of a character may come first; the zeros between are the same.
_DTD: Final = (b"<!DOCTYPE", b"<!ENTITY", b"<\0!\0D\0O\0C\0T\0Y", b"<\0!\0E\0N\0T\0I")
_STRICT: Final = re.compile(rb"http://purl\.oclc\.org/ooxml/([A-Za-z]+)/")
_MAIN_TYPES: Final = (
    # Macro-enabled and template files hold the same XML under another content type.
    (
        rb"application/vnd\.(?:ms-word\.(?:document|template)\.macroEnabled(?:Template)?"
        rb"|openxmlformats-officedocument\.wordprocessingml\.template)\.main\+xml",
        b"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml",
    ),
    (
        rb"application/vnd\.(?:ms-powerpoint\.(?:presentation|slideshow|template)\.macroEnabled"
        rb"|openxmlformats-officedocument\.presentationml\.(?:slideshow|template))\.main\+xml",
        b"application/vnd.openxmlformats-officedocument.presentationml.presentation.main+xml",
    ),
    (
        rb"application/vnd\.(?:ms-excel\.(?:sheet|template)\.macroEnabled"
        rb"|openxmlformats-officedocument\.spreadsheetml\.template)\.main\+xml",
        b"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml",
    ),
)
_CONTENT_TYPES: Final = "[Content_Types].xml"


@dataclass(frozen=True, slots=True)
class Archive:
    """A ZIP file whose members were checked."""

    data: bytes
    """The archive, rewritten where its dialect (strict namespaces, macros) needs it."""
    names: frozenset[str]


def open_archive(data: bytes) -> zipfile.ZipFile:
    """Open a ZIP archive.

    Raises:
        DocumentBroken: The archive is cut off or corrupt.
    """
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
        raise DocumentBroken(
            f"The file starts as a ZIP archive (as Office files do), but cannot be opened: {error}."
            " It may be cut off. Send it again, or save it anew."
        ) from error


def check_office_archive(data: bytes, limits: ParseLimits) -> Archive:
    """Check an Office file's archive and return it in the dialect that parsers know.

    Raises:
        DocumentBroken: Corrupt members.
        DocumentEncrypted: Members need a password.
        DocumentUnpacksTooLarge: More comes out than ``limits.max_unpacked_bytes``, too many
            members, or a compression ratio that only a bomb has.
        DocumentUnsafe: XML parts with a document type definition, which Office never writes.
    """
    with open_archive(data) as archive:
        members = archive.infolist()
        _check_declared(members, limits)
        strict = False
        budget = limits.max_unpacked_bytes
        for member in members:
            if _XML_PART.search(member.filename):
                size, is_strict = _check_actual(archive, member, budget, limits)
                budget -= size
                strict = strict or is_strict
        content_types = (
            archive.read(_CONTENT_TYPES) if _CONTENT_TYPES in archive.namelist() else b""
        )
        rewritten_types = _plain_content_types(content_types)
        if strict or rewritten_types != content_types:
            data = _rewrite(archive, members, rewritten_types)
        return Archive(data, frozenset(member.filename for member in members))


def _check_declared(members: list[zipfile.ZipInfo], limits: ParseLimits) -> None:
    if len(members) > _MOST_MEMBERS:
        raise DocumentUnpacksTooLarge(
            f"The archive has {len(members):,} members; at most {_MOST_MEMBERS:,} are opened.",
            limit=_MOST_MEMBERS,
            members=len(members),
        )
    if any(member.flag_bits & 1 for member in members):
        raise DocumentEncrypted(
            "The archive is protected by a password. Remove the password and send it again."
        )
    _refuse_above(sum(member.file_size for member in members), limits)
    for member in members:
        ratio = member.file_size / max(member.compress_size, 1)
        if member.file_size > _RATIO_MATTERS_FROM and ratio > _HIGHEST_RATIO:
            raise DocumentUnpacksTooLarge(
                f"A part of the file unpacks to {ratio:,.0f} times its size; no honest document "
                f"passes {_HIGHEST_RATIO}. It was not opened.",
                ratio=round(ratio),
            )


def _check_actual(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, budget: int, limits: ParseLimits
) -> tuple[int, bool]:
    """Unpack a part and throw it away; return its true size and whether it is strict OOXML."""
    # zipfile stops at the declared size, so the declaration is lifted to see what follows it.
    probe = copy.copy(member)
    probe.file_size = budget + 1
    size = 0
    strict = False
    tail = b""
    try:
        with archive.open(probe) as part:
            while chunk := part.read(_CHUNK):
                size += len(chunk)
                if size > budget:
                    _refuse_above(limits.max_unpacked_bytes + 1, limits)
                if size > 2 * member.file_size + _CHUNK:
                    raise DocumentUnpacksTooLarge(
                        f"The part {member.filename!r} unpacks to far more than the "
                        f"{member.file_size:,} bytes that the file states for it. It was not read.",
                        limit=limits.max_unpacked_bytes,
                    )
                window = tail + chunk
                if any(mark in window for mark in _DTD):
                    raise DocumentUnsafe(
                        f"The part {member.filename!r} declares XML entities or a document type, "
                        "which Office files never do. It was not read."
                    )
                strict = strict or b"purl.oclc.org/ooxml/" in window
                tail = chunk[-64:]
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError) as error:
        raise DocumentBroken(
            f"The part {member.filename!r} of the file is corrupt: {error}. "
            "Send the file again, or save it anew."
        ) from error
    if size != member.file_size:
        raise DocumentBroken(
            f"The part {member.filename!r} unpacks to {size:,} bytes, but the file states "
            f"{member.file_size:,}. Save the file anew."
        )
    return size, strict


def _refuse_above(size: int, limits: ParseLimits) -> None:
    if size > limits.max_unpacked_bytes:
        raise DocumentUnpacksTooLarge(
            f"The file unpacks to more than {limits.max_unpacked_bytes / MIB:,.0f} MiB, the most "
            "that is opened. Split it, or remove large pictures.",
            limit=limits.max_unpacked_bytes,
        )


def _plain_content_types(content_types: bytes) -> bytes:
    for pattern, plain in _MAIN_TYPES:
        content_types = re.sub(pattern, plain, content_types)
    return content_types


def _rewrite(
    archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], content_types: bytes
) -> bytes:
    """Write the archive again: strict namespaces become the transitional ones parsers know."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as target:
        for member in members:
            is_types = member.filename == _CONTENT_TYPES
            part = content_types if is_types else archive.read(member)
            if _XML_PART.search(member.filename):
                part = _STRICT.sub(rb"http://schemas.openxmlformats.org/\1/2006/", part)
            target.writestr(member.filename, part)
    return out.getvalue()
