"""Writes a text, whole or as it comes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from atrium_gateway.app.audit_calls import AuditCalls
from atrium_gateway.app.caller import Caller
from atrium_gateway.app.dispatch import Dispatch
from atrium_gateway.domain.generation import Delta, Generated, Prompt


class GenerateText:
    """Use case of ``Generate`` and ``StreamGenerate``.

    Args:
        dispatch: Runs the call on a model.
        audit: Records it.
    """

    def __init__(self, dispatch: Dispatch, audit: AuditCalls) -> None:
        self._dispatch = dispatch
        self._audit = audit

    async def whole(self, caller: Caller, prompt: Prompt) -> Generated:
        """Write a text and return it whole.

        Raises:
            AtriumError: See :meth:`Dispatch.generate`.
        """
        async with self._audit.call(caller, "gateway.Generate") as call:
            generated = await self._dispatch.generate(caller, prompt)
            call.answered(generated.engine, generated.usage)
            return generated

    async def stream(
        self, caller: Caller, prompt: Prompt
    ) -> AsyncGenerator[Delta | Generated, None]:
        """Write a text and give it as it comes: deltas, then the whole. Closing stops the model.

        Raises:
            AtriumError: See :meth:`Dispatch.stream`.
        """
        async with (
            self._audit.call(caller, "gateway.StreamGenerate") as call,
            aclosing(self._dispatch.stream(caller, prompt)) as events,
        ):
            async for event in events:
                if isinstance(event, Generated):
                    call.answered(event.engine, event.usage)
                yield event
