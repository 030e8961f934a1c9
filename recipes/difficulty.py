"""Which training tasks teach a policy anything: pass@k, and the RL set that follows from it.

Invariant: a task's attempts are whole in the file or not there, so a run that was stopped goes on where it was.
"""

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np

from actors.ray_start import start_ray
from actors.rollout.groups import GroupOrder
from actors.rollout.players import play_all, players
from configs import Config
from env.task import Task, TaskFile, save_tasks
from evals.evaluate import EvaluationError, identity
from recipes.data import run_synth
from recipes.folder import RunFolder
from recipes.judging import require_judge
from recipes.progress import PhaseBar, phase
from storage.logs import AppendLog, whole_rows
from synth.pass_at_k import by_difficulty, pass_at_k

_log = logging.getLogger(__name__)


def run_difficulty(config: Config, model_dir: str | Path) -> RunFolder:
    """Play every task that GRPO may play `difficulty.attempts` times, and write those that are neither always right nor
    always wrong to `rl.jsonl`, which GRPO then trains on; one that cannot be played is left out, and tried again by the
    next call. Raises EvaluationError where no task is left, JudgeError where the judge cannot be asked, EngineError or
    RolloutError where engines or env runners do not come up."""
    folder = run_synth(config)
    tasks = TaskFile(folder.for_grpo)
    log = folder.arm / "difficulty.jsonl"
    asked = identity(config, model_dir, config.sampling, tasks)
    known = _attempts(log, asked, config.difficulty.attempts)
    left = sum(task.id not in known for task in tasks)
    if left:
        require_judge(config)
        start_ray(config)
        orders = (order for order in _orders(config, tasks) if order.task.id not in known)
        with phase("training tasks, each several times", left) as bar:
            _play(config, model_dir, asked, orders, AppendLog(log), bar)
        known = _attempts(log, asked, config.difficulty.attempts)
    attempts = {task.id: known[task.id] for task in tasks if task.id in known}
    found = by_difficulty(attempts, config.difficulty.low, config.difficulty.high)
    if not found.kept:
        raise EvaluationError(f"{model_dir}: no task of {folder.for_grpo} is neither always right nor always wrong")
    kept = set(found.kept)
    save_tasks(folder.rl, (task for task in tasks if task.id in kept))
    print(f"{_describe(attempts)}; {', '.join(f'{name} {count}' for name, count in found.counts.items())}: {folder.rl}")
    return folder


def _orders(config: Config, tasks: Sequence[Task]) -> Iterator[GroupOrder]:
    """All attempts at each task; their seeds follow from the task's place in the file, whatever is left of it."""
    for i, task in enumerate(tasks):
        seeds = np.random.SeedSequence((config.seed, i)).generate_state(config.difficulty.attempts) >> 1
        yield GroupOrder(i, task, tuple(map(int, seeds)))


def _play(
    config: Config, model_dir: str | Path, asked: str, orders: Iterable[GroupOrder], log: AppendLog, bar: PhaseBar
) -> None:
    failed: list[str] = []
    with players(config, model_dir) as dispatcher:
        played = play_all(dispatcher, orders, 0, config.grpo.rollout_timeout_s)
        for done, group in enumerate(played, 1):
            if group.failures:
                failed.append(f"{group.order.task.id}: {group.failures[0].error}")
            else:
                right = [episode.rewards.accuracy for episode in group.trajectories]
                row = {"asked": asked, "task_id": group.order.task.id, "accuracies": right}
                log.append(json.dumps(row).encode())
            bar.step(done, {})
    if failed:
        _log.warning("%d tasks could not be played and are left out; the first, %s", len(failed), failed[0])


def _attempts(log: Path, asked: str, times: int) -> dict[str, list[float]]:
    """Return the accuracies of so many attempts at each task, of the same model with the same settings (`asked`), as
    far as they were written whole."""
    rows = [row for row in whole_rows(log) if row.get("asked") == asked]
    return {row["task_id"]: row["accuracies"] for row in rows if len(row["accuracies"]) == times}


def _describe(attempts: dict[str, list[float]]) -> str:
    k = min(map(len, attempts.values()))
    right = [(sum(accuracy == 1.0 for accuracy in tries), len(tries)) for tries in attempts.values()]
    shares = {n: 100 * fmean(pass_at_k(c, of, n) for c, of in right) for n in sorted({1, k})}
    return ", ".join(f"pass@{n} {share:.1f} %" for n, share in shares.items())
