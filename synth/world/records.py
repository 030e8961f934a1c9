"""The procedural world as a source of questions like those that people ask: they name their target, not always so that
one can tell which it is.

Invariant: the answer, the window and whether the name fits one instance alone are read from the world.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from configs import Config
from configs.world import WorldConfig
from synth.record import PLACE, Record, Rejected, Target
from synth.world.question import DIMENSIONS, WorldQuestion
from synth.world.questions import answer
from synth.world.render import write_video
from synth.world.sampling import make_world
from synth.world.segmenter import tag_of
from synth.world.tasks import choose_questions
from synth.world.world import World

SOURCE = "procedural world"
OF_THE_MARK = ("forward", "reverse")
"""Question kinds that speak of the marked moment, which nobody knows before there is a mark."""
UNFIT = (
    "What is the background of the video like?",
    "How many things are there in the video?",
    "What is this video mainly about?",
    "Does the camera move?",
)
"""Questions about no instance; every video has one, for the text filter."""


def world_records(config: WorldConfig, seed: int, folder: Path) -> Iterator[Record]:
    """One record for each training video, which is yet to be rendered in `folder` and to be asked about."""
    for index in range(config.train_videos):
        video = folder / f"world-{index:05d}.mp4"
        yield Record(f"world-{index:05d}", SOURCE, str(video), "", "", facts={"seed": seed * 10**6 + index})


def world_questions(record: Record, config: Config) -> list[Record]:
    """Render a world's video; its questions, each naming its target by colour and shape or by one of them, and an unfit
    one."""
    world = make_world(record.facts["seed"], config.world)
    if not Path(record.video).exists():
        write_video(world, Path(record.video), config.world)
    rng = np.random.default_rng([world.seed, 17])
    kinds = [kind for kind in config.world.kinds if kind not in OF_THE_MARK]
    config = dataclasses.replace(config, world=dataclasses.replace(config.world, kinds=kinds))
    chosen = choose_questions(world, config, config.synth.questions_per_video, world.seed, rng)
    # One that is repainted has no colour to be named by.
    chosen = [question for question in chosen if world.instances[question.target].repaint is None]
    asked = [_asked(record, i, world, question, rng) for i, question in enumerate(chosen)]
    return [*asked, dataclasses.replace(record, id=f"{record.id}-unfit", question=str(rng.choice(UNFIT)), answer="-")]


def _asked(record: Record, i: int, world: World, question: WorldQuestion, rng: np.random.Generator) -> Record:
    target = world.instances[question.target]
    name = str(rng.choice([f"{target.colour} {target.shape}", target.shape, f"{target.colour} one"]))
    return dataclasses.replace(
        record,
        id=f"{record.id}-{i}",
        question=question.named(world, f"the {name}"),
        answer=str(answer(world, question)),
        dimension=DIMENSIONS[question.kind],
        facts={**record.facts, **dataclasses.asdict(question), "name": name},
    )


async def verify_by_world(record: Record, config: WorldConfig) -> Record:
    """Stage 2 by the world's truth: the record with its target, unless its name fits several instances."""
    world, question = make_world(record.facts["seed"], config), WorldQuestion.of(record.facts)
    name = record.facts["name"]
    words = set(name.split())
    fitting = [one for one in world.instances if words <= {"one", *one.colours, one.shape}]
    if len(fitting) > 1:
        raise Rejected("no target that is the only one")
    # Where no stretch matters, the target is as the answer says at one moment: elsewhere it may flash.
    start_s, stop_s = question.window or (question.mark_time_s, question.mark_time_s + 1 / config.fps)
    found = Target(
        description=f"the {name}",
        tag=tag_of(world, question.target),
        start_s=float(start_s),
        end_s=float(stop_s),
        question=question.named(world, PLACE),
    )
    truth = {key: value for key, value in record.facts.items() if key != "name"}
    return dataclasses.replace(record, target=found, facts=truth)
