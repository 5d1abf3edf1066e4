"""Find labels that nobody holds, before somebody wonders why nobody finds a document."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final

import structlog

from atrium_knowledge.app.ports import ReaderDirectory
from atrium_shared.clock import Clock
from atrium_shared.errors import AtriumError
from atrium_shared.principal import Principal

READ_AUDIT: Final = "admin.audit:read"
_MOST_LABELS: Final = 50

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LabelWarning:
    """Nobody of the tenant may read what carries this label alone."""

    label: str


class LabelWarnings:
    """Asks the admin service, for whoever may know.

    Args:
        readers: Knows who holds which labels.
        clock: Tells the time.
    """

    def __init__(self, readers: ReaderDirectory, clock: Clock) -> None:
        self._readers = readers
        self._clock = clock

    async def of(self, principal: Principal, labels: Iterable[str]) -> tuple[LabelWarning, ...]:
        """Return the labels that nobody holds, of the first 50.

        Nothing is known, and so nothing is said, when the caller may not read who holds what, or
        the admin service does not answer: labels are accepted all the same.
        """
        if not principal.may(READ_AUDIT):
            return ()
        found: list[LabelWarning] = []
        try:
            for label in islice(labels, _MOST_LABELS):
                page = await self._readers.list_readers(
                    principal, [[label]], self._clock.now(), 1, ""
                )
                if not page.readers:
                    found.append(LabelWarning(label))
        except AtriumError as error:
            _log.warning("holders of labels not known", reason=error.reason)
        return tuple(found)
