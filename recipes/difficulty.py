"""Which training tasks teach a policy anything: pass@k, and the RL set that follows from it.

Invariant: a task's attempts are whole in the file or not there, so a run that was stopped goes on where it was.
"""

import json
from contextlib import closing
from pathlib import Path
from statistics import fmean

from actors.engine.supervision import Engines
from actors.ray_start import start_ray
from actors.rollout.groups import FailedEpisode, play_tasks
from configs import Config
from env.chat import ChatFormat
from env.task import Task, load_tasks, save_tasks
from env.trajectory import Trajectory
from evals.evaluate import EvaluationError
from recipes.data import run_synth
from recipes.folder import RunFolder
from recipes.progress import PhaseBar, phase
from storage.logs import AppendLog, whole_rows
from synth.pass_at_k import by_difficulty, pass_at_k

CHUNK = 32
"""Tasks that are played between two writes."""


def run_difficulty(config: Config, model_dir: str | Path) -> RunFolder:
    """Play every training task `difficulty.attempts` times, and write those that are neither always right nor always
    wrong to `rl.jsonl`, which GRPO then trains on. Raises EvaluationError where an episode could not be played or no
    task is left, EngineError where no engine came up."""
    folder = run_synth(config)
    tasks = load_tasks(folder.train)
    log = folder.arm / "difficulty.jsonl"
    known = _attempts(log, str(model_dir), config.difficulty.attempts)
    left = [task for task in tasks if task.id not in known]
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


def _play(config: Config, model_dir: str | Path, tasks: list[Task], log: AppendLog, bar: PhaseBar) -> None:
    chat = ChatFormat.from_pretrained(model_dir)
    chat.check(config.episode)
    times = config.difficulty.attempts
    with closing(Engines(config.engine, str(model_dir), config.seed)) as engines:
        engines.wait()
        for start in range(0, len(tasks), CHUNK):
            chunk = [task for task in tasks[start : start + CHUNK] for _ in range(times)]
            played = play_tasks(chunk, config, chat, engines.handles, config.sampling, config.eval.episodes_in_flight)
            failed = [episode for episode in played if isinstance(episode, FailedEpisode)]
            if failed:
                raise EvaluationError(f"{len(failed)} of {len(played)} episodes could not be played; {failed[0].error}")
            for i in range(0, len(chunk), times):
                tries = [episode for episode in played[i : i + times] if isinstance(episode, Trajectory)]
                right = [episode.rewards.accuracy for episode in tries]
                log.append(json.dumps({"model": str(model_dir), "task_id": chunk[i].id, "accuracies": right}).encode())
            bar.step(min(start + CHUNK, len(tasks)), {})


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
