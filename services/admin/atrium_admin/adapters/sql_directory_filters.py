"""Conditions on users and groups as SQL that SQLite and PostgreSQL understand alike."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, false, func, not_, or_, true

from atrium_admin.domain.directory_filters import (
    AnyMember,
    Comparison,
    Condition,
    Conjunction,
    Negation,
    Operator,
    Order,
)

_RELATIONS: dict[Operator, Callable[[Any, Any], ColumnElement[bool]]] = {
    Operator.EQUALS: operator.eq,
    Operator.AFTER: operator.gt,
    Operator.NOT_BEFORE: operator.ge,
    Operator.BEFORE: operator.lt,
    Operator.NOT_AFTER: operator.le,
}


def _as_it_is(text: str) -> str:
    return text


@dataclass(frozen=True)
class Attribute:
    """Where an attribute is kept.

    Attributes:
        column: The column that is compared; never null.
        key: Brings a text into the form that the column holds.
    """

    column: ColumnElement[Any]
    key: Callable[[str], str] = _as_it_is


class DirectoryFilters:
    """Makes SQL of conditions.

    Args:
        attributes: Where the attributes are kept.
        any_member: Says that a group has a member of whom something holds; users have none.
    """

    def __init__(
        self,
        attributes: Mapping[str, Attribute],
        any_member: Callable[[ColumnElement[bool]], ColumnElement[bool]] | None = None,
    ) -> None:
        self._attributes = attributes
        self._any_member = any_member

    def where(self, condition: Condition) -> ColumnElement[bool]:
        """Return a condition as SQL."""
        if isinstance(condition, Comparison):
            return self._compare(condition)
        if isinstance(condition, Negation):
            return not_(self.where(condition.condition))
        if isinstance(condition, AnyMember):
            if self._any_member is None:
                raise TypeError("Only groups have members.")
            return self._any_member(self.where(condition.condition))
        terms = [self.where(each) for each in condition.conditions]
        if isinstance(condition, Conjunction):
            return and_(true(), *terms)
        return or_(false(), *terms)

    def order_by(self, order: Order) -> list[ColumnElement[Any]]:
        """Return by what to sort."""
        column = self._attributes[order.attribute].column
        keys = [column]
        if column.type.python_type is str:
            keys.insert(0, column == "")  # what is not set comes last
        if order.descending:
            keys = [key.desc() for key in keys]
        return [*keys, self._attributes["id"].column]

    def _compare(self, comparison: Comparison) -> ColumnElement[bool]:
        attribute, value = self._attributes[comparison.attribute], comparison.value
        column = attribute.column
        if not isinstance(value, str):
            return _RELATIONS[comparison.operator](column, value)
        text = attribute.key(value)
        # LIKE takes upper and lower case of ASCII for the same in SQLite, so it is not used.
        if comparison.operator is Operator.EQUALS:
            return column == text
        if comparison.operator is Operator.STARTS_WITH:
            return func.substr(column, 1, len(text)) == text
        if comparison.operator is Operator.ENDS_WITH:
            # Before the start of a shorter text both give something that is shorter than ``text``.
            return func.substr(column, func.length(column) - len(text) + 1) == text
        return func.replace(column, text, "") != column
