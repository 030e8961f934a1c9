"""Supervised fine-tuning on accepted teacher trajectories: the cold start of the policy.

Invariants: which trajectories a step eats follows from the seed and the step's number alone; each is seen once before
any of its kind is seen again, unless a stage that has learned enough leaves some out. A run that goes on from a
checkpoint ends with the weights of one that was never stopped. Three batches are in memory at a time, and the next ones
are read while a step runs.
"""

import dataclasses
import hashlib
import json
import math
import random
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, nullcontext
from itertools import accumulate, chain, islice, repeat
from pathlib import Path
from statistics import fmean

import ray

from configs.run import Config
from configs.training import SftConfig, StageConfig
from env.lessons import LessonSequence
from env.trajectory import Trajectory
from learner.checkpoints.folder import latest, step_of
from learner.checkpoints.layout import RANKS_FOLDER
from learner.checkpoints.saver import Saver
from learner.ranks.group import RankGroup
from learner.training_stopped import require_updates
from storage.files import write_text

FLOOR = 0.1
"""Last learning rate, as a share of the peak."""
WATCHED = 20
"""Steps whose mean loss may end a stage of a curriculum."""
AHEAD = 2
"""Batches that are read before they are needed."""
LOSSES = "losses.json"
"""File of a checkpoint with the losses of its stage, the last `WATCHED` of them."""


def run_sft(
    config: Config,
    trajectories: Sequence[Trajectory],
    model_dir: str | Path,
    out_dir: str | Path,
    on_step: Callable[[int, dict[str, float]], None],
    checkpoints: Path | None = None,
) -> Path:
    """Train the model of `model_dir` for all steps of `config.sft`, and write it to `out_dir`, a Hugging Face folder.
    `on_step` is called after each step with its number, from 1, and its metrics (`RankGroup.sft_step` and `lr`).
    `checkpoints` is a folder of this training alone (see `identity`), from the newest of which it goes on. Raises
    ValueError where there is nothing to train on, or nothing of a kind that the curriculum names, RanksError where the
    learner failed, TrainingStopped where `sft.max_bad_updates` updates in a row were left out."""
    if not trajectories:
        raise ValueError("no trajectories to train on; has the teacher's folder any accepted episode?")
    sft = config.sft
    drawn = _drawn(sft, trajectories, config.seed)
    newest = latest(checkpoints) if checkpoints is not None else None
    done = 0 if newest is None else step_of(newest)
    group = RankGroup(config, str(model_dir), None, max_grad_norm=sft.max_grad_norm, optimizer=sft.optimizer)
    saver = None if checkpoints is None else Saver(checkpoints, 1, "", config.ranks.step_timeout_s)
    drawn = islice(drawn, done, None)
    with (
        ThreadPoolExecutor(1, "lessons") as reader,
        closing(group),
        nullcontext() if saver is None else closing(saver),
    ):
        losses: list[float] = []
        if newest is not None:
            group.load(newest / RANKS_FOLDER)
            losses = json.loads((newest / LOSSES).read_text())

        def read() -> Future[ray.ObjectRef[list[Trajectory]]]:
            """Bring the next batch into Ray's object store, beside the step that runs."""
            chosen = next(drawn)
            return reader.submit(lambda: ray.put([trajectories[i] for i in chosen]))

        def save(folder: Path) -> Callable[[], None]:
            write_text(folder / LOSSES, json.dumps(losses))
            return group.start_save(folder / RANKS_FOLDER)

        starts = {0, *accumulate(stage.steps for stage in sft.curriculum)}
        batch, upcoming, step = read(), read(), done
        while step < sft.all_steps:
            later = read()
            lr = learning_rate(step, sft.all_steps, sft.warmup, sft.lr)
            learned = group.sft_step(batch.result(), lr, upcoming.result())
            step += 1
            on_step(step, {**learned, "lr": lr})
            require_updates(step, learned, sft.max_bad_updates, "sft.max_bad_updates")
            batch, upcoming = upcoming, later
            loss = learned.get("loss", math.nan)  # there is none where nothing could be read
            losses = [*losses[1 - WATCHED :], loss] if step - 1 not in starts else [loss]
            left = left_of_stage(sft.curriculum, step, losses)
            if left > AHEAD:
                step += left
                deque(islice(drawn, left - AHEAD), 0)
                batch, upcoming = read(), read()
            if saver is not None and step % sft.checkpoint_every == 0 and step < sft.all_steps:
                saver.save(step, save, block=False)
        return group.export(out_dir)


