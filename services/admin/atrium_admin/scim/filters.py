"""Filters and sorting of SCIM as conditions on the directory (RFC 7644, section 3.4.2).

Parsing and the schema's types are the library's. What is kept of users and groups can be asked for;
an attribute that is taken and forgotten is refused, as an answer would look as if nobody had it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from scim2_models import Group
from scim2_models.path import (
    AttributeBinding,
    AttrPath,
    CompareOperator,
    FilterVisitor,
    LogicalExpr,
    LogicalOperator,
    Not,
    Path,
    Present,
    ScimFilter,
    ValuePath,
    coerce_value,
)
from scim2_models.path import Comparison as Compared

from atrium_admin.domain.directory_filters import (
    ALWAYS,
    NEVER,
    ORDERING,
    SUBSTRING,
    AnyMember,
    Comparison,
    Condition,
    Conjunction,
    Disjunction,
    Negation,
    Operator,
    Order,
    is_set,
)
from atrium_admin.scim.errors import FilterTooLong, FilterUnsupported, SortUnsupported
from atrium_admin.scim.resources import GROUP_SCHEMA, USER_SCHEMA, IncomingUser

MOST_FILTER_CHARACTERS = 2_048
"""Directories send some hundred; the time that parsing takes grows with the length."""


@dataclass(frozen=True)
class Text:
    """A text under a name of our own."""

    attribute: str


@dataclass(frozen=True)
class Moment:
    """A point in time under a name of our own."""

    attribute: str


@dataclass(frozen=True)
class Opposite:
    """The opposite of a flag under a name of our own."""

    attribute: str


@dataclass(frozen=True)
class Always:
    """What is the same in each resource, or in each entry of a list."""

    value: str | bool


Kept = Text | Moment | Opposite | Always


@dataclass(frozen=True)
class Searchable:
    """What can be asked for of a resource.

    Attributes:
        schema: Its URN.
        model: The library's model, which knows the types.
        attributes: What is kept, by the schema's name of it; of lists, what an entry holds.
        lists: Attributes of which a resource has several entries.
    """

    schema: str
    model: Any
    attributes: Mapping[str, Kept]
    lists: Sequence[str]

    @property
    def names(self) -> list[str]:
        """What to tell whoever asked for something else."""
        return sorted({name.removesuffix(".value") for name in self.attributes})

    def entry(self, name: str, condition: Condition) -> Condition:
        """Return that an entry of a list fulfils a condition."""
        if name == "members":
            return AnyMember(condition)
        return Conjunction((is_set("email"), condition))  # one address, or none

    def name_of(self, binding: AttributeBinding | None) -> str:
        """Return the schema's name of an attribute, or "" for none of ours."""
        prefix = f"{self.schema}:"
        urn = binding.urn if binding is not None else ""
        return urn.removeprefix(prefix) if urn.startswith(prefix) else ""


USERS = Searchable(
    USER_SCHEMA,
    IncomingUser,
    {
        "id": Text("id"),
        "externalId": Text("external_id"),
        "userName": Text("user_name"),
        "displayName": Text("display_name"),
        "active": Opposite("disabled"),
        "emails.value": Text("email"),
        "emails.type": Always("work"),
        "emails.primary": Always(True),
        "meta.created": Moment("create_time"),
        "meta.resourceType": Always("User"),
    },
    ("emails",),
)

GROUPS = Searchable(
    GROUP_SCHEMA,
    Group,
    {
        "id": Text("id"),
        "externalId": Text("external_id"),
        "displayName": Text("display_name"),
        "members.value": Text("member"),
        "members.type": Always("User"),
        "meta.created": Moment("create_time"),
        "meta.resourceType": Always("Group"),
    },
    ("members",),
)


def read_filter(text: str, searchable: Searchable) -> Condition:
    """Return what a filter asks for; "" asks for everything.

    Raises:
        FilterTooLong: It is longer than any directory writes.
        FilterUnsupported: It compares what is not kept, or as it cannot be compared.
        InvalidFilterException: It is malformed, nests too deep, or a value has the wrong type.
    """
    if not text:
        return ALWAYS
    if len(text) > MOST_FILTER_CHARACTERS:
        raise FilterTooLong(len(text), MOST_FILTER_CHARACTERS)
    bound = ScimFilter[searchable.model](text)  # type: ignore[name-defined] # a value here
    return _Reader(bound, searchable).visit(bound.ast)


def read_order(sort_by: str, sort_order: str, searchable: Searchable) -> Order:
    """Return the order that a request asks for; "" asks for that of the ids.

    Raises:
        SortUnsupported: Nothing is sorted by this attribute, or in this direction.
        InvalidPathException: The attribute is malformed.
    """
    if sort_order.lower() not in ("", "ascending", "descending"):
        raise SortUnsupported("sortOrder", "ascending or descending")
    descending = sort_order.lower() == "descending"
    if not sort_by:
        return Order(descending=descending)
    if len(sort_by) > MOST_FILTER_CHARACTERS:
        raise FilterTooLong(len(sort_by), MOST_FILTER_CHARACTERS)
    path = Path[searchable.model](sort_by)  # type: ignore[name-defined] # a value here
    name = searchable.name_of(path.resolve())
    sortable = {
        each: kept.attribute
        for each, kept in searchable.attributes.items()
        if isinstance(kept, Text | Moment) and kept.attribute != "member"
    }
    found = sortable.get(name) or sortable.get(f"{name}.value")
    if found is None:
        raise SortUnsupported("sortBy", f"one of {', '.join(sorted(sortable))}")
    return Order(found, descending)


