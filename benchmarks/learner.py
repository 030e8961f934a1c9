"""The learner: how near a GRPO step comes to bare PyTorch, how it compares with TRL's, and its memory by length.

`python -m benchmarks.learner [--quick] [--threads N]`. All sides train the same Qwen3-VL in float32 on the same
trajectories with as many threads, each in a process of its own, by turns; no side has a reference policy or checkpoints
its gradients.

Ours is all of `RankGroup.grpo_step`: trajectories through Ray, frames from the memory that the node's processes share
(where env runners leave what they decoded; new ones at every step), collation, forward and backward passes, metrics,
DeepSpeed, AdamW. What bare PyTorch and TRL do stands in `peers/`; TRL comes with
`pip install -e .[peers]` and its ratio is left out without it.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypedDict

import numpy as np
import ray

from benchmarks.episodes import Step, film, make_steps
from benchmarks.learner_publish import publish_over_copy
from benchmarks.measure import CONSOLE, Ratio, finish, ratio, side_by_side, table
from benchmarks.peers.bare_pytorch import BarePytorch
from benchmarks.peers.trl_step import TrlStep, installed
from configs import load_config
from env.chat import ChatFormat
from learner.model.tiny import build_tiny_model
from learner.ranks.group import RankGroup

DEMO = Path(__file__).parents[1] / "configs" / "demo.yaml"
OBJECTIVE = ("grpo.aggregation=sequence_mean",)
"""All sides take the paper's mean over each trajectory."""
WARM_UP = 1
"""Steps before the first that counts."""
VOCABULARY = [" ".join(f"word{i} {i}" for i in range(400))]
"""What the tokenizer learns from."""
OURS, BARE, OWN, TRL = "ours", "bare PyTorch", "bare PyTorch, our forward pass", "TRL"
LENGTHS = (1024, 2048, 4096, 8192, 16384)
WHOLE_LOGITS_LENGTHS = (1024, 2048)
"""Where whole logits fit into 4 GiB."""


@dataclass(frozen=True)
class Size:
    """A model and what it is trained on."""

    name: str
    overrides: tuple[str, ...]
    tasks: int
    """Groups of one step."""
    repeats: int


class Speeds(TypedDict):
    """What is found of one model."""

    ratios: dict[str, Ratio]
    tokens_per_s: dict[str, int]


LARGER = (
    "ranks.micro_batch_tokens=1024",
    "model.tiny.hidden_size=384",
    "model.tiny.layers=8",
    "model.tiny.intermediate_size=1536",
    "model.tiny.vision_hidden_size=256",
    "model.tiny.vision_layers=4",
    "model.tiny.vision_intermediate_size=1024",
)
"""Smaller forward passes keep four processes of it within 6 GiB."""
QUICK = (Size("demo", (), tasks=2, repeats=5),)
FULL = (Size("demo", (), tasks=4, repeats=12), Size("ten times the demo", LARGER, tasks=1, repeats=6))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the demo's model alone, fewer steps, up to 4,096 tokens")
    parser.add_argument("--threads", type=int, help="of each side; the demo's ranks.cpus_per_rank if not given")
    arguments = parser.parse_args()
    quick, threads = arguments.quick, arguments.threads
    ray.init(address="local", num_cpus=8, include_dashboard=False, log_to_driver=False, logging_level="error")
    speeds = {}
    for size in QUICK if quick else FULL:
        with tempfile.TemporaryDirectory(prefix="videoseeker-benchmark-") as folder:
            speeds[size.name] = step_times(size, Path(folder), threads)
    published = publish_over_copy(5 if quick else 11, quick)
    ray.shutdown()
    memory = peak_memory(LENGTHS[:3] if quick else LENGTHS)
    finish("learner", {**next(iter(speeds.values()))["ratios"], **published}, {"by_model": speeds, **memory})


