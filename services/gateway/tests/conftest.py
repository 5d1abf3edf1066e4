"""A model server that misbehaves on demand, and a served gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from atrium_gateway.testing import FakeUpstream, ServedGateway, fake_upstream, serve_gateway


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with fake_upstream() as fake:
        yield fake


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[ServedGateway]:
    """A gateway with the scripted model alone."""
    async with serve_gateway(tmp_path) as gateway:
        yield gateway
