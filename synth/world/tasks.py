"""Tasks of the procedural world: videos, marked frames and questions, made by a Ray Data pipeline.

Invariants: one video is made whole in one place, and two runs with one seed make equal files; worlds of training and
test come from disjoint seeds; the folder gets its task files last, so a folder that has them is complete.
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypedDict

import numpy as np
from PIL import Image

from actors.errors import sentence
from configs import Config
from configs.rules import check
from configs.world import SEEKING_KINDS
from env.task import Task, save_tasks
from storage.files import write_text
from synth.errors import raise_first
from synth.world.datasheet import datasheet
from synth.world.question import DIMENSIONS, WorldQuestion, vocabulary
from synth.world.questions import answer, candidates, evidence
from synth.world.render import instance_mask, render_frame, write_video
from synth.world.sampling import make_world
from synth.world.world import World
from tools.marks.drawing import draw
from tools.marks.visual_prompt import Geometry, VisualPrompt

Split = Literal["train", "rl", "test"]
SEEDS: dict[str, int] = {"train": 0, "rl": 2_000_000_011, "test": 1_000_000_007}
"""Worlds of a run with seed s are s * 10**6 + i for training, and that plus these for the other splits."""


MOST_OF_KIND = 2
"""Questions of one kind about one video."""
APART_S = 2.5
"""Seconds from one option of a moment to the next."""


class VideoRow(TypedDict):
    """A video to make, as it travels through Ray Data."""

    split: Split
    index: int


class MadeVideo(VideoRow):
    """A video that was made, with its tasks or the error that kept it from being made."""

    tasks: list[Task]
    error: str


def make_tasks(config: Config, out_dir: str | Path) -> dict[str, int]:
    """Make all splits in `out_dir`: `train.jsonl`, `rl.jsonl` if there are videos for it, `test.jsonl`, `README.md`,
    `videos/`, `frames/`.

    Returns:
        Number of tasks by split.

    Raises:
        ValueError: a question kind that the world does not know, or a config that yields no task.
        SynthError: a video could not be made.
    """
    import ray.data

    check(config, "synth")
    out_dir = Path(out_dir).absolute()
    world = config.world
    counts = {"train": world.train_videos, "rl": world.rl_videos, "test": world.test_videos}
    videos = [{"split": split, "index": index} for split, count in counts.items() for index in range(count)]
    made = ray.data.from_items(videos).map(_make_video, fn_args=(config, out_dir)).take_all()
    raise_first(row["error"] for row in made)
    made.sort(key=lambda row: row["index"])
    splits = {name: [task for row in made if row["split"] == name for task in row["tasks"]] for name in counts}
    splits = {name: tasks for name, tasks in splits.items() if counts[name]}
    for name, tasks in splits.items():
        if not tasks:
            raise ValueError(f"world: no {name} task could be made; widen the durations or the kinds")
    write_text(out_dir / "README.md", datasheet(splits))
    for name in reversed(splits):
        save_tasks(out_dir / f"{name}.jsonl", splits[name])
    return {name: len(tasks) for name, tasks in splits.items()}


def _make_video(item: VideoRow, config: Config, out_dir: Path) -> MadeVideo:
    name = f"{item['split']}-{item['index']:05d}"
    try:
        return {**item, "tasks": make_video(item["split"], item["index"], config, out_dir), "error": ""}
    except Exception as error:  # noqa: BLE001 - Ray Data passes on no error's class: the driver raises it
        return {**item, "tasks": [], "error": f"{name}: {sentence(error)}"}


def make_video(split: str, index: int, config: Config, out_dir: Path) -> list[Task]:
    """Render one video of a split into `out_dir`, and mark the frames of its tasks."""
    name = f"{split}-{index:05d}"
    for folder in ("videos", "frames"):
        (out_dir / folder).mkdir(parents=True, exist_ok=True)
    seed = config.seed * 10**6 + index + SEEDS[split]
    world = make_world(seed, config.world)
    video = out_dir / "videos" / f"{name}.mp4"
    write_video(world, video, config.world)
    rng = np.random.default_rng([seed, 11])
    questions = choose_questions(world, config, config.world.questions_per_video, index, rng)
    image = out_dir / "frames" / name
    return [_task(world, asked, video, Path(f"{image}-{i}.png"), config, rng) for i, asked in enumerate(questions)]


def choose_questions(
    world: World, config: Config, most: int, index: int, rng: np.random.Generator
) -> list[WorldQuestion]:
    """At most that many questions, of as many kinds as the video has, and no more than `MOST_OF_KIND` of one; the first
    kind changes from video to video. At least `world.seeking_share` of them seek, unless the video has none that
    does."""
    seeking = [kind for kind in config.world.kinds if kind in SEEKING_KINDS]
    told = [kind for kind in config.world.kinds if kind not in SEEKING_KINDS]
    share = config.world.seeking_share
    wanted = 0 if not seeking else most if not told else math.ceil(share * most)
    found = _of_kinds(seeking, world, config, wanted, index, rng)
    rest = most - len(found)
    if found and share > 0:
        rest = min(rest, int(len(found) * (1 - share) / share + 1e-9))
    return found + _of_kinds(told, world, config, rest, index, rng)


def _of_kinds(
    kinds: Sequence[str], world: World, config: Config, most: int, index: int, rng: np.random.Generator
) -> list[WorldQuestion]:
    streams = {
        kind: candidates(world, kind, coarse_times(world.duration_s, config), config.world.fps, rng) for kind in kinds
    }
    order = [kinds[(index + i) % len(kinds)] for i in range(len(kinds))]
    found: list[WorldQuestion] = []
    for _ in range(MOST_OF_KIND):
        found += [question for kind in order if (question := next(streams[kind], None)) is not None]
        if len(found) >= most:
            break
    return found[:most]


def coarse_times(duration_s: float, config: Config) -> list[float]:
    """Times of the first look's frames, as the environment spreads them."""
    episode = config.episode
    count = min(episode.prompt_max_frames, max(1, round(duration_s * episode.prompt_fps)))
    return [(i + 0.5) * duration_s / count for i in range(count)]


