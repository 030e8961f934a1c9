"""Which training tasks teach a policy anything: pass@k, and the RL set that follows from it.

Invariant: a task's attempts are whole in the file or not there, so a run that was stopped goes on where it was.
"""

import json
from pathlib import Path
from statistics import fmean

import numpy as np

from actors.ray_start import start_ray
from actors.rollout.groups import GroupOrder
from actors.rollout.players import play_all, players
from configs import Config
from env.task import Task, load_tasks, save_tasks
from evals.evaluate import EvaluationError
from recipes.data import run_synth
from recipes.folder import RunFolder
from recipes.progress import PhaseBar, phase
from storage.logs import AppendLog, whole_rows
from synth.pass_at_k import by_difficulty, pass_at_k


def run_difficulty(config: Config, model_dir: str | Path) -> RunFolder:
    """Play every training task `difficulty.attempts` times, and write those that are neither always right nor always
    wrong to `rl.jsonl`, which GRPO then trains on. Raises EvaluationError where an episode could not be played or no
    task is left, EngineError or RolloutError where engines or env runners do not come up."""
    folder = run_synth(config)
    tasks = load_tasks(folder.train)
    log = folder.arm / "difficulty.jsonl"
    known = _attempts(log, str(model_dir), config.difficulty.attempts)
    left = [order for order in _orders(config, tasks) if order.task.id not in known]
    if left:
        start_ray(config)
        with phase("training tasks, each several times", len(left)) as bar:
            _play(config, model_dir, left, AppendLog(log), bar)
        known = _attempts(log, str(model_dir), config.difficulty.attempts)
    attempts = {task.id: known[task.id] for task in tasks}
    found = by_difficulty(attempts, config.difficulty.low, config.difficulty.high)
    if not found.kept:
        raise EvaluationError(f"{model_dir}: no task of {folder.train} is neither always right nor always wrong")
    kept = set(found.kept)
    save_tasks(folder.rl, (task for task in tasks if task.id in kept))
    print(f"{_describe(attempts)}; {', '.join(f'{name} {count}' for name, count in found.counts.items())}: {folder.rl}")
    return folder


def _orders(config: Config, tasks: list[Task]) -> list[GroupOrder]:
    """All attempts at each task; their seeds follow from the task's place in the file, whatever is left of it."""
    times = config.difficulty.attempts
    seeds = (np.random.SeedSequence((config.seed, i)).generate_state(times) >> 1 for i in range(len(tasks)))
    return [GroupOrder(i, task, tuple(map(int, own))) for i, (task, own) in enumerate(zip(tasks, seeds, strict=True))]


def _play(config: Config, model_dir: str | Path, orders: list[GroupOrder], log: AppendLog, bar: PhaseBar) -> None:
    with players(config, model_dir) as dispatcher:
        played = play_all(dispatcher, orders, 0, config.grpo.rollout_timeout_s)
        for done, group in enumerate(played, 1):
            task_id = group.order.task.id
            if group.failures:
                raise EvaluationError(
                    f"task {task_id}: {len(group.failures)} of {len(group.order.seeds)} episodes could not be played; "
                    f"{group.failures[0].error}"
                )
            right = [episode.rewards.accuracy for episode in group.trajectories]
            log.append(json.dumps({"model": str(model_dir), "task_id": task_id, "accuracies": right}).encode())
            bar.step(done, {})


def _attempts(log: Path, model: str, times: int) -> dict[str, list[float]]:
    """Return the accuracies of so many attempts of the model at each task, as far as they were written whole."""
    return {
        row["task_id"]: row["accuracies"]
        for row in whole_rows(log)
        if row["model"] == model and len(row["accuracies"]) == times
    }


def _describe(attempts: dict[str, list[float]]) -> str:
    k = min(map(len, attempts.values()))
    right = [(sum(accuracy == 1.0 for accuracy in tries), len(tries)) for tries in attempts.values()]
    shares = {n: 100 * fmean(pass_at_k(c, of, n) for c, of in right) for n in sorted({1, k})}
    return ", ".join(f"pass@{n} {share:.1f} %" for n, share in shares.items())
