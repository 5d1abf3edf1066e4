"""Takes what became of a reply."""

from __future__ import annotations

from atrium_gateway.app.generation_names import GenerationNames
from atrium_gateway.app.ports import OutcomeStore
from atrium_gateway.domain.outcomes import Outcome
from atrium_shared.principal import Principal


class RecordOutcome:
    """Use case of ``RecordOutcome``.

    Args:
        names: Reads the names of replies.
        store: Keeps outcomes.
    """

    def __init__(self, names: GenerationNames, store: OutcomeStore) -> None:
        self._names = names
        self._store = store

    async def __call__(self, principal: Principal, name: str, outcome: Outcome) -> None:
        """Keep the outcome of a reply; said again, the last one counts.

        Args:
            principal: Who says so.
            name: Name of the reply, ``"generations/..."``.
            outcome: What became of it.

        Raises:
            GenerationNotFound: No reply of the tenant has this name.
        """
        generation = self._names.read(principal.tenant, name)
        await self._store.put(principal.tenant, generation, outcome)
