"""Files of many formats -> one text with structure and exact offsets.

`DocumentParser` reads a file in a confined process; `ParsedDocument` is what comes back. Importing
this package loads no parser.
"""

from atrium_documents.errors import (
    DocumentBroken,
    DocumentEmpty,
    DocumentEncrypted,
    DocumentError,
    DocumentHasNoText,
    DocumentTimedOut,
    DocumentTooLarge,
    DocumentTypeUnknown,
    DocumentUnpacksTooLarge,
    DocumentUnsafe,
    ParserCrashed,
    ParserUnavailable,
    StoredDocumentUnreadable,
)
from atrium_documents.limits import ParseLimits
from atrium_documents.model import Block, BlockKind, ParsedDocument, Section
from atrium_documents.parser import DocumentParser
from atrium_documents.schema import SCHEMA, from_json, to_json

__all__ = [
    "SCHEMA",
    "Block",
    "BlockKind",
    "DocumentBroken",
    "DocumentEmpty",
    "DocumentEncrypted",
    "DocumentError",
    "DocumentHasNoText",
    "DocumentParser",
    "DocumentTimedOut",
    "DocumentTooLarge",
    "DocumentTypeUnknown",
    "DocumentUnpacksTooLarge",
    "DocumentUnsafe",
    "ParseLimits",
    "ParsedDocument",
    "ParserCrashed",
    "ParserUnavailable",
    "Section",
    "StoredDocumentUnreadable",
    "from_json",
    "to_json",
]
