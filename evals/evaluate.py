"""Held-out evaluation: a model plays the test tasks at temperature 0, on env runners and engines.

Invariants:
- A question that could not be played, however often it was tried, ends the evaluation with its cause. It is neither a
  wrong answer nor left out of the denominator.
- An episode is in a log before the next is waited for, so that an evaluation that was ended goes on where it was.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from actors.rollout.dispatch import Dispatcher
from actors.rollout.groups import GroupOrder
from actors.rollout.players import play_all, players
from configs import Config
from configs.policy import SamplingConfig
from endpoint.endpoint import deciding
from env.task import Task
from storage.files import row_at, write_rows
from storage.logs import AppendLog, LogReader, json_object

GREEDY = SamplingConfig(temperature=0.0)


class EvaluationError(RuntimeError):
    """The evaluation could not be finished, said in one sentence."""


def evaluate(config: Config, model_dir: str | Path, tasks: Sequence[Task], out: Path) -> None:
    """Start engines and env runners, play the first `eval.questions` tasks greedily, stop them. The episodes are in
    `out`, in the tasks' order, once all are played; until then they are in a log beside it, one for all that is asked
    alike.

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
    log = out.with_name(f"{out.name}.{identity(config, model_dir, GREEDY, chosen)}.log")
    played = _played(log)
    left = [GroupOrder(i, task, (0,), sampling=GREEDY) for i, task in enumerate(chosen) if i not in played]
    rows = AppendLog(log)
    for group in play_all(dispatcher, left, version, config.grpo.rollout_timeout_s):
        if group.failures:
            raise EvaluationError(f"question {group.order.task.id} could not be played; {group.failures[0].error}")
        [episode] = group.trajectories
        row = {"question": group.order.id, "episode": episode.to_dict()}
        rows.append(json.dumps(row).encode())
    rows.close()
    places = _played(log)
    with open(log, "rb") as file:
        write_rows(out, (row_at(log, file, places[i])["episode"] for i in range(len(chosen))))
    log.unlink()


def identity(config: Config, model_dir: str | Path, sampling: SamplingConfig, tasks: Iterable[Task]) -> str:
    """Sixteen hexadecimal digits that differ where the episodes would: in model, settings or tasks."""
    digest = hashlib.sha256(json.dumps(settings_of(config, model_dir, sampling), sort_keys=True).encode())
    for task in tasks:
        digest.update(repr(task).encode())
    return digest.hexdigest()[:16]


def settings_of(config: Config, model_dir: str | Path, sampling: SamplingConfig) -> list[object]:
    """What the episodes of a task are a function of, besides the task."""
    files = sorted(Path(model_dir).glob("*.safetensors"))
    weights = [(file.name, (stat := file.stat()).st_size, stat.st_mtime_ns) for file in files]
    settings = [dataclasses.asdict(config.episode), config.engine.dtype, config.engine.max_model_len]
    what = [str(Path(model_dir).resolve()), weights, settings, dataclasses.asdict(sampling), config.seed]
    if config.judge.by == "model":
        what.append(deciding(config.judge.model))
    return what


def _played(log: Path) -> dict[int, int]:
    """Where in the log the episode of each question begins, bytes."""
    places: dict[int, int] = {}
    for _, place, line in LogReader(log.parent, log.name).news():
        row = json_object(line)
        if row is not None and isinstance(row.get("question"), int) and "episode" in row:
            places[row["question"]] = place
    return places
