"""Trajectories of random tokens around real frames."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from env.chat import ChatFormat
from env.trajectory import Rewards, Trajectory
from env.transcript import Transcript, Turn
from tools.decoding.frame import Frame, FrameRef

SIZES = ((64, 64), (96, 64), (32, 96))
"""Width and height of the frames, by turns."""


def write_frame(folder: Path, number: int) -> Frame:
    width, height = SIZES[number % len(SIZES)]
    path = folder / f"frame-{number}.png"
    pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
    if not path.exists():
        Image.fromarray(pixels).save(path)
    return Frame(FrameRef(str(path), None, width, height), pixels, float(number))


def make_trajectory(
    chat: ChatFormat, folder: Path, seed: int, frames: Sequence[int] = (0, 1), turns: Sequence[int] = (9, 5)
) -> Trajectory:
    """Shows the frames in the prompt and one of its own after each turn but the last; `turns` are their lengths."""
    rng = np.random.default_rng(seed)
    transcript = Transcript()
    shown = [part for number in frames for part in (f"{number}.0 s ", write_frame(folder, number))]
    transcript.append_prompt(chat.prompt("look", (*shown, "what is it?")))
    for i, length in enumerate(turns):
        ids = tuple(map(int, rng.integers(10, 200, length)))
        logprobs = tuple(-rng.uniform(3, 6, length))
        transcript.append_turn(Turn(ids, logprobs, "", "stop", version=0))
        if i < len(turns) - 1:
            seen = write_frame(folder, 10 + seed % 5)
            transcript.append_prompt(chat.observation(("frame: ", seen), transcript.ids))
    return Trajectory(f"task-{seed // 2}", transcript, Rewards(1, 1, 1, 1), "x", "answer", (), (), (), 0.0)


def make_batch(chat: ChatFormat, folder: Path, count: int = 6) -> list[Trajectory]:
    """Trajectories of many lengths, two for each task."""
    return [
        make_trajectory(chat, folder, seed, frames=range(1 + seed // 2 % 3), turns=(4 + 3 * seed, 5, 2)[: 1 + seed % 3])
        for seed in range(count)
    ]