class _Reader(FilterVisitor[Condition]):
    """Makes conditions of the nodes of a filter.

    Args:
        bound: The filter, bound to the model.
        searchable: What can be asked for.
        within: The list whose entries are compared, inside its brackets.
    """

    def __init__(
        self, bound: ScimFilter[Any], searchable: Searchable, within: AttrPath | None = None
    ) -> None:
        self._bound = bound
        self._searchable = searchable
        self._within = within

    def visit_logical_expr(self, node: LogicalExpr) -> Condition:
        terms = tuple(self.visit(term) for term in node.terms)
        return Conjunction(terms) if node.op == LogicalOperator.and_ else Disjunction(terms)

    def visit_not(self, node: Not) -> Condition:
        return Negation(self.visit(node.expr))

    def visit_value_path(self, node: ValuePath) -> Condition:
        name = self._searchable.name_of(self._bound.resolve(node.attr_path, strict=False))
        if name not in self._searchable.lists:
            raise self._unknown(node.attr_path)
        inside = _Reader(self._bound, self._searchable, node.attr_path)
        return self._searchable.entry(name, inside.visit(node.val_filter))

    def visit_present(self, node: Present) -> Condition:
        path = self._full(node.attr_path)
        name = self._searchable.name_of(self._bound.resolve(path, strict=False))
        if name in self._searchable.lists:
            return self._searchable.entry(name, ALWAYS)
        return self._in_entry(name, self._is_present(name, path))

    def visit_comparison(self, node: Compared) -> Condition:
        path = self._full(node.attr_path)
        binding = self._bound.resolve_comparison(path, strict=False)
        name = self._searchable.name_of(binding)
        if binding is None or name not in self._searchable.attributes:
            raise self._unknown(path)
        if node.value is None:
            if node.op not in (CompareOperator.eq, CompareOperator.ne):
                raise FilterUnsupported(f"{path} {node.op} null", "null is compared by eq and ne")
            found = self._in_entry(name, self._is_present(name, path))
            return Negation(found) if node.op == CompareOperator.eq else found
        equal_to = CompareOperator.eq if node.op == CompareOperator.ne else node.op
        found = self._compare(name, path, binding, Operator(equal_to.value), node.value)
        found = self._in_entry(name, found)
        # Of a list, `ne` says that no entry equals the value.
        return Negation(found) if node.op == CompareOperator.ne else found

    def _full(self, path: AttrPath) -> AttrPath:
        """Return a path from the resource on."""
        if self._within is None:
            return path
        if path.sub_attr is not None or path.uri is not None:
            raise self._unknown(path)
        return AttrPath(self._within.attr, path.attr, self._within.uri)

    def _in_entry(self, name: str, condition: Condition) -> Condition:
        head = name.partition(".")[0]
        if self._within is not None or head not in self._searchable.lists:
            return condition
        return self._searchable.entry(head, condition)

    def _is_present(self, name: str, path: AttrPath) -> Condition:
        kept = self._searchable.attributes.get(name)
        if kept is None:
            raise self._unknown(path)
        return is_set(kept.attribute) if isinstance(kept, Text) else ALWAYS

    def _compare(
        self, name: str, path: AttrPath, binding: AttributeBinding, operator: Operator, value: Any
    ) -> Condition:
        kept = self._searchable.attributes[name]
        asked = f"{path} {operator}"
        if operator in SUBSTRING and isinstance(kept, Moment | Opposite):
            raise FilterUnsupported(asked, f"{name} takes no 'co', 'sw' and 'ew'")
        if operator in ORDERING and not isinstance(kept, Moment):
            raise FilterUnsupported(asked, "only meta.created takes 'gt', 'ge', 'lt' and 'le'")
        value = coerce_value(binding, value, CompareOperator(operator.value))
        if isinstance(value, str):
            _require_text(asked, value)
        elif operator in SUBSTRING:
            raise FilterUnsupported(asked, "'co', 'sw' and 'ew' take a text")
        if isinstance(kept, Moment):
            return Comparison(kept.attribute, operator, _moment(asked, value))
        if isinstance(kept, Opposite):
            return Comparison(kept.attribute, operator, not value)
        if isinstance(kept, Text):
            if not value:  # what is kept is never an empty text: it is set, or it is not
                return is_set(kept.attribute) if operator in SUBSTRING else NEVER
            return Comparison(kept.attribute, operator, value)
        holds = _holds(binding.comparable(kept.value), operator, binding.comparable(value))
        return ALWAYS if holds else NEVER

    def _unknown(self, path: AttrPath) -> FilterUnsupported:
        inside = f"{self._within}[{path}]" if self._within is not None else str(path)
        return FilterUnsupported(inside, f"the attributes are: {', '.join(self._searchable.names)}")


def _holds(left: Any, operator: Operator, right: Any) -> bool:
    if operator is Operator.CONTAINS:
        return bool(right in left)
    if operator is Operator.STARTS_WITH:
        return bool(left.startswith(right))
    if operator is Operator.ENDS_WITH:
        return bool(left.endswith(right))
    return bool(left == right)


def _require_text(asked: str, text: str) -> None:
    """Refuse what no name can hold and no database takes."""
    if "\x00" in text or any("\ud800" <= each <= "\udfff" for each in text):
        raise FilterUnsupported(asked, "the text holds what is no character")


def _moment(asked: str, value: datetime) -> datetime:
    aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    try:
        return aware.astimezone(UTC)
    except OverflowError as error:
        raise FilterUnsupported(asked, "the moment is out of range") from error
