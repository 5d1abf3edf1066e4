"""Conditions on users and groups, as outside directories ask for them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias


class Operator(StrEnum):
    """How an attribute is compared with a value."""

    EQUALS = "eq"
    CONTAINS = "co"
    STARTS_WITH = "sw"
    ENDS_WITH = "ew"
    AFTER = "gt"
    NOT_BEFORE = "ge"
    BEFORE = "lt"
    NOT_AFTER = "le"


SUBSTRING = frozenset({Operator.CONTAINS, Operator.STARTS_WITH, Operator.ENDS_WITH})
"""Operators that compare texts alone."""

ORDERING = frozenset({Operator.AFTER, Operator.NOT_BEFORE, Operator.BEFORE, Operator.NOT_AFTER})
"""Operators that compare moments alone: the order of texts differs between databases."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """An attribute is in a relation to a value.

    Attributes:
        attribute: Such as ``user_name``; ``member`` inside :class:`AnyMember`.
        operator: The relation.
        value: A text, a moment or whether. To equal "" is not to be set; nothing else is
            compared with "".
    """

    attribute: str
    operator: Operator
    value: str | datetime | bool


@dataclass(frozen=True, slots=True)
class AnyMember:
    """A group has a member of whom something holds."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class Negation:
    """Something does not hold."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class Conjunction:
    """All of some conditions hold; of none, always."""

    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Disjunction:
    """One of some conditions holds; of none, never."""

    conditions: tuple[Condition, ...] = ()


Condition: TypeAlias = Comparison | AnyMember | Negation | Conjunction | Disjunction

ALWAYS = Conjunction()
"""Holds of all."""

NEVER = Disjunction()
"""Holds of none."""


def is_set(attribute: str) -> Condition:
    """Return the condition that a text is not empty."""
    return Negation(Comparison(attribute, Operator.EQUALS, ""))


@dataclass(frozen=True, slots=True)
class Order:
    """In which order to return what was found; what has no such attribute comes last.

    Attributes:
        attribute: By what, such as ``user_name``; what is alike in it follows the ids.
        descending: Whether the other way round.
    """

    attribute: str = "id"
    descending: bool = False


BY_ID = Order()
"""The order of the ids."""
