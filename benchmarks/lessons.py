"""What a data set of lessons costs the driver and a rank: memory by its size, and time that a rank waits for data.

    python -m benchmarks.lessons [--quick]

Supervised training (`run_sft`) on 1,000, 10,000 and 34,200 lessons (the paper's) of 12,000 tokens and 60 frames each,
in a process of its own for each size: real shards, Ray, one DeepSpeed rank with a tiny model, the paper's batch of 16.
Beyond the first thousand, shards are links to those before, which saves the disk and no memory. Linux only: peaks are
the kernel's. `loader_over_step` is the time that the rank has nothing to compute with, between steps and within, over
all of its time.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import psutil
import ray

from benchmarks.measure import finish, table
from configs import Config, load_config
from env.chat import ChatFormat
from env.lessons import Lessons, complete, shard_file, write_shard
from env.trajectory import Rewards, Trajectory
from env.transcript import Media, Segment, Transcript, Turn
from learner.model.tiny import build_tiny_model
from learner.sft import run_sft
from synth.teachers.trajectories import BATCH
from tests.films import movies
from tools.decoding.frame import FrameRef

SIZES, QUICK_SIZES = (1_000, 10_000, 34_200), (100, 400)
TOKENS, FRAMES, SAMPLED = 12_000, 60, 1_000
SIDE = 224
"""Pixels of a frame's sides: 49 tokens."""
FPS, FILM_FRAMES = 8, 960
STEPS, WARM_UP = 3, 1
OVERRIDES = (
    "sft.batch=16",
    f"sft.steps={STEPS}",
    "ranks.micro_batch_tokens=24576",
    "ranks.gradient_checkpointing=true",
    "ranks.step_timeout_s=1800",
    "model.tiny.hidden_size=64",
    "model.tiny.layers=1",
    "model.tiny.vision_hidden_size=32",
    "model.tiny.max_position_embeddings=16384",
)
"""The smallest that is real: a larger model waits less for its data."""
DEADLINE_S = 3600.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two small sizes: does it run?")
    parser.add_argument("--train", metavar="FOLDER", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.train:
        return _train(Path(arguments.train))
    sizes = QUICK_SIZES if arguments.quick else SIZES
    with tempfile.TemporaryDirectory(prefix="videoseeker-benchmark-") as name:
        found = [_measure(Path(name), size) for size in sizes]
    columns = ("lessons", "driver's peak, GiB", "rank's peak, GiB", "seconds a step", "loader over step")
    rows = [(size, each["driver_gib"], each["rank_gib"], each["step_s"], each["wait"]) for size, each in found]
    table(f"lessons of {TOKENS:,} tokens", columns, rows)
    (_, small), (_, large) = found[0], found[-1]
    ratios = {
        "driver_growth": round(large["driver_gib"] / small["driver_gib"], 3),
        "rank_growth": round(large["rank_gib"] / small["rank_gib"], 3),
        "loader_over_step": round(max(each["wait"] for _, each in found), 4),
    }
    finish("lessons", ratios, {"driver_peak_gib": large["driver_gib"], "rank_peak_gib": large["rank_gib"]})


def _measure(folder: Path, size: int) -> tuple[int, dict[str, float]]:
    model = folder / "model"
    if not model.exists():
        build_tiny_model(load_config(None, OVERRIDES).model.tiny, ["a b c"], model, 0)
        movies.write(folder / "film.mp4", range(FILM_FRAMES), size=(SIDE, SIDE))
    _lessons(folder, ChatFormat.from_pretrained(model), size)
    command = [sys.executable, "-m", "benchmarks.lessons", "--train", str(folder / str(size))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=DEADLINE_S, check=True)
    return size, json.loads(done.stdout.splitlines()[-1])


def _lessons(folder: Path, chat: ChatFormat, size: int) -> None:
    """Make the first thousand, and link to their shards."""
    pool, out = folder / "pool", folder / str(size)
    first = min(size, SIZES[0])
    numbers = [range(start, min(start + BATCH, first)) for start in range(0, first, BATCH)]
    for index, shard in enumerate(numbers):
        if not shard_file(pool, index).exists():
            write_shard(pool, index, [_lesson(chat, folder / "film.mp4", number) for number in shard])
    out.mkdir()
    shards = -(-size // BATCH)
    for index, source in enumerate(islice(cycle(range(len(numbers))), shards)):
        os.link(shard_file(pool, source), shard_file(out, index))
    complete(out, shards)


def _lesson(chat: ChatFormat, film: Path, number: int) -> Trajectory:
    rng = np.random.default_rng(number)
    first = int(rng.integers(FILM_FRAMES - FRAMES))
    tokens = (SIDE // 32) ** 2
    transcript = Transcript()
    for i in range(first, first + FRAMES):
        frame = FrameRef(str(film), i / FPS, SIDE, SIDE)
        transcript.append_prompt(Segment((16, *[chat.image_token_id] * tokens), (Media(frame, 1, tokens),)))
    room = TOKENS - SAMPLED - len(transcript.ids)
    transcript.append_prompt(Segment(tuple(rng.integers(16, 256, room).tolist())))
    transcript.append_turn(Turn(tuple(rng.integers(16, 256, SAMPLED).tolist()), (0.0,) * SAMPLED, "", "stop"))
    return Trajectory(f"task-{number}", transcript, Rewards(1, 1, 1, 1), "x", "answer", (), (), (), 0.0)


def _train(folder: Path) -> None:
    """Train on the lessons of a folder, and print what that took as JSON."""
    config: Config = load_config(None, OVERRIDES)
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    ends, busy_s, rank_gib = [time.monotonic()], [], 0.0

    def on_step(step: int, metrics: dict[str, float]) -> None:
        nonlocal rank_gib
        ends.append(time.monotonic())
        busy_s.append(metrics["seconds"] - metrics["loading_seconds"])
        if step == STEPS:
            rank_gib = max(
                _peak_gib(child.pid) for child in psutil.Process().children(recursive=True) if _is_rank(child)
            )

    run_sft(config, Lessons(folder), folder.parent / "model", folder.parent / f"{folder.name}-out", on_step)
    whole_s, used_s = ends[-1] - ends[WARM_UP], sum(busy_s[WARM_UP:])
    found = {
        "driver_gib": round(_peak_gib(os.getpid()), 3),
        "rank_gib": round(rank_gib, 3),
        "step_s": round(whole_s / (STEPS - WARM_UP), 2),
        "wait": round(1 - used_s / whole_s, 5),
    }
    ray.shutdown()
    print(json.dumps(found))


def _is_rank(process: psutil.Process) -> bool:
    return any("Rank" in part for part in process.cmdline())


def _peak_gib(pid: int) -> float:
    """Most memory that a process had resident, by the kernel's account."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 2**20


if __name__ == "__main__":
    main()