def crop_times(stretch: tuple[float, float], config: Config) -> list[float]:
    """Times of the frames that a crop of a stretch fetches, seconds."""
    episode = config.episode
    start, length = stretch[0], stretch[1] - stretch[0]
    count = min(episode.crop_max_frames, max(1, round(length * episode.crop_fps)))
    return [start + (i + 0.5) * length / count for i in range(count)]


def _task(
    world: World, question: WorldQuestion, video: Path, image: Path, config: Config, rng: np.random.Generator
) -> Task:
    """The task, its marked frame written to `image`, whose name is the task's id."""
    time, kind = question.mark_time_s, str(rng.choice(config.world.prompt_kinds))
    geometry = mark_frame(world, question.target, time, image, kind, config, rng)
    right = answer(world, question)
    assert right is not None, f"{image.stem}: a chosen question has no answer"
    task = Task(
        id=image.stem,
        video=str(video),
        question=question.text(world, kind),
        answer=right,
        dimension=DIMENSIONS[question.kind],
        visual_prompts=(VisualPrompt(str(image), time, kind, geometry),),
        source="procedural world",
        kind=question.kind,
        evidence=evidence(world, question),
        tolerance=question.tolerance,
        facts={"seed": world.seed, **dataclasses.asdict(question)},
    )
    return as_choice(task, question, rng) if rng.random() < config.world.choice_fraction else task


def mark_frame(
    world: World, target: int, time: float, image: Path, kind: str, config: Config, rng: np.random.Generator
) -> Geometry:
    """Write the frame of a time, with an instance marked in it; returns what was drawn."""
    size = config.world.size_px
    mask = instance_mask(world, target, time, size)
    marked, geometry = draw(render_frame(world, time, size), kind, mask=mask, seed=int(rng.integers(2**31)))
    Image.fromarray(marked).save(image)
    return geometry


def question_of(task: Task) -> tuple[int, WorldQuestion]:
    """The world's seed and the question that a task of the procedural world was made from.

    Raises:
        ValueError: the task is of another source.
    """
    if "seed" not in task.facts:
        raise ValueError(
            f"task {task.id}: is neither of the procedural world nor made from measured tracks, the only ones that the "
            "tiny model and the script know; name weights in model.path, and a teacher in teacher.model with "
            "teacher.player=model"
        )
    return task.facts["seed"], WorldQuestion.of(task.facts)


def as_choice(task: Task, question: WorldQuestion, rng: np.random.Generator, options_at_most: int = 4) -> Task:
    """The same question with lettered options, the right one anywhere among them."""
    wrong = [word for word in vocabulary(question) or _near(float(task.answer), rng) if word != task.answer]
    options = rng.permutation([task.answer, *rng.permutation(wrong)[: options_at_most - 1].tolist()]).tolist()
    letter = chr(ord("A") + options.index(task.answer))
    return dataclasses.replace(task, form="choice", options=tuple(options), answer=letter, tolerance=None)


def _near(moment_s: float, rng: np.random.Generator) -> list[str]:
    """Moments about another one, spread evenly, so that the right one may be any of them by its place, and so far apart
    that it is the nearest to what who looks once a second sees up to a second late."""
    before = int(rng.integers(4))
    return [f"{moment_s + APART_S * (i - before):.1f}" for i in range(4)]