def left_of_stage(curriculum: Sequence[StageConfig], step: int, losses: Sequence[float]) -> int:
    """Steps of a stage that are left after `step`, counted from 1, and that its losses say it can do without; 0 where
    it has to go on, or is at its end."""
    ends = list(accumulate(stage.steps for stage in curriculum))
    number = bisect_left(ends, step)
    until = curriculum[number].until if curriculum else None
    learned = until is not None and len(losses) == WATCHED and fmean(losses) <= until
    return ends[number] - step if learned else 0


def within_passes(curriculum: Sequence[StageConfig], kinds: Sequence[str]) -> list[StageConfig]:
    """The stages with no more steps than their `passes` allow; `kinds` are of all lessons."""
    there = Counter(kinds)
    stages = []
    for stage in curriculum:
        passes = math.inf if stage.passes is None else stage.passes
        most = min((passes * there[kind] / count for kind, count in stage.lessons.items()), default=math.inf)
        stages.append(dataclasses.replace(stage, steps=int(max(1, min(stage.steps, most)))))
    return stages


def identity(config: Config, lessons: LessonSequence, model_dir: str | Path) -> str:
    """Sixteen hexadecimal digits that differ where a training would: in its settings, its first model, its lessons."""
    settings = {**dataclasses.asdict(config.sft), "seed": config.seed, "model": str(model_dir)}
    del settings["checkpoint_every"], settings["max_bad_updates"]
    return hashlib.sha256(json.dumps([lessons.digest, settings], sort_keys=True).encode()).hexdigest()[:16]


def _drawn(sft: SftConfig, trajectories: Sequence[Trajectory], seed: int) -> Iterator[list[int]]:
    if not sft.curriculum:
        return batches(len(trajectories), sft.batch, seed)
    if isinstance(trajectories, LessonSequence):
        kinds = trajectories.kinds()
    else:
        kinds = [trajectory.dimension for trajectory in trajectories]
    return staged(kinds, sft.curriculum, seed)


def staged(kinds: Sequence[str], curriculum: Sequence[StageConfig], seed: int) -> Iterator[list[int]]:
    """The lessons of each step of a curriculum, then endlessly those of its last stage; `kinds` are of all lessons.
    Raises ValueError where there is none of a kind that is named."""
    of_kind = {kind: [i for i, other in enumerate(kinds) if other == kind] for kind in sorted(set(kinds))}
    missing = sorted({kind for stage in curriculum for kind in stage.lessons} - of_kind.keys())
    if missing:
        raise ValueError(f"the curriculum names lessons of the kind '{missing[0]}'; there are {', '.join(of_kind)}")
    streams = {kind: chain.from_iterable(batches(len(of_kind[kind]), 1, seed)) for kind in of_kind}
    steps = chain(*(repeat(stage, stage.steps) for stage in curriculum), repeat(curriculum[-1]))
    return (
        [of_kind[kind][i] for kind, count in stage.lessons.items() for i in islice(streams[kind], count)]
        for stage in steps
    )


def batches(count: int, size: int, seed: int) -> Iterator[list[int]]:
    """Endless lists of `size` indices below `count`: one shuffled epoch after the other, cut without regard to them."""
    rng = random.Random(seed)
    waiting: list[int] = []
    while True:
        while len(waiting) < size:
            waiting += rng.sample(range(count), count)
        yield waiting[:size]
        waiting = waiting[size:]


def learning_rate(step: int, steps: int, warmup: float, peak: float) -> float:
    """Linear warm-up over the first `warmup` share of the steps (from 0), then a cosine down to `FLOOR` of the peak."""
    rising = round(warmup * steps)
    if step < rising:
        return peak * (step + 1) / (rising + 1)
    done = (step - rising) / max(1, steps - 1 - rising)
    return peak * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))
