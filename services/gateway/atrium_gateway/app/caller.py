"""Whose call it is."""

from __future__ import annotations

from dataclasses import dataclass

from atrium_shared.principal import Principal


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls and what for.

    Attributes:
        principal: Who calls.
        task: Task of the request, such as ``"knowledge.answer"``.
        outside: Whether the call came from outside the installation. Calls of other services are
            audited by them, with what they were for.
    """

    principal: Principal
    task: str
    outside: bool = False

    @property
    def tenant(self) -> str:
        """Id of the tenant."""
        return self.principal.tenant
