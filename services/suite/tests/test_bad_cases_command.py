"""``atrium knowledge bad-cases`` against the knowledge service with fakes around it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from atrium.knowledge.v1 import knowledge_service_pb2
from atrium_knowledge.testing import House, open_house
from atrium_suite.cli.knowledge import app

LEAVE = "# Leave\n\nEvery employee has 25 days of paid leave a year."
QUESTION = "How many days of paid leave does an employee have?"


async def call(house: House, *arguments: str) -> Result:
    options = ["--target", house.server.target, "--key", "admin"]
    return await asyncio.to_thread(CliRunner().invoke, app, [*arguments, *options])


async def complain(house: House) -> None:
    events = house.as_("employee").Ask(
        knowledge_service_pb2.AskRequest(parent="collections/handbook", question=QUESTION)
    )
    (name,) = [event.answer.name async for event in events if event.HasField("answer")]
    await house.as_("employee").GiveFeedback(
        knowledge_service_pb2.GiveFeedbackRequest(
            feedback=knowledge_service_pb2.Feedback(
                answer=name, rating=knowledge_service_pb2.Feedback.NOT_HELPFUL
            )
        )
    )


async def test_what_cannot_be_exported_leaves_no_file(tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    async with open_house(tmp_path) as house:
        absent = await call(house, "bad-cases", "handbook", "--export", str(file))
        assert absent.exit_code == 1
        assert "handbook" in absent.output
        await house.collection()
        unknown = await call(
            house, "bad-cases", "handbook", "--export", str(file), "--role", "king"
        )
        assert unknown.exit_code == 1
        assert "roles/king" in unknown.output
        alone = await call(house, "bad-cases", "handbook", "--role", "member")
        assert alone.exit_code != 0
        assert "--export" in alone.output
    assert not await asyncio.to_thread(lambda: list(tmp_path.glob("bad*")))


async def test_bad_cases_are_listed_exported_and_evaluated(tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    async with open_house(tmp_path) as house:
        made = await call(house, "create", "handbook", "--keep-questions")
        assert made.exit_code == 0, made.output
        await house.add(LEAVE, document_id="leave")
        empty = await call(house, "bad-cases", "handbook")
        assert "no bad cases" in empty.output
        await complain(house)
        listed = await call(house, "bad-cases", "handbook", "--json")
        assert [one["reason"] for one in json.loads(listed.stdout)] == ["NOT_HELPFUL"]
        assert "feedback/" in (await call(house, "bad-cases", "handbook")).output.replace("\n", "")
        written = await call(house, "bad-cases", "handbook", "--export", str(file))
        assert written.exit_code == 0, written.output
        assert "Wrote 1 questions" in written.output
        lines = (await asyncio.to_thread(file.read_text)).splitlines()
        assert [json.loads(line)["question"] for line in lines] == [QUESTION]
        asked = await call(house, "evaluate", str(file), "--collection", "handbook")
        assert asked.exit_code == 0, asked.output


async def test_kept_questions_go_when_it_is_switched_off(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await house.collection()
        assert "are kept" in (await call(house, "keep-questions", "handbook")).output
        await house.add(LEAVE)
        await complain(house)
        assert QUESTION in str(house.stored_rows("feedback"))
        off = await call(house, "keep-questions", "handbook", "--off")
        assert "removed" in off.output
        assert QUESTION not in str(house.stored_rows("feedback"))
        refused = await call(house, "keep-questions", "absent")
        assert refused.exit_code == 1
