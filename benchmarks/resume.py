"""A run that is killed again and again, against one that is not: are its losses the same, bit for bit?

    python -m benchmarks.resume [--quick] [--kills N] [--seed S]

The run is `videoseeker train` of a tiny policy, in synchronous mode with a deterministic engine, in a process of its
own. Each kill is a SIGKILL of that process at a random moment of its steps; the next start goes on from the newest
checkpoint. In the end every figure of every step that is not a time must be that of the undisturbed run.
"""

import argparse
import asyncio
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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
from PIL import Image

from benchmarks.measure import finish, table
from configs import Config, load_config, to_yaml

ROOT = Path(__file__).parent.parent
MARK_S = 2.0
STEPS = 30
START_TIMEOUT_S = 600.0
"""Longest that a run may take to come up, or to make a step."""
TIMES = ("seconds", "per_s")
"""Parts of the names of figures that are times."""
COUNTS = ("retried_groups", "revived_engines", "rebuilt_ranks", "failed_checkpoints")
"""Figures of what a process met, not of what it learned."""
LOOK = '<think>Look.</think><tool_call>{"name": "view_visual_prompt", "arguments": {"frame": "frame_1"}}</tool_call>'
RED, BLUE = ("<think>Seen.</think><answer>red</answer>", "<think>Seen.</think><answer>blue</answer>")


def prepare(folder: Path, steps: int = STEPS) -> Config:
    """A policy that answers red or blue, one as often as the other, its tasks, and the config of its training."""
    import ray

    from env.task import Task, save_tasks
    from tools.marks.visual_prompt import VisualPrompt

    config = Config(name="killed", seed=1, data_dir=str(folder / "data"))
    config.tracking.uri = f"sqlite:///{folder / 'mlflow.db'}"
    episode, engine, grpo = config.episode, config.engine, config.grpo
    episode.prompt_style, episode.prompt_max_frames, episode.crop_max_frames = "compact", 3, 2
    episode.prompt_max_pixels = episode.tool_max_pixels = 64 * 64
    episode.max_tool_rounds, episode.max_turn_tokens, episode.max_tokens = 2, 40, 400
    engine.max_model_len, engine.max_num_batched_tokens, engine.max_num_seqs = 512, 1024, 16
    engine.deterministic = True
    config.sft.steps, config.sft.batch, config.sft.lr = 90, 8, 3e-3
    config.eval.questions = 1
    config.tracking.sample_episodes = 0
    grpo.mini_batches = 2  # at the first of a step's updates every loss is 0
    grpo.steps, grpo.prompts_per_step, grpo.group_size, grpo.lr = steps, 2, 4, 1e-3
    grpo.checkpoint_every, grpo.drop_uniform_groups = 1, False
    data = folder / "data"
    data.mkdir(parents=True)
    _draw(data)
    prompt = VisualPrompt("mark.png", MARK_S, "rectangle")
    tasks = [Task(f"task-{i}", "video.mp4", "Colour?", "red", "OA", (prompt,)) for i in range(5)]
    for name in ("train", "test"):
        save_tasks(data / f"{name}.jsonl", tasks)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        config.model.path = str(_teach(config, folder))
    finally:
        ray.shutdown()
    return config


