"""A run that is killed again and again, against one that is not: are its losses the same, bit for bit?

    python -m benchmarks.resume [--quick] [--kills N] [--seed S]

The run is `videoseeker train` of a tiny policy, in synchronous mode with a deterministic engine, in a process of its
own. Each kill is a SIGKILL of that process at a random moment of its steps; the next start goes on from the newest
checkpoint. In the end every figure of every step that is not a time must be that of the undisturbed run.
"""

import argparse
import json
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import ray

from benchmarks.measure import finish, table
from configs import Config, load_config, to_yaml
from learner.activity import Activity
from recipes.folder import RunFolder
from recipes.phases import run_train
from storage.files import whole_folder
from tests.models.red_or_blue import shorten, teach, write_tasks

ROOT = Path(__file__).parent.parent
STEPS = 30
AT = "at: "
"""Before an activity that a run prints."""
START_TIMEOUT_S = 600.0
"""Longest that a run may take to come up, or to make a step."""
TIMES = ("seconds", "per_s")
"""Parts of the names of figures that are times."""
COUNTS = ("retried_groups", "given_up_episodes", "revived_engines", "rebuilds", "failed_checkpoints")
"""Figures of what a process met, not of what it learned."""


def prepare(folder: Path, steps: int = STEPS) -> Config:
    """Make a policy that answers red or blue, its tasks, and the config of its training."""
    config = Config(name="killed", seed=1, data_dir=str(folder / "data"))
    config.tracking.uri = f"sqlite:///{folder / 'mlflow.db'}"
    shorten(config)
    config.eval.questions = 1
    config.tracking.sample_episodes = 0
    grpo = config.grpo
    grpo.mini_batches = 2  # at the first of a step's updates every loss is 0
    grpo.steps, grpo.prompts_per_step, grpo.group_size, grpo.lr = steps, 2, 4, 1e-3
    grpo.checkpoint_every, grpo.drop_uniform_groups = 1, False
    (folder / "data").mkdir(parents=True)
    tasks = write_tasks(folder / "data" / "train.jsonl")
    shutil.copy(tasks, folder / "data" / "test.jsonl")
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        config.model.path = str(teach(config, tasks, folder))
    finally:
        ray.shutdown()
    return config


@dataclass(frozen=True)
class Kill:
    """One kill."""

    activity: str
    writing: bool
    """Whether a checkpoint was being written."""
    steps: int
    """Steps that were done."""


class Run:
    """A training run's process, and what it prints of its activities."""

    def __init__(self, config: Config, folder: Path) -> None:
        """Start it, or go on with it, in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.config = replace(config, runs_dir=str(folder))
        self.activity = "start"
        """What it does now: start, or an `Activity` of its steps."""
        self.writing = False
        """Whether a checkpoint is being written now."""
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._printed: list[str] = []
        settings = folder / "config.yaml"
        settings.write_text(to_yaml(self.config))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        # Ray's socket paths must be short.
        self._ray = tempfile.TemporaryDirectory(prefix="vs-", ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.resume", "--run", str(settings)],
            cwd=ROOT,
            env={**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "RAY_TMPDIR": self._ray.name},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for(self, activity: Activity | None, timeout_s: float = START_TIMEOUT_S) -> bool:
        """Wait until the run begins an activity, None for its end; False if it ended without.

        Raises:
            RuntimeError: it failed, or printed nothing more in time.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                self.kill()
                raise RuntimeError(f"the run did not come to '{activity}' within {timeout_s:g} s") from None
            if line is None:
                if self._process.wait() != 0:
                    raise RuntimeError(f"the run failed:\n{''.join(self._printed[-40:])}")
                return activity is None
            if line.rstrip() == f"{AT}{activity}":
                return True

    def kill(self) -> Kill:
        """SIGKILL, and wait until all that it had started is gone."""
        family = psutil.Process(self._process.pid).children(recursive=True)
        self._process.send_signal(signal.SIGKILL)
        kill = Kill(self.activity, self.writing, len(self.rows()))
        self._process.wait()
        _, alive = psutil.wait_procs(family, timeout=5)
        for process in alive:
            process.kill()
        self._ray.cleanup()
        return kill

    def rows(self) -> dict[int, dict[str, float]]:
        """Read the figures of all steps that are no times."""
        path = Path(self.config.runs_dir) / self.config.name / "both" / "metrics.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        return {row["step"]: {k: v for k, v in row.items() if _learned(k)} for row in rows if row["stage"] == "grpo"}

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._printed.append(line)
            activity = line.removeprefix(AT).rstrip() if line.startswith(AT) else None
            if activity in ("writing", "written"):
                self.writing = activity == "writing"
            elif activity is not None:
                self.activity = activity
            self._lines.put(line)
        self._lines.put(None)


