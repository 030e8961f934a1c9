"""A run that is killed in the teacher's episodes, the cold start and the held-out questions, against one that is not.

    python -m benchmarks.phase_kills [--quick] [--seed S]

The run is `videoseeker train` on a small procedural world, in a process of its own, with a deterministic engine. Four
SIGKILLs hit its driver in each of the three phases, at random moments; each time the same command is given again. In
the end lessons, weights and answers must be those of the undisturbed run, bit for bit.
"""

import argparse
import random
import shutil
import signal
import tempfile
import time
from pathlib import Path

from benchmarks.measure import finish, table
from configs import load_config
from env.lessons import Lessons, is_complete
from env.trajectory import Trajectory, load_trajectories
from recipes.folder import RunFolder
from storage.files import JsonObject
from tests.servers.processes import ROOT, Family, family

KILLS = 4
"""In each phase."""
DEADLINE_S = 1800.0
PAUSE_S = 0.5
"""Longest that a kill comes after the phase was seen to have got on."""
SETTINGS = (
    "name=killed",
    "world.train_videos=120",
    "teacher.tasks=480",
    "captions.steps=0",
    "sft.steps=40",
    "sft.checkpoint_every=5",
    "eval.questions=24",
    "world.test_videos=8",
    "eval.episodes_in_flight=2",
    "engine.deterministic=true",
    "grpo.drop_uniform_groups=false",
)


class Run:
    """A run's folder, and the command that begins it or goes on with it."""

    def __init__(self, members: Family, root: Path) -> None:
        self._members = members
        overrides = [f"runs_dir={root}", f"tracking.uri=sqlite:///{root}/mlflow.db", *SETTINGS]
        self._command = ["videoseeker.py", "train", str(ROOT / "configs" / "smoke.yaml"), *overrides, "--resume"]
        self.folder = RunFolder.of(load_config(ROOT / "configs" / "smoke.yaml", overrides))

    def finish(self) -> None:
        """Go on to the end. Raises RuntimeError where the run fails."""
        done = self._members.run(*self._command, timeout_s=DEADLINE_S)
        if done.returncode:
            raise RuntimeError(f"the run failed:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")

    def kill(self, phase: str, pause_s: float) -> int:
        """Go on until a phase got on, and a moment longer; then SIGKILL the driver. Returns what is done; raises
        RuntimeError where the run ends before, or does not get on in time."""
        driver, before = self._members.start(*self._command), self.progress(phase)
        deadline = time.monotonic() + DEADLINE_S
        while self.progress(phase) <= before:
            if driver.poll() is not None or time.monotonic() > deadline:
                said = driver.communicate()[0] if driver.poll() is not None else ""
                raise RuntimeError(f"the run never came to where it was to be killed\n{said[-4000:]}")
            time.sleep(0.02)
        time.sleep(pause_s)
        driver.send_signal(signal.SIGKILL)
        driver.wait(30)
        self._members.end()
        self._members.gone()
        return self.progress(phase)

    def progress(self, phase: str) -> int:
        """How much there is of a phase: shards of lessons, steps or held-out episodes."""
        folder = self.folder
        if phase == "teacher":
            return len(list(folder.teacher.glob("*.parquet")))
        if phase == "cold start":
            return _lines(folder.metrics)
        return sum(_lines(path) for path in folder.arm.glob("episodes/*"))

    def ended(self, phase: str) -> bool:
        """Whether a phase is over."""
        folder = self.folder
        if phase == "teacher":
            return is_complete(folder.teacher)
        return folder.sft.exists() if phase == "cold start" else folder.episodes("sft").exists()

    def outcome(self) -> JsonObject:
        """Lessons, weights and answers, without times and the folder's own name."""
        folder = self.folder
        weights = {path.name: path.read_bytes() for path in sorted(folder.sft.glob("*.safetensors"))}
        return {
            "lessons": [_told(lesson, folder.root) for lesson in Lessons(folder.teacher)],
            "weights of the cold start": weights,
            "answers after the cold start": _answers(folder, "sft"),
            "answers after GRPO": _answers(folder, "grpo"),
        }


def _answers(folder: RunFolder, name: str) -> list[str]:
    return [_told(episode, folder.root) for episode in load_trajectories(folder.episodes(name))]


def _told(episode: Trajectory, root: Path) -> str:
    turns = [(turn.text, turn.observation, turn.frames) for turn in episode.turns]
    transcript = episode.transcript
    kept = (episode.task_id, episode.answer, episode.rewards, turns, transcript.ids, transcript.logprobs)
    return repr(kept).replace(str(root), "")


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one kill in each phase")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    kills: dict[str, list[int]] = {"teacher": [], "cold start": [], "held-out questions": []}
    root = Path(tempfile.mkdtemp(prefix="vs-kills-"))
    try:
        with family(root) as members:
            whole, killed = Run(members, root / "whole"), Run(members, root / "killed")
            whole.finish()
            for phase, seen in kills.items():
                for _ in range(1 if arguments.quick else KILLS):
                    seen.append(killed.kill(phase, draw.uniform(0, PAUSE_S)))
                    print(f"{phase}: killed at {seen[-1]}{', ended' if killed.ended(phase) else ''}", flush=True)
            killed.finish()
            expected, found = whole.outcome(), killed.outcome()
    finally:
        shutil.rmtree(root, ignore_errors=True)
    differing = [name for name in expected if expected[name] != found[name]]
    table("kills", ["phase", "done at each kill"], [(phase, ", ".join(map(str, at))) for phase, at in kills.items()])
    figures = {"kills": sum(map(len, kills.values())), "lessons": len(expected["lessons"]), "differing": differing}
    finish("phase_kills", {"differing": len(differing) / len(expected)}, figures)


if __name__ == "__main__":
    main()