def _draw(folder: Path) -> None:
    pixels = np.full((96, 96, 3), 120, np.uint8)
    pixels[30:60, 30:60] = (200, 40, 40)
    with av.open(str(folder / "video.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = 96, 96, "yuv420p"
        for _ in range(64):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    pixels[26:64, [26, 63]] = pixels[[26, 63], 26:64] = (250, 220, 0)
    Image.fromarray(pixels).save(folder / "mark.png")


def _teach(config: Config, folder: Path) -> Path:
    from actors.rollout.loop import play
    from configs.policy import TinyModelConfig
    from env.chat import ChatFormat
    from env.task import load_tasks
    from env.transcript import Turn
    from learner.model.tiny import build_tiny_model
    from learner.sft import run_sft

    class Script:
        def __init__(self, turns: list[str]) -> None:
            self._turns = iter(turns)

        async def act(self, *_: Any) -> Turn:
            text = next(self._turns)
            ids = chat.encode(text)
            return Turn(ids, (0.0,) * len(ids), text, "stop")

    tiny = TinyModelConfig(hidden_size=64, layers=2, intermediate_size=96, vision_hidden_size=64, vision_layers=1)
    blank = build_tiny_model(tiny, [LOOK, RED, BLUE] * 20, folder / "blank", seed=0)
    chat = ChatFormat.from_pretrained(blank)
    task = load_tasks(folder / "data" / "train.jsonl")[0]
    scripts = [[RED], [BLUE], [RED], [BLUE], [LOOK, RED], [LOOK, BLUE]]
    lessons = [asyncio.run(play(task, Script(turns), chat, config.episode)) for turns in scripts]
    return run_sft(config, lessons, blank, folder / "taught", lambda step, metrics: None)


@dataclass(frozen=True)
class Kill:
    """One kill."""

    phase: str
    writing: bool
    """Whether a checkpoint was being written."""
    steps: int
    """Steps that were done."""


class Run:
    """A training run's process, and what it says of its phases."""

    def __init__(self, config: Config, folder: Path) -> None:
        """Start it, or go on with it, in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.config = replace(config, runs_dir=str(folder))
        self.phase = "start"
        """What it does now: start, rollout, update, publish, or between."""
        self.writing = False
        """Whether a checkpoint is being written now."""
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._said: list[str] = []
        settings = folder / "config.yaml"
        settings.write_text(to_yaml(self.config))
        # Ray's socket paths must be short.
        self._ray = tempfile.TemporaryDirectory(prefix="vs-", ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.resume", "--run", str(settings)],
            cwd=ROOT,
            env={**_environment(), "RAY_TMPDIR": self._ray.name},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for(self, said: str | None, timeout_s: float = START_TIMEOUT_S) -> bool:
        """Wait until the run says so ("phase update", "writing"), None for its end; False if it ended without.

        Raises:
            RuntimeError: it failed, or said nothing more in time.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                self.kill()
                raise RuntimeError(f"the run did not say '{said}' within {timeout_s:g} s") from None
            if line is None:
                if self._process.wait() != 0:
                    raise RuntimeError(f"the run failed:\n{''.join(self._said[-40:])}")
                return said is None
            if line.rstrip() == said:
                return True

    def kill(self) -> Kill:
        """SIGKILL, and wait until all that it had started is gone."""
        family = psutil.Process(self._process.pid).children(recursive=True)
        self._process.send_signal(signal.SIGKILL)
        kill = Kill(self.phase, self.writing, len(self.rows()))
        self._process.wait()
        _, alive = psutil.wait_procs(family, timeout=5)
        for process in alive:
            process.kill()
        self._ray.cleanup()
        return kill

    def rows(self) -> dict[int, dict[str, float]]:
        """The figures of the steps that are no times."""
        path = Path(self.config.runs_dir) / self.config.name / "both" / "metrics.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        return {row["step"]: {k: v for k, v in row.items() if _learned(k)} for row in rows if row["stage"] == "grpo"}

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.append(line)
            if line.startswith("phase "):
                self.phase = line.split()[1]
            if line in ("writing\n", "written\n"):
                self.writing = line == "writing\n"
            self._lines.put(line)
        self._lines.put(None)


def _learned(figure: str) -> bool:
    return figure not in COUNTS and not any(part in figure for part in TIMES)


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def run(settings: Path) -> None:
    """The process of a run: `videoseeker train --resume`, saying its phases."""
    from learner.algorithm import GRPO
    from learner.checkpoints.saver import Saver
    from recipes.folder import RunFolder
    from recipes.phases import run_train

    config = load_config(settings)
    folder = RunFolder.of(config)
    if not folder.sft.exists():
        shutil.copytree(str(config.model.path), folder.sft.with_suffix(".partial"))
        folder.sft.with_suffix(".partial").rename(folder.sft)
        folder.metrics.touch()
    phases, write = GRPO._phase, Saver._write

    def say(what: str) -> None:
        os.write(1, f"{what}\n".encode())  # one write, as two threads say something

    @contextmanager
    def phase(self: GRPO, name: str) -> Iterator[None]:
        say(f"phase {name}")
        with phases(self, name):
            yield
        say("phase between")

    def writes(self: Saver, *work: Any) -> None:
        say("writing")
        write(self, *work)
        say("written")

    GRPO._phase, Saver._write = phase, writes  # type: ignore[method-assign, assignment]
    run_train(config, resume=True)


def undisturbed(config: Config, folder: Path) -> tuple[dict[int, dict[str, float]], float]:
    """The figures of a run that nothing ends, and its seconds a step."""
    whole = Run(config, folder)
    whole.wait_for("phase rollout")
    started = time.monotonic()
    whole.wait_for(None)
    return whole.rows(), (time.monotonic() - started) / config.grpo.steps


def differing(ours: dict[int, dict[str, float]], theirs: dict[int, dict[str, float]]) -> list[tuple[int, str]]:
    """Steps and names of the figures that are not the same, bit for bit."""
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
        if going.wait_for("phase publish") and going.wait_for("phase rollout"):
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
    phases = Counter(kill.phase for kill in kills)
    table("kills", ["phase", "kills"], sorted(phases.items()))
    figures = {
        "kills": len(kills),
        "phases": dict(phases),
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
