"""``atrium knowledge evaluate`` against the knowledge service with fakes around it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from atrium_knowledge.testing import open_house
from atrium_suite.cli.knowledge import app

LEAVE = "# Leave\n\nEvery employee has 25 days of paid leave a year."
QUESTION = "How many days of paid leave does an employee have?"
RIGHT = {"question": QUESTION, "as_user": "users/employee", "expected_facts": ["25 days"]}
WRONG = {"question": QUESTION, "as_user": "users/partner", "expected_decision": "REFUSED"}


async def evaluate(address: str, file: Path, *options: str) -> Result:
    arguments = ["evaluate", str(file), "--collection", "handbook", "--target", address]
    return await asyncio.to_thread(
        CliRunner().invoke, app, [*arguments, "--key", "admin", *options]
    )


async def test_a_set_is_asked_and_a_table_shown(tmp_path: Path) -> None:
    file = tmp_path / "set.jsonl"
    async with open_house(tmp_path) as house:
        await house.collection()
        await house.add(LEAVE, document_id="leave")
        address = house.server.target
        await asyncio.to_thread(file.write_text, json.dumps(RIGHT))
        fine = await evaluate(address, file)
        assert fine.exit_code == 0, fine.output
        assert "users/employee" in fine.output
        assert "1/1" in fine.output
        run = fine.output.split()[-1]
        assert run.startswith("evaluationRuns/")
        await asyncio.to_thread(file.write_text, f"{json.dumps(RIGHT)}\n{json.dumps(WRONG)}\n")
        wrong = await evaluate(address, file, "--baseline", run)
        assert wrong.exit_code == 1
        assert "0/1" in wrong.output
        assert QUESTION in wrong.output
        as_json = await evaluate(address, file, "--json")
        assert json.loads(as_json.stdout)["case_count"] == 2
        await asyncio.to_thread(file.write_text, "{")
        refused = await evaluate(address, file)
        assert refused.exit_code == 1
        assert "Line 1" in refused.output
