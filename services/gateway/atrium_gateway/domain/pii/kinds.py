"""What counts as personal data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class PiiKind(StrEnum):
    """A kind of personal data; its name stands in placeholders.

    In the order in which one wins over another that covers the same characters.
    """

    ID_CARD = "ID_CARD"
    """Number of an identity card (GB 11643) or a US social security number."""
    CREDIT_CODE = "CREDIT_CODE"
    """Unified social credit code of an organisation (GB 32100)."""
    IBAN = "IBAN"
    """International bank account number (ISO 13616)."""
    BANK_CARD = "BANK_CARD"
    """Number of a bank card (ISO 7812)."""
    EMAIL = "EMAIL"
    IP_ADDRESS = "IP_ADDRESS"
    PHONE = "PHONE"
    PASSPORT = "PASSPORT"
    """Number of a passport or travel permit."""
    PLATE = "PLATE"
    """Licence plate of a Chinese vehicle."""
    ADDRESS = "ADDRESS"
    """Postal address, or part of one that names a building."""
    PERSON = "PERSON"
    """Name of a person."""


CHECKED = frozenset({PiiKind.ID_CARD, PiiKind.CREDIT_CODE, PiiKind.IBAN, PiiKind.BANK_CARD})
"""Kinds that carry a checksum: a text with one left in it may never leave."""


@dataclass(frozen=True, slots=True)
class Found:
    """Personal data in a text: ``text[start:end]``, offsets in code points."""

    kind: PiiKind
    start: int
    end: int
