"""Reads the web pages of a request and puts them into its prompt."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from atrium_gateway.app.ports import PageReader
from atrium_gateway.domain.generation import Prompt
from atrium_gateway.domain.web_pages import (
    WebPage,
    WebPagesOff,
    WebPageUnreachable,
    with_pages,
)

_SECONDS = 10.0
_SHARE = 0.5
_CONTEXT_WHERE_UNKNOWN = 8192


class ReadWebPages:
    """Fetches pages, all within ten seconds.

    Args:
        reader: Fetches one; None where the operator allows no host.
    """

    def __init__(self, reader: PageReader | None) -> None:
        self._reader = reader

    async def __call__(self, prompt: Prompt, context_tokens: int, reply_tokens: int) -> Prompt:
        """Return the prompt with its pages in it, which take at most half of a model's context.

        Args:
            prompt: What is asked.
            context_tokens: Prompt plus reply of the model that is asked first; 0: not known.
            reply_tokens: Most tokens of the reply.

        Raises:
            WebPagesOff: The operator allows no host.
            WebPageForbidden, WebPageUnreachable, WebPageUnreadable, WebPageTooLarge: See
                ``PageReader``.
        """
        if not prompt.web_pages:
            return prompt
        if self._reader is None:
            raise WebPagesOff
        addresses = list(dict.fromkeys(prompt.web_pages))
        pages = await self._read(self._reader, addresses)
        room = max((context_tokens or _CONTEXT_WHERE_UNKNOWN) - reply_tokens, 0)
        return with_pages(prompt, pages, int(room * _SHARE))

    async def _read(self, reader: PageReader, addresses: Sequence[str]) -> list[WebPage]:
        tasks = [asyncio.create_task(reader.read(address)) for address in addresses]
        try:
            async with asyncio.timeout(_SECONDS):
                return await asyncio.gather(*tasks)
        except TimeoutError as error:
            late = next(
                address for address, task in zip(addresses, tasks, strict=True) if _is_late(task)
            )
            raise WebPageUnreachable(late, f"it took longer than {_SECONDS:g} s") from error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _is_late(task: asyncio.Task[WebPage]) -> bool:
    return not task.done() or task.cancelled()