def step_times(size: Size, folder: Path, threads: int | None = None) -> Speeds:
    """Measure one model."""
    config = load_config(DEMO, [*OBJECTIVE, *size.overrides, *([f"ranks.cpus_per_rank={threads}"] if threads else [])])
    model_dir = str(build_tiny_model(config.model.tiny, VOCABULARY, folder / "model", config.seed))
    count = WARM_UP + size.repeats
    video = film(folder / "film.mp4", count * size.tasks)
    steps = make_steps(ChatFormat.from_pretrained(model_dir), video, config, count, size.tasks)
    group = RankGroup(config, model_dir)
    alone = {"num_cpus": 0, "runtime_env": {"env_vars": {"OMP_NUM_THREADS": str(config.ranks.cpus_per_rank)}}}
    bare, own = (ray.remote(**alone)(BarePytorch).remote(config, model_dir, own_forward=own) for own in (False, True))
    rivals = {
        OURS: lambda i: group.grpo_step(steps[i].trajectories, steps[i].advantages, config.grpo.lr),
        BARE: lambda i: ray.get(bare.step.remote(config.grpo.lr)),
        OWN: lambda i: ray.get(own.step.remote(config.grpo.lr)),
    }
    actors = [bare, own]
    if installed():
        count = len(steps[0].trajectories)
        longest = max(len(trajectory.transcript.ids) for step in steps for trajectory in step.trajectories)
        trl = ray.remote(**alone)(TrlStep).remote(config, model_dir, len(steps), count, longest, str(folder / "trl"))
        rivals[TRL] = lambda i: ray.get(trl.step.remote())
        actors.append(trl)
    else:
        CONSOLE.print("TRL is not installed, so its ratio is left out: pip install -e .[peers]")
    taken: dict[str, list[float]] = {name: [] for name in rivals}
    for i, step in enumerate(steps):
        ray.get([actor.prepare.remote(step.trajectories, step.advantages) for actor in actors])
        once = side_by_side(rivals, 1, first=i)
        for name in rivals if i >= WARM_UP else ():
            taken[name] += once[name]
    group.close()
    for actor in actors:
        ray.kill(actor)
    return _report(size, steps[WARM_UP:], taken)


def _report(size: Size, steps: Sequence[Step], taken: dict[str, list[float]]) -> Speeds:
    ratios = {
        "tokens_per_s_over_bare_pytorch": ratio(taken[BARE], taken[OURS]),
        "tokens_per_s_over_bare_pytorch_with_our_forward": ratio(taken[OWN], taken[OURS]),
    }
    if TRL in taken:
        ratios["step_speedup_vs_trl"] = ratio(taken[TRL], taken[OURS])
    speeds = {
        name: round(median(step.tokens / seconds for step, seconds in zip(steps, times, strict=True)))
        for name, times in taken.items()
    }
    rows = [[name, *np.quantile(times, (0.5, 0.25, 0.75)).tolist(), speeds[name]] for name, times in taken.items()]
    tokens = sum(step.tokens for step in steps) // len(steps)
    title = f"{size.name}: a step of {len(steps[0].trajectories)} trajectories, {tokens} tokens"
    table(title, ["who", "s a step", "from", "to", "tokens/s"], rows)
    table("Ratios", ["ratio", "median", "from", "to"], [[name, *found.values()] for name, found in ratios.items()])
    return {"ratios": ratios, "tokens_per_s": speeds}


def peak_memory(lengths: Sequence[int]) -> dict[str, dict[int, float]]:
    """MiB that one update takes on top of the model and its optimizer, by tokens of its one trajectory."""
    ours = {tokens: _peak("ours", tokens) for tokens in lengths}
    whole = {tokens: _peak("bare", tokens) for tokens in lengths if tokens in WHOLE_LOGITS_LENGTHS}
    rows = [[tokens, mib, whole.get(tokens, "more than 4 GiB")] for tokens, mib in ours.items()]
    table("Peak memory of one update, MiB", ["tokens", "ours", "bare PyTorch, whole logits"], rows)
    return {"peak_mib_by_tokens": ours, "peak_mib_by_tokens_bare_whole_logits": whole}


def _peak(side: str, tokens: int) -> float:
    command = [sys.executable, "-m", "benchmarks.peak_memory", side, str(tokens)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


if __name__ == "__main__":
    main()
