"""Exercises in drawing conclusions: readings of made-up scenes are given in words, and what follows from them is asked.

They cost no pixels, so a small student gets thousands of them, no two alike, where the teacher's episodes are few: from
those alone it learns by when a thing usually happens instead of whether it did.

Invariant: an exercise is worded as the teacher words a thought; only what follows from the readings, or from what the
question tells, is trained on.
"""

from collections.abc import Iterator

import numpy as np

from configs import Config
from env.chat import ChatFormat
from env.task import Task
from env.trajectory import Trajectory
from synth.teachers.footage import is_footage, made_up
from synth.teachers.lesson import Piece, lesson
from synth.teachers.readings import Reading, closer_look, conclusion, first_look, inferred, said_moment, spoken
from synth.teachers.scripted import the_mark
from synth.teachers.turns import CLOSER, CONCLUDE, NOT_HERE, answered, look, slot_between
from synth.world.question import WorldQuestion
from synth.world.questions import answer, candidates, evidence
from synth.world.sampling import make_world
from synth.world.seeking import searches
from synth.world.tasks import coarse_times, crop_times, question_of
from synth.world.world import EVENT_S, SLOT_S, World

EACH = 3
"""Exercises for each training question that needs a closer look."""
FILM_EACH = 6
"""Exercises for each training question about footage, at the most."""
SPACING_S = 0.5
"""Seconds between two readings of a stretch that was told."""
LOOKS = 1 / 3
"""Share of the exercises in a question that tells when to look which ask for the call, and not for what it shows. Where
a question tells only where the stretch ends or begins, its length is what is learned."""
TRIES = 64
"""Worlds among which one with a question of a kind is looked for."""


def exercises(task: Task, chat: ChatFormat, config: Config) -> Iterator[Trajectory]:
    """Exercises of the kind of a task's question, in worlds of their own; none for a question that needs no look. Of
    footage there are other questions about its film."""
    if is_footage(task):
        yield from _of_footage(task, chat, config)
        return
    _, question = question_of(task)
    rng = np.random.default_rng([config.seed, 1, *task.id.encode()])
    for _ in range(EACH):
        made = _made_up(question.kind, config, rng)
        if made is None or not evidence(*made):
            return
        world, asked = made
        pieces, right = _seeking(world, asked, config, rng) if asked.seeks else _told(world, asked, rng)
        prompt = chat.prompt(CONCLUDE, (asked.text(world, task.visual_prompts[0].kind),))
        yield lesson(task, "exercise", chat, prompt, pieces, right)


def _of_footage(task: Task, chat: ChatFormat, config: Config) -> Iterator[Trajectory]:
    rng = np.random.default_rng([config.seed, 1, *task.id.encode()])
    for text, known, rest, right in made_up(task, config, FILM_EACH, rng):
        yield lesson(task, "exercise", chat, chat.prompt(CONCLUDE, (text,)), [(f"<think>{known}", rest)], right)


def _made_up(kind: str, config: Config, rng: np.random.Generator) -> tuple[World, WorldQuestion] | None:
    """A question of a kind in a world that no video was made of."""
    for _ in range(TRIES):
        world = make_world(int(rng.integers(2**40, 2**41)), config.world)
        found = next(candidates(world, kind, coarse_times(world.duration_s, config), config.world.fps, rng), None)
        if found is not None:
            return world, found
    return None


def _told(world: World, question: WorldQuestion, rng: np.random.Generator) -> tuple[list[Piece], str | None]:
    """The call that fetches the stretch that was told; or its readings, and the answer."""
    assert question.window is not None
    start, end = question.window
    if rng.random() < LOOKS:
        called = look(f" Look from {start} s to {end} s.", question.window).removeprefix("<think>")
        return [(f"<think>{the_mark(world, question)}", called)], None
    times = start + rng.uniform(0.0, SPACING_S) + SPACING_S * np.arange(EVENT_S / SPACING_S)
    right = answer(world, question)
    read = closer_look(world, question, times.tolist())
    return _read(read, "<think>", answered(conclusion(world, question), right).removeprefix("<think>")), right


def _seeking(
    world: World, question: WorldQuestion, config: Config, rng: np.random.Generator
) -> tuple[list[Piece], str | None]:
    """When to look, from the first look; or what a closer look says, and where to look next if that is not all."""
    coarse, spans = coarse_times(world.duration_s, config), evidence(world, question)
    places = searches(world, question, coarse)
    part = int(rng.integers(len(spans)))
    gaps, (start, _) = places[part], spans[part]
    hit = next(i for i, gap in enumerate(gaps) if gap[0] <= start <= gap[1])
    read = first_look(world, question, coarse)
    mark, where = f"<think>{the_mark(world, question)} ", inferred(world, question, coarse)
    at = int(rng.integers(hit + 1))
    if part == 0 and rng.random() < 0.5:
        return _read(read, mark, look(where, places[0][0]).removeprefix("<think>")), None
    first, last = gaps[at]
    times = crop_times(gaps[at], config)
    right = None
    if at < hit:
        end = look(NOT_HERE, gaps[at + 1])
    elif question.asks == "blink":
        end = look(CLOSER, slot_between(times, float(start // SLOT_S) * SLOT_S))
    elif part < len(spans) - 1:
        end = look(conclusion(world, question, times, part), places[part + 1][0])
    else:
        right = said_moment(world, question, times) if question.kind == "when" else answer(world, question)
        end = answered(conclusion(world, question, times, part), right)
    begin = f"{mark}{spoken(read)}. {where} Look from {first:.1f} to {last:.1f}. "
    return _read(closer_look(world, question, times), begin, end.removeprefix("<think>")), right


def _read(read: list[Reading], begin: str, end: str) -> list[Piece]:
    """Readings of which what is seen is given and what it means is asked for, and what follows from all of them."""
    pieces = []
    for i, reading in enumerate(read):
        last = i == len(read) - 1
        pieces.append((("" if i else begin) + reading.seen, reading.follows + (f". {end}" if last else ", ")))
    return pieces
