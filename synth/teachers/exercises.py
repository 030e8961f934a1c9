"""Exercises in drawing conclusions: readings of made-up scenes are given in words, and what follows from them is asked.

They cost no pixels, so a small student gets thousands of them, no two alike, where the teacher's episodes are few: from
those alone it learns by when a thing usually happens instead of whether it did.

Invariant: an exercise is worded as the teacher words a thought; only what follows from the readings is trained on.
"""

import dataclasses
import re
from collections.abc import Iterator

import numpy as np

from configs import Config
from env.chat import ChatFormat
from env.task import Task
from env.trajectory import Trajectory
from synth.teachers.lesson import lesson
from synth.teachers.scripted import CONCLUDE, conclusion, question_of, readings
from synth.world.questions import WorldQuestion, answer
from synth.world.world import COLOURS, DIRECTIONS, EVENT_S, SLOT_S, Event, World, make_world

EACH = 2
"""Exercises for each training question about a stretch."""
SPACING_S = 0.5
"""Seconds between two readings."""
_READING = re.compile(r"(\S+ \S+ [a-z]+)(.*)")
"""What was seen and when, and what the reading makes of it."""


def exercises(task: Task, chat: ChatFormat, config: Config) -> Iterator[Trajectory]:
    """Exercises like a task's question, in worlds of their own; none for a question that needs no reading."""
    seed, question = question_of(task)
    if question.window is None:
        return
    rng = np.random.default_rng([config.seed, 1, *task.id.encode()])
    for _ in range(EACH):
        world = _varied(make_world(seed, config.world), question, rng)
        yield _exercise(task, question, world, chat, rng)


def _varied(world: World, question: WorldQuestion, rng: np.random.Generator) -> World:
    """The world with the question's instances of other colours, at other places, and in another event of the kind."""
    assert question.window is not None
    slot = question.window[0] // SLOT_S
    colours = [str(colour) for colour in rng.permutation(list(COLOURS))]
    cells = [int(cell) for cell in rng.permutation(9)]
    if question.other is not None:
        step, size = (1, 3) if question.axis == "column" else (3, 9)
        while cells[0] % size // step == cells[1] % size // step:
            cells = [int(cell) for cell in rng.permutation(9)]
    instances = list(world.instances)
    for i, cell, colour in zip((question.target, question.other), cells, colours, strict=False):
        if i is None:
            continue
        homes, events = list(instances[i].homes), list(instances[i].events)
        homes[slot] = cell
        event = events[slot]
        events[slot] = None if event is None or question.other is not None else _other(event, cell, colours[1:], rng)
        instances[i] = dataclasses.replace(instances[i], colour=colour, homes=tuple(homes), events=tuple(events))
    return dataclasses.replace(world, instances=tuple(instances))


def _other(event: Event, cell: int, colours: list[str], rng: np.random.Generator) -> Event:
    """Another event of the same kind, at any time at which all of it can be seen."""
    row, column = divmod(cell, 3)
    inside = [name for name, (x, y) in DIRECTIONS.items() if 0 <= column + x < 3 and 0 <= row + y < 3]
    value: tuple[str, ...]
    match event.kind:
        case "flash":
            value, lasts_s = (colours[0],), 1.0
        case "double":
            value, lasts_s = (colours[0], colours[1]), 2.0
        case "dart":
            value, lasts_s = (str(rng.choice(inside)),), 1.5
        case _:
            value = (str(rng.integers(1, 4)),)
            lasts_s = float(value[0]) - 0.5
    return dataclasses.replace(event, value=value, offset_s=float(rng.uniform(SPACING_S, EVENT_S - lasts_s)))


def _exercise(
    task: Task, question: WorldQuestion, world: World, chat: ChatFormat, rng: np.random.Generator
) -> Trajectory:
    assert question.window is not None
    times = question.window[0] + rng.uniform(0.0, SPACING_S) + SPACING_S * np.arange(EVENT_S / SPACING_S)
    right = answer(world, question)
    cut = [_READING.fullmatch(reading) for reading in readings(world, question, times.tolist())]
    given, asked = zip(*(reading.groups() for reading in cut if reading), strict=True)
    ends = [","] * (len(cut) - 1) + [f". {conclusion(world, question)}</think><answer> {right}</answer>"]
    starts = ["<think>"] + [" "] * (len(cut) - 1)
    pieces = [(start + a, b + end) for start, a, b, end in zip(starts, given, asked, ends, strict=True)]
    prompt = chat.prompt(CONCLUDE, (question.text(world, task.visual_prompts[0].kind),))
    return lesson(task, "exercise", chat, prompt, pieces, right)
