"""The knowledge service in a process of its own, for tests that kill it.

Records, jobs, files, index and parser are the real ones. Who calls, and the encoder, are fakes, so
that it starts fast and needs no other service. It prints its port when it answers.

    python knowledge_process.py STATE_FOLDER
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from atrium_knowledge.bootstrap import build
from atrium_knowledge.testing import (
    PEOPLE,
    FakeDelegation,
    FakeErasedUsers,
    FakeReaders,
    FakeRoleHolders,
    HashEmbedder,
    settings_in,
)
from atrium_shared.audit import MemoryAuditSink
from atrium_shared.jobs import Jobs
from atrium_shared.models import Embedding
from atrium_shared.principal import Principal
from atrium_shared.rpc.server import RpcServer
from atrium_shared.testing import FakeAuthenticator
from atrium_shared.testing_models import NoGenerator


class SlowEmbedder(HashEmbedder):
    """Takes as long as an encoder would."""

    async def embed(
        self, principal: Principal, texts: Sequence[str], kind: Literal["query", "passage"]
    ) -> Embedding:
        """Return a vector a text, after a while."""
        if kind == "passage":
            await asyncio.sleep(random.uniform(0.005, 0.04))
        return await super().embed(principal, texts, kind)


async def main(folder: Path) -> None:
    """Serve until killed or stopped."""
    settings = settings_in(folder)
    jobs = Jobs(settings.jobs_url, executor_id=settings.replica, name="knowledge")
    audit = MemoryAuditSink()
    app = build(
        settings,
        audit=audit,
        jobs=jobs,
        embedder=SlowEmbedder(),
        generator=NoGenerator(),
        delegation=FakeDelegation(list(PEOPLE.values())),
        role_holders=FakeRoleHolders(),
        erased_users=FakeErasedUsers(),
        reader_directory=FakeReaders(),
    )
    server = RpcServer(
        [app], address="127.0.0.1:0", authenticator=FakeAuthenticator(PEOPLE), audit=audit
    )
    await jobs.start()
    port = await server.start()
    print(port, flush=True)
    # Whoever started this process ends it by closing its standard input.
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(1.0)
    await jobs.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
