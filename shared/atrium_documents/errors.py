"""Why a file could not be read. Each says what was wrong, what was expected, what to do."""

from __future__ import annotations

from typing import ClassVar

from atrium_shared.errors import AtriumError, Invalid, Unavailable

FIELD = "document"


class DocumentError(Invalid):
    """A file that cannot be read; the same file will fail again."""

    reason: ClassVar[str] = "DOCUMENT_UNREADABLE"

    def __init__(self, message: str, **metadata: object) -> None:
        super().__init__(message, field=FIELD, **metadata)


class DocumentEmpty(DocumentError):
    """0 bytes."""

    reason = "DOCUMENT_EMPTY"


class DocumentHasNoText(DocumentError):
    """The file was read, and holds 0 words."""

    reason = "DOCUMENT_HAS_NO_TEXT"


class DocumentEncrypted(DocumentError):
    """A password or rights management protects it."""

    reason = "DOCUMENT_ENCRYPTED"


class DocumentBroken(DocumentError):
    """It claims a type whose rules it breaks: cut off, corrupt, or mislabelled."""

    reason = "DOCUMENT_BROKEN"


class DocumentUnsafe(DocumentError):
    """It holds something that no honest file of its type holds, such as XML entities in Office."""

    reason = "DOCUMENT_UNSAFE"


class DocumentTooLarge(DocumentError):
    """Too many bytes, pages, characters or pixels, or more memory than one file may use."""

    reason = "DOCUMENT_TOO_LARGE"


class DocumentUnpacksTooLarge(DocumentError):
    """A small archive with huge contents ("zip bomb")."""

    reason = "DOCUMENT_UNPACKS_TOO_LARGE"


class DocumentTypeUnknown(DocumentError):
    """A type of file that Atrium does not read."""

    reason = "DOCUMENT_TYPE_UNKNOWN"


class DocumentTimedOut(DocumentError):
    """Reading took longer than allowed."""

    reason = "DOCUMENT_TIMED_OUT"


class ParserCrashed(DocumentError):
    """The process that read this file died of it. Other files are not affected."""

    reason = "PARSER_CRASHED"


class StoredDocumentUnreadable(DocumentError):
    """Stored JSON that is not a parsed document of a version this release knows."""

    reason = "STORED_DOCUMENT_UNREADABLE"


class ParserUnavailable(Unavailable):
    """No worker process could be started, or the parser is closed."""

    reason = "PARSER_UNAVAILABLE"


_CROSSING: dict[str, type[DocumentError]] = {
    cls.reason: cls
    for cls in (
        DocumentEmpty,
        DocumentHasNoText,
        DocumentEncrypted,
        DocumentBroken,
        DocumentUnsafe,
        DocumentTooLarge,
        DocumentUnpacksTooLarge,
        DocumentTypeUnknown,
        DocumentTimedOut,
    )
}


def error_to_fields(error: AtriumError) -> dict[str, object]:
    """Describe an error as plain values, to send it from a worker to its parent."""
    return {"reason": error.reason, "message": error.message, "metadata": error.metadata}


def error_from_fields(values: dict[str, object]) -> DocumentError:
    """Rebuild an error that a worker described; an unknown reason becomes `DocumentBroken`."""
    metadata = values.get("metadata")
    kind = _CROSSING.get(str(values.get("reason")), DocumentBroken)
    return kind(
        str(values.get("message")),
        **({str(k): v for k, v in metadata.items()} if isinstance(metadata, dict) else {}),
    )
