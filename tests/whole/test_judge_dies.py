"""A judge that dies in the middle of a training, and comes back: no sample is lost, and none is scored without it."""

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from env.judging.rules import certain
from env.lessons import lesson_in, lessons_in
from env.task import load_tasks
from tests.servers.chat_server import ChatServer, chat_server
from tests.servers.processes import Family, family

AWAY_S = 20.0
"""How long the judge is away."""
PARTLY = json.dumps({"reason": "so it is", "agrees_with": "1", "wholly": False})


@pytest.fixture
def members() -> Iterator[Family]:
    # Ray's socket paths must be short, shorter than pytest's folders are.
    with tempfile.TemporaryDirectory(prefix="vs-") as folder, family(Path(folder)) as made:
        yield made


def dying(server: ChatServer, run: Path) -> list[float]:
    """A judge that finds every answer right in part, and is away for a while from the first rollouts on. Returns when
    it was asked in vain, seconds."""
    in_vain: list[float] = []

    def script(text: str) -> Any:
        trains = any(run.glob("*/episodes/sft.jsonl"))
        if trains and (not in_vain or time.monotonic() < in_vain[0] + AWAY_S):
            in_vain.append(time.monotonic())
            return 500
        if "Right answer" in text:
            return json.dumps({"other_answer": "nothing of the kind"})
        right = json.loads(text.splitlines()[1].split(": ", 1)[1]) != "nothing of the kind"
        return PARTLY if right else PARTLY.replace('"1"', '"2"')

    server.script = script
    return in_vain


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_judge_that_dies_in_training_costs_no_sample_and_no_wrong_reward(members: Family, tmp_path: Path) -> None:
    with chat_server() as server:
        in_vain = dying(server, tmp_path / "smoke")
        process = members.start(
            *("videoseeker.py", "train", "configs/smoke.yaml", f"runs_dir={tmp_path}", "grpo.steps=2"),
            *(f"tracking.uri=sqlite:///{tmp_path}/mlflow.db", "captions.steps=0", "sft.steps=250", "eval.questions=1"),
            *("episode.tools=[]", "judge.by=model", f"judge.model.base_url={server.url}", "judge.model.model=m"),
            *("judge.model.retries=0", "judge.pause_s=300", "judge.canary_every=0", "grpo.prompts_per_step=4"),
            "tracking.rollouts_per_step=64",
        )
        told, _ = process.communicate(timeout=800)
    assert process.returncode == 0, told
    assert in_vain, "it was away while it was asked"
    [arm] = [path.parent for path in tmp_path.glob("smoke/*/metrics.jsonl")]
    steps = [row for row in map(json.loads, (arm / "metrics.jsonl").open()) if row["stage"] == "grpo"]
    assert [row["given_up_episodes"] for row in steps] == [0, 0]
    tasks = {task.id: task for task in load_tasks(tmp_path / "smoke" / "data" / "train.jsonl")}
    files = sorted(arm.glob("rollouts/*.arrow"))
    assert [lessons_in(file) for file in files] == [8, 8], "no sample is lost"
    episodes = [lesson_in(file, place) for file in files for place in range(8)]
    expected = [certain(tasks[each.task_id], each.answer) for each in episodes]
    assert None in expected, "the rules decide all, so the judge was not needed"
    assert [each.rewards.accuracy for each in episodes] == [0.5 if known is None else known for known in expected]
