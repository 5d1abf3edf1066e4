import asyncio
import json
import logging
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from dbos import DBOS

from atrium_shared.jobs import JobCancelled, Jobs, MemoryJobs
from atrium_shared.telemetry import configure_logging

# A process that dies inside a step the first time it is run.
WORKER = """
import asyncio, os, pathlib, sys
from atrium_shared.jobs import Jobs

state = pathlib.Path(sys.argv[1])

async def main():
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def note(word):
        with open(state / "log", "a") as log:
            log.write(word + "\\n")

    async def handler(context, payload):
        async def first():
            note("first")
            return {"n": payload["n"]}

        async def second():
            note("second")
            assert asyncio.get_running_loop() is loop
            if len((state / "log").read_text().split()) == 2:
                os.kill(os.getpid(), 9)
            return 2

        async def third():
            loop.call_later(0.2, done.set)

        one = await context.step("first", first)
        two = await context.step("second", second)
        note(f"sum={one['n'] + two}")
        await context.step("third", third)
        return {}

    jobs = Jobs(f"sqlite:///{state}/jobs.db", executor_id="test", name="test-jobs")
    jobs.register("add", handler)
    await jobs.start()
    await jobs.submit("add", "job-1", {"n": 40})
    await asyncio.wait_for(done.wait(), 30)
    await jobs.submit("add", "job-1", {"n": 40})
    await asyncio.sleep(0.5)
    await jobs.close()

asyncio.run(main())
"""


def test_a_killed_job_resumes_and_repeats_only_the_step_under_way(tmp_path: Path):
    script = tmp_path / "worker.py"
    script.write_text(textwrap.dedent(WORKER))
    run = [sys.executable, "-W", "error", str(script), str(tmp_path)]
    assert subprocess.run(run, timeout=60, check=False).returncode == -9
    subprocess.run(run, timeout=60, check=True, capture_output=True)
    assert (tmp_path / "log").read_text().split() == ["first", "second", "second", "sum=42"]


async def test_a_cancelled_job_stops_at_its_next_step(tmp_path: Path):
    jobs = Jobs(f"sqlite:///{tmp_path}/jobs.db", executor_id="test", name="test-jobs")
    began, cancelled, ran = asyncio.Event(), asyncio.Event(), []

    async def handler(context, payload):
        async def wait():
            began.set()
            await cancelled.wait()

        async def after():
            ran.append("after")

        await context.step("wait", wait)
        await context.step("after", after)
        ran.append("end")
        return {}

    jobs.register("long", handler)
    await jobs.start()
    try:
        await jobs.submit("long", "job-1", {})
        await asyncio.wait_for(began.wait(), 10)
        await jobs.cancel("job-1")
        cancelled.set()
        await asyncio.sleep(0.5)
        assert ran == []
        await jobs.cancel("unknown")
    finally:
        await jobs.close()


async def test_no_more_jobs_run_at_once_than_declared(tmp_path: Path):
    jobs = Jobs(f"sqlite:///{tmp_path}/jobs.db", executor_id="test", name="test-jobs")
    running, peak, ended = 0, 0, asyncio.Semaphore(0)

    async def handler(context, payload):
        async def work():
            nonlocal running, peak
            running += 1
            peak = max(peak, running)
            await asyncio.sleep(0.05)
            running -= 1
            ended.release()

        await context.step("work", work)
        return {}

    jobs.register("small", handler, concurrency=2)
    await jobs.start()
    try:
        for number in range(6):
            await jobs.submit("small", f"job-{number}", {})
        async with asyncio.timeout(20):
            for _ in range(6):
                await ended.acquire()
        assert peak == 2
    finally:
        await jobs.close()


async def test_jobs_whose_beginning_nobody_waits_for_are_looked_for_less_often(tmp_path: Path):
    jobs = Jobs(f"sqlite:///{tmp_path}/jobs.db", executor_id="test", name="test-jobs")
    began = asyncio.Event()

    async def handler(context, payload):
        async def begin():
            began.set()

        await context.step("begin", begin)
        return {}

    jobs.register("soon", handler)
    jobs.register("later", handler, soon=False)
    await jobs.start()
    try:
        kinds = [await DBOS.retrieve_queue_async(f"jobs.{kind}") for kind in ("soon", "later")]
        soon, later = [kind.polling_interval_sec for kind in kinds if kind is not None]
        assert later >= 5 * soon
        await jobs.submit("later", "job-1", {})
        await asyncio.wait_for(began.wait(), 10)
    finally:
        await jobs.close()


async def test_the_loop_works_on_after_jobs_are_closed(tmp_path: Path):
    jobs = Jobs(f"sqlite:///{tmp_path}/jobs.db", executor_id="test", name="test-jobs")
    done = asyncio.Event()

    async def note():
        done.set()

    async def handler(context, payload):
        # A step runs on this loop; a handler may run on another, whose event would not wake it.
        await context.step("note", note)
        return {}

    jobs.register("note", handler)
    await jobs.start()
    await jobs.submit("note", "job-1", {})
    await asyncio.wait_for(done.wait(), 20)
    await jobs.close()
    assert await asyncio.to_thread(lambda: 42) == 42


async def test_jobs_in_memory_run_once_per_id_and_can_be_cancelled():
    jobs, ran = MemoryJobs(), []

    async def handler(context, payload):
        async def work():
            ran.append(context.job_id)
            return 1

        return {"value": await context.step("work", work)}

    jobs.register("kind", handler)
    await jobs.submit("kind", "a", {})
    await jobs.submit("kind", "a", {})
    assert await jobs.wait("a") == {"value": 1}
    assert ran == ["a"]
    await jobs.submit("kind", "b", {})
    await jobs.cancel("b")
    with pytest.raises(JobCancelled):
        await jobs.wait("b")
    await jobs.close()


async def test_what_the_library_tells_goes_where_all_logs_go(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    configure_logging(json=True)
    jobs = Jobs(f"sqlite:///{tmp_path}/jobs.db", executor_id="test", name="test-jobs")
    await jobs.start()
    logging.getLogger("dbos").error("the disk is full")
    await jobs.close()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert ("dbos", "the disk is full") in [(line["logger"], line["event"]) for line in lines]