def _learned(figure: str) -> bool:
    return figure not in COUNTS and not any(part in figure for part in TIMES)


def run(settings: Path) -> None:
    """Be the process of a run: `videoseeker train --resume`, which prints its activities."""
    config = load_config(settings)
    folder = RunFolder.of(config)
    if not folder.sft.exists():
        with whole_folder(folder.sft) as partial:
            shutil.copytree(str(config.model.path), partial, dirs_exist_ok=True)
        folder.metrics.touch()
    run_train(config, resume=True, on_activity=show)


def show(activity: Activity) -> None:
    """Print an activity in one write, as two threads have some."""
    os.write(1, f"{AT}{activity}\n".encode())


def undisturbed(config: Config, folder: Path) -> tuple[dict[int, dict[str, float]], float]:
    """Measure a run that nothing ends: its figures, and its seconds a step."""
    whole = Run(config, folder)
    whole.wait_for("rollout")
    started = time.monotonic()
    whole.wait_for(None)
    return whole.rows(), (time.monotonic() - started) / config.grpo.steps


def differing(ours: dict[int, dict[str, float]], theirs: dict[int, dict[str, float]]) -> list[tuple[int, str]]:
    """Find the steps and names of figures that are not the same, bit for bit."""
    return [
        (step, name)
        for step in sorted(ours.keys() | theirs.keys())
        for name in sorted(ours.get(step, {}).keys() | theirs.get(step, {}).keys())
        if ours.get(step, {}).get(name) != theirs.get(step, {}).get(name)
    ]


def killed(
    config: Config, folder: Path, count: int, seed: int, step_s: float, expected: dict[int, dict[str, float]]
) -> tuple[list[Kill], list[Run]]:
    """Kill a run so many times, each within three steps after the first that it makes, and let it come to its end; a
    run that ends earlier is followed by another. Returns the kills and the finished runs."""
    draw = random.Random(seed)
    kills: list[Kill] = []
    ended: list[Run] = []
    while len(kills) < count:
        going = Run(config, folder / str(len(ended)))
        if going.wait_for("publish") and going.wait_for("rollout"):
            time.sleep(draw.uniform(0.0, 3.0 * step_s))
            kills.append(going.kill())
            done = going.rows()
            wrong = differing(done, {step: row for step, row in expected.items() if step in done})
            print(f"{len(kills)}: {kills[-1]}, {len(wrong)} figures differ", flush=True)
        else:
            ended.append(going)
    last = Run(config, folder / str(len(ended)))
    last.wait_for(None)
    return kills, [*ended, last]


def main() -> None:
    """The benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two kills")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run is not None:
        return run(args.run)
    count = 2 if args.quick else args.kills
    with tempfile.TemporaryDirectory(prefix="videoseeker-resume-") as name:
        folder = Path(name)
        config = prepare(folder, steps=6 if args.quick else STEPS)
        expected, step_s = undisturbed(config, folder / "undisturbed")
        print(f"undisturbed: {len(expected)} steps, {step_s:.2f} s each", flush=True)
        kills, ended = killed(config, folder / "killed", count, args.seed, step_s, expected)
        differences = [entry for run in ended for entry in differing(run.rows(), expected)]
    activities = Counter(kill.activity for kill in kills)
    table("kills", ["while it was at", "kills"], sorted(activities.items()))
    figures = {
        "kills": len(kills),
        "phases": dict(activities),
        "while_a_checkpoint_was_written": sum(kill.writing for kill in kills),
        "runs": len(ended),
        "steps": len(expected),
        "figures_a_step": len(next(iter(expected.values()))),
        "differing_figures": len(differences),
        "first_difference": differences[0] if differences else None,
        "losses": len({row["loss"] for row in expected.values()}),
        "step_seconds": round(step_s, 3),
    }
    finish("resume", {"differing_figures": len(differences) / sum(map(len, expected.values()))}, figures)


if __name__ == "__main__":
    main()
