"""Which access classes of a collection somebody satisfies."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from atrium_knowledge.app.stores import CollectionStore
from atrium_knowledge.domain.access import AccessRule
from atrium_knowledge.domain.documents import Reader
from atrium_shared.principal import Principal

MANAGE_DOCUMENTS: Final = "knowledge.documents:manage"
_COLLECTIONS_KEPT: Final = 1000
_READERS_KEPT: Final = 1000


@dataclass(slots=True)
class _Rules:
    """Rules of one collection. They are never changed or removed, so a copy only grows."""

    by_class: dict[int, AccessRule] = field(default_factory=dict)
    highest: int = 0
    readers: OrderedDict[bytes, tuple[int, frozenset[int]]] = field(default_factory=OrderedDict)
    """By digest of the allow-set: highest class that was looked at, and classes satisfied."""


class AccessClasses:
    """Turns an allow-set into the access classes that it satisfies.

    Results are kept by the allow-set's digest and the number of classes: another policy has
    another digest, and new classes are looked at when they appear.
    """

    def __init__(self, collections: CollectionStore) -> None:
        self._collections = collections
        self._rules: OrderedDict[str, _Rules] = OrderedDict()

    async def permitted(self, principal: Principal, collection_uid: str) -> frozenset[int]:
        """Return the classes that ``principal`` satisfies."""
        rules = self._rules.setdefault(collection_uid, _Rules())
        self._rules.move_to_end(collection_uid)
        if len(self._rules) > _COLLECTIONS_KEPT:
            self._rules.popitem(last=False)
        new = await self._collections.access_rules(collection_uid, rules.highest)
        rules.by_class.update(new)
        rules.highest = max(rules.by_class, default=0)
        digest = principal.allow_set.digest
        seen, permitted = rules.readers.get(digest, (0, frozenset()))
        if seen < rules.highest:
            may_read = principal.allow_set.may_read
            permitted |= {
                access_class
                for access_class, rule in rules.by_class.items()
                if access_class > seen and rule.met_by(may_read)
            }
            rules.readers[digest] = (rules.highest, permitted)
            if len(rules.readers) > _READERS_KEPT:
                rules.readers.popitem(last=False)
        return permitted

    async def reader(self, principal: Principal, collection_uid: str) -> Reader:
        """Return what ``principal`` may be shown of a collection."""
        return Reader(
            manages=principal.may(MANAGE_DOCUMENTS),
            classes=await self.permitted(principal, collection_uid),
            may_read=principal.allow_set.may_read,
        )
