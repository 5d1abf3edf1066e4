"""Durable jobs: work that outlives its request and its process (DBOS).

A job is a handler that runs *steps*. The result of a finished step is recorded; after a crash the
handler runs again and recorded steps return what they returned. A step that was under way when the
process died runs once more, so its effects must be idempotent.

DBOS knows one instance per process and finds a process's own jobs by its executor id. So that id
is stable over restarts and unique among processes. On PostgreSQL the processes watch one another:
each writes a heartbeat, and the first to see that a peer's stopped takes over its jobs. The
application version is pinned, since a new version would otherwise not touch the jobs of the old;
how a handler may change is told in ``docs/adr/0002-durable-jobs.md``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Never, Protocol, TypeAlias, TypeVar

import sqlalchemy as sa
from dbos import DBOS, DBOSConfig, SetWorkflowID
from dbos import error as dbos_error
from sqlalchemy.engine import make_url

from atrium_shared.tasks import repeat

JSON: TypeAlias = Mapping[str, Any]
T = TypeVar("T")
Handler: TypeAlias = Callable[["JobContext", JSON], Coroutine[Any, Any, JSON]]

_log = logging.getLogger(__name__)
_HEARTBEAT_SECONDS = 5.0
_DEAD_AFTER_SECONDS = 30.0
_GAP_SECONDS = 15.0  # a heart that was silent for longer does not beat steadily
_LATER_SECONDS = 0.5
# Jobs are found again only under the version that made them. It changes when a handler could not
# finish jobs that the previous version began.
_JOBS_VERSION = "1"


class JobCancelled(Exception):
    """The job was cancelled; raised at its next step. Clean up and let it pass."""


class JobContext(Protocol):
    """What a handler may do."""

    @property
    def job_id(self) -> str:
        """The id under which the job was submitted."""

    async def step(self, name: str, function: Callable[[], Awaitable[T]]) -> T:
        """Run a step, or return what it returned before the crash.

        Args:
            name: Name of the step; steps run in the same order each time.
            function: The work. Its result must survive JSON.

        Raises:
            JobCancelled: The job was cancelled meanwhile.
        """


class JobRunner(Protocol):
    """Runs durable jobs. :class:`Jobs` in production, :class:`MemoryJobs` in unit tests."""

    def register(
        self, name: str, handler: Handler, *, concurrency: int = 2, soon: bool = True
    ) -> None:
        """Declare a kind of job, before :meth:`start`.

        Args:
            name: Of the kind.
            handler: Does the job.
            concurrency: How many of them may run at once in this process.
            soon: Whether somebody waits for it to begin; else it may begin half a second later.
        """

    async def start(self) -> None:
        """Begin to run jobs, first those that a crash interrupted."""

    async def close(self) -> None:
        """Stop. Unfinished jobs go on at the next start."""

    async def submit(self, name: str, job_id: str, payload: JSON) -> None:
        """Make a job durable; it runs soon. The same id again changes nothing."""

    async def cancel(self, job_id: str) -> None:
        """Stop a job at its next step. A finished or unknown one is left alone."""


class Jobs:
    """Durable jobs on a DBOS system database.

    Args:
        database_url: ``sqlite:///path`` or ``postgresql+psycopg://...`` (synchronous drivers).
        executor_id: Stable and unique name of this process, such as ``suite`` or the pod's name.
        name: Name of the application, the same for all replicas.
        poll_seconds: How often each kind of job looks for work that shall begin soon. Each look
            takes some 2 ms in which Python does nothing else.
    """

    def __init__(
        self, database_url: str, *, executor_id: str, name: str, poll_seconds: float = 0.1
    ) -> None:
        self._url = database_url
        self._executor_id = executor_id
        self._name = name
        self._poll_seconds = poll_seconds
        self._handlers: dict[str, tuple[Handler, int, float]] = {}
        self._workflows: dict[str, Callable[..., Coroutine[Any, Any, JSON]]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watch: list[asyncio.Task[Never]] = []
        # On the monotonic clock, in seconds.
        self._beaten_at = self._steady_since = float("-inf")
        self._engine: sa.Engine | None = None

    def register(
        self, name: str, handler: Handler, *, concurrency: int = 2, soon: bool = True
    ) -> None:
        """Declare a kind of job."""
        if self._loop is not None:
            raise RuntimeError("Jobs are registered before start()")
        seconds = self._poll_seconds if soon else max(self._poll_seconds, _LATER_SECONDS)
        self._handlers[name] = (handler, concurrency, seconds)

    async def start(self) -> None:
        """Open the system database and run what a crash interrupted."""
        self._loop = asyncio.get_running_loop()
        # A logger that has a handler keeps it: DBOS would otherwise write past our log, to what is
        # standard error just now.
        library = logging.getLogger("dbos")
        if not library.handlers:
            library.addHandler(logging.NullHandler())
        config = DBOSConfig(
            name=self._name,
            system_database_url=self._url,
            executor_id=self._executor_id,
            application_version=_JOBS_VERSION,
            log_level="WARNING",
            use_listen_notify=not self._url.startswith("sqlite"),
        )
        await asyncio.to_thread(lambda: DBOS(config=config))
        for name, (handler, _, _) in self._handlers.items():
            self._workflows[name] = self._as_workflow(name, handler)
        await asyncio.to_thread(DBOS.launch)
        for name, (_, concurrency, seconds) in self._handlers.items():
            await DBOS.register_queue_async(
                _queue(name),
                worker_concurrency=concurrency,
                polling_interval_sec=seconds,
            )
        if make_url(self._url).get_backend_name() != "sqlite":
            self._engine = await asyncio.to_thread(_open_heartbeats, self._url)
            # Two tasks: who is slow to take over, as the library waits for its database, lives.
            for work, failed in (
                (self._beat, "jobs: heartbeat failed"),
                (self._adopt_dead, "jobs: taking over failed"),
            ):
                thread = partial(asyncio.to_thread, work)
                watch = repeat(thread, _HEARTBEAT_SECONDS, failed=failed)
                self._watch.append(asyncio.create_task(watch))

    async def close(self) -> None:
        """Stop; jobs under way go on at the next start."""
        if self._loop is None:
            return
        # DBOS warns of every job that stopping interrupts; that is what stopping means here.
        logging.getLogger("dbos").setLevel(logging.ERROR)
        watch, self._watch = self._watch, []
        for task in watch:
            task.cancel()
        await asyncio.gather(*watch, return_exceptions=True)
        await asyncio.to_thread(lambda: DBOS.destroy(destroy_registry=True))
        # DBOS made its own threads, which are gone now, those of the loop.
        self._loop.set_default_executor(ThreadPoolExecutor(thread_name_prefix="asyncio"))
        if self._engine is not None:
            await asyncio.to_thread(self._engine.dispose)
        self._workflows.clear()
        self._loop = None

    async def submit(self, name: str, job_id: str, payload: JSON) -> None:
        """Enqueue durably; repeating an id does nothing."""
        with SetWorkflowID(job_id):
            await DBOS.enqueue_workflow_async(_queue(name), self._workflows[name], dict(payload))

    async def cancel(self, job_id: str) -> None:
        """Stop a job at its next step."""
        await DBOS.cancel_workflow_async(job_id)

    def _as_workflow(self, name: str, handler: Handler) -> Callable[..., Coroutine[Any, Any, JSON]]:
        async def workflow(payload: dict[str, Any]) -> JSON:
            context = _DurableContext(DBOS.workflow_id or "", self._loop)
            try:
                return await handler(context, payload)
            except JobCancelled as cancelled:
                raise cancelled.__cause__ or cancelled from None

        workflow.__qualname__ = f"job.{name}"
        return DBOS.workflow(name=f"job.{name}")(workflow)

    def _beat(self) -> None:
        """Say that this process lives."""
        assert self._engine is not None
        now = datetime.now(UTC)
        with self._engine.begin() as connection:
            mine = sa.update(_HEARTBEATS).where(_HEARTBEATS.c.executor_id == self._executor_id)
            if connection.execute(mine.values(beat_time=now)).rowcount == 0:
                connection.execute(
                    sa.insert(_HEARTBEATS).values(
                        executor_id=self._executor_id, name=self._name, beat_time=now
                    )
                )
        last, self._beaten_at = self._beaten_at, time.monotonic()
        if self._beaten_at - last > _GAP_SECONDS:
            self._steady_since = self._beaten_at

    def _adopt_dead(self) -> None:
        """Take over the jobs of every peer whose heartbeat stopped."""
        while self._adopt_one():
            pass

    def _adopt_one(self) -> bool:
        assert self._engine is not None
        silent_since = datetime.now(UTC) - timedelta(seconds=_DEAD_AFTER_SECONDS)
        # While the database is away no heart can beat, and then peers are given time to.
        now = time.monotonic()
        if now - self._beaten_at > _GAP_SECONDS or now - self._steady_since < _DEAD_AFTER_SECONDS:
            return False
        # Of several peers one takes over: who holds the row. It goes once all jobs are taken over;
        # where that fails it stays, and is found again.
        dead = (
            sa.select(_HEARTBEATS.c.executor_id)
            .where(
                _HEARTBEATS.c.name == self._name,
                _HEARTBEATS.c.executor_id != self._executor_id,
                _HEARTBEATS.c.beat_time < silent_since,
            )
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        with self._engine.begin() as connection:
            executor = connection.execute(dead).scalar()
            if executor is None:
                return False
            jobs = DBOS.list_workflows(executor_id=executor, status="PENDING")
            for job in jobs:
                DBOS.resume_workflow(job.workflow_id)
            connection.execute(sa.delete(_HEARTBEATS).where(_HEARTBEATS.c.executor_id == executor))
        _log.warning("jobs: took over %d jobs of %s, whose heartbeat stopped", len(jobs), executor)
        return True


class _DurableContext:
    """Steps of one job.

    DBOS runs recovered jobs on a loop of its own; the work of a step always runs on the service's
    loop, to which its database and channels belong.
    """

    def __init__(self, job_id: str, loop: asyncio.AbstractEventLoop | None) -> None:
        self._job_id = job_id
        self._loop = loop

    @property
    def job_id(self) -> str:
        return self._job_id

    async def step(self, name: str, function: Callable[[], Awaitable[T]]) -> T:
        async def on_service_loop() -> T:
            assert self._loop is not None
            if asyncio.get_running_loop() is self._loop:
                return await function()

            async def work() -> T:
                return await function()

            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work(), self._loop))

        try:
            return await DBOS.run_step_async({"name": name}, on_service_loop)
        except dbos_error.DBOSWorkflowCancelledError as cancelled:
            raise JobCancelled(f"Job {self._job_id!r} was cancelled") from cancelled


class MemoryJobs:
    """Jobs that live and die with the process, for unit tests."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._tasks: dict[str, asyncio.Task[JSON]] = {}
        self._cancelled: set[str] = set()

    def register(
        self, name: str, handler: Handler, *, concurrency: int = 2, soon: bool = True
    ) -> None:
        """Declare a kind of job."""
        self._handlers[name] = handler

    async def start(self) -> None:
        """Nothing to recover."""

    async def close(self) -> None:
        """Cancel what runs."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def submit(self, name: str, job_id: str, payload: JSON) -> None:
        """Run now, once per id."""
        if job_id not in self._tasks:
            context = _MemoryContext(job_id, self._cancelled)
            self._tasks[job_id] = asyncio.create_task(self._handlers[name](context, payload))

    async def cancel(self, job_id: str) -> None:
        """Stop a job at its next step."""
        self._cancelled.add(job_id)

    async def wait(self, job_id: str) -> JSON:
        """Return the job's result once it ended."""
        return await self._tasks[job_id]


class _MemoryContext:
    def __init__(self, job_id: str, cancelled: set[str]) -> None:
        self._job_id = job_id
        self._cancelled = cancelled

    @property
    def job_id(self) -> str:
        return self._job_id

    async def step(self, name: str, function: Callable[[], Awaitable[T]]) -> T:
        if self._job_id in self._cancelled:
            raise JobCancelled(f"Job {self._job_id!r} was cancelled before step {name!r}")
        return await function()


_HEARTBEATS = sa.Table(
    "atrium_executors",
    sa.MetaData(),
    sa.Column("executor_id", sa.String(200), primary_key=True),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("beat_time", sa.DateTime(timezone=True), nullable=False),
)


def _open_heartbeats(url: str) -> sa.Engine:
    engine = sa.create_engine(url, pool_size=1, max_overflow=1, pool_pre_ping=True)
    _HEARTBEATS.create(engine, checkfirst=True)
    return engine


def _queue(name: str) -> str:
    return f"jobs.{name}"
