"""Held-out evaluation: a model plays the test tasks at temperature 0, on env runners and engines.

Invariants:
- A question that could not be played, however often it was tried, ends the evaluation with its cause. It is neither a
  wrong answer nor left out of the denominator.
- An episode is in a log before the next is waited for, so that an evaluation that was ended goes on where it was.
"""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from actors.rollout.dispatch import Dispatcher
from actors.rollout.groups import GroupOrder
from actors.rollout.players import play_all, players
from configs import Config
from configs.policy import SamplingConfig
from env.task import Task
from storage.files import JsonObject, write_rows
from storage.logs import AppendLog, json_object

GREEDY = SamplingConfig(temperature=0.0)


class EvaluationError(RuntimeError):
    """The evaluation could not be finished, said in one sentence."""


def evaluate(config: Config, model_dir: str | Path, tasks: Sequence[Task], out: Path) -> None:
    """Start engines and env runners, play the first `eval.questions` tasks greedily, stop them. The episodes are in
    `out`, in the tasks' order, once all are played; until then they are in the log beside it, `out` with `.log`.

    Raises:
        EvaluationError: an episode could not be played.
        EngineError: no engine came up.
        RolloutError: no env runner did, or none played anything within `grpo.rollout_timeout_s`.
    """
    with players(config, model_dir) as dispatcher:
        evaluate_on(dispatcher, 0, config, model_dir, tasks, out)


def evaluate_on(
    dispatcher: Dispatcher, version: int, config: Config, model_dir: str | Path, tasks: Sequence[Task], out: Path
) -> None:
    """The same on runners and engines that are up. Policy `version` is what `model_dir` holds."""
    chosen = tasks[: config.eval.questions or None]
    log = out.with_name(f"{out.name}.log")
    asked = _identity(config, model_dir, chosen)
    played = _played(log, asked)
    left = [GroupOrder(i, task, (0,), sampling=GREEDY) for i, task in enumerate(chosen) if i not in played]
    rows = AppendLog(log)
    for group in play_all(dispatcher, left, version, config.grpo.rollout_timeout_s):
        if group.failures:
            raise EvaluationError(f"question {group.order.task.id} could not be played; {group.failures[0].error}")
        [episode] = group.trajectories
        row = {"asked": asked, "question": group.order.id, "episode": episode.to_dict()}
        rows.append(json.dumps(row).encode())
    rows.close()
    places = _played(log, asked)
    write_rows(out, (_episode(log, places[i]) for i in range(len(chosen))))
    log.unlink()


def _identity(config: Config, model_dir: str | Path, tasks: Sequence[Task]) -> str:
    """Sixteen hexadecimal digits that differ where the episodes would: in model, settings or tasks."""
    files = sorted(Path(model_dir).glob("*.safetensors"))
    weights = [(file.name, (stat := file.stat()).st_size, stat.st_mtime_ns) for file in files]
    settings = [dataclasses.asdict(config.episode), config.engine.dtype, config.engine.max_model_len]
    what = [str(model_dir), weights, settings, [dataclasses.asdict(task) for task in tasks]]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def _played(log: Path, asked: str) -> dict[int, int]:
    """Where in the log the episode of each question begins, bytes."""
    places: dict[int, int] = {}
    if not log.exists():
        return places
    at = 0
    with open(log, "rb") as lines:
        for line in lines:
            if line.endswith(b"\n") and (row := json_object(line)) is not None and row["asked"] == asked:
                places[row["question"]] = at
            at += len(line)
    return places


def _episode(log: Path, at: int) -> JsonObject:
    with open(log, "rb") as lines:
        lines.seek(at)
        episode: JsonObject = json.loads(lines.readline())["episode"]
        return episode
