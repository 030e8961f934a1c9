"""A scripted teacher that plays the world's tasks with the real tools.

Its thoughts ground themselves: they say where the mark is and what is seen in every frame that was fetched, which is
what lets a small student learn from few episodes. Its *use* of the tools is imperfect in the ways of real teachers:
it trusts the first look where a closer one is needed and guesses, looks at the mark a second time where once was
enough, and (if asked to) wanders to stretches that don't matter. Rejection keeps its right episodes only; lucky
guesses and needless calls survive that, and are what reinforcement learning has to unlearn.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np

from configs.world import TeacherConfig, WorldConfig
from env.chat import ChatFormat
from env.environment import VideoEnv
from env.task import Task
from env.transcript import Transcript, Turn
from synth.world.questions import WorldQuestion, answer, vocabulary
from synth.world.world import CELLS, EVENT_S, SLOT_S, World, make_world

VIEW, CROP = "view_visual_prompt", "crop_video"
SEE, CONCLUDE = "Say what you see.", "Say what follows."
"""What lessons of one turn ask for in place of an episode's instructions."""
CONCLUSIONS = {
    "direction": "From {} aside {}, so {}.",
    "feature": "It is flash {}.",
    "forward": "It is flash {}.",
    "reverse": "It is flash {}.",
    "sequence": "It is first {}, then {}.",
    "spatial": "{} {} against {}, so {}.",
    "counting": "It is gone {} times.",
}
"""How a thought sums up what its readings show. Each takes up a word of the readings and what followed it there, which
is what a small student learns soonest."""


def question_of(task: Task) -> tuple[int, WorldQuestion]:
    """The world's seed and the question that a task of the procedural world was made from.

    Raises:
        ValueError: the task is of another source.
    """
    if "seed" not in task.facts:
        raise ValueError(
            f"task {task.id}: is not of the procedural world, the only one that the tiny model and the script know; "
            "name weights in model.path, and a teacher in teacher.model with teacher.player=model"
        )
    return task.facts["seed"], WorldQuestion.of(task.facts)


def who_is_where(world: World, index: int, t: float) -> str:
    """What is seen of an instance, by its colour: `red north`; `gone` if it can't be seen."""
    colour, cell = world.colour(index, t), world.cell(index, t)
    return f"{colour} {cell}" if colour and cell else "gone"


def what_is_there(world: World, index: int, t: float) -> str:
    """What is seen of an instance, by its place: `north red`; `north blue flash blue` in another colour than its own;
    `north blue first blue` and `north white then white` where it takes on two; `north gone` if it can't be seen."""
    colour, event = world.colour(index, t) or "gone", world.instances[index].events[int(t // SLOT_S)]
    seen = f"{world.cell(index, t)} {colour}"
    if event is None or colour not in event.value:
        return seen
    word = "flash" if event.kind == "flash" else ("first", "then")[event.value.index(colour)]
    return f"{seen} {word} {colour}"


class TeacherPolicy:
    """Plays any number of episodes, one after another or interleaved; each is a function of (seed, task)."""

    def __init__(self, chat: ChatFormat, teacher: TeacherConfig, world: WorldConfig, seed: int) -> None:
        self._chat = chat
        self._teacher = teacher
        self._world = world
        self._seed = seed

    async def act(self, transcript: Transcript, env: VideoEnv, max_tokens: int) -> Turn:
        """The next turn of its plan for the task."""
        plan = self._plan(env.task, env.config.tools)
        text = plan[len(env.turns)](env)
        ids = self._chat.encode(text)
        return Turn(ids[:max_tokens], (0.0,) * min(len(ids), max_tokens), text, "stop")

    def _plan(self, task: Task, tools: Sequence[str]) -> list[Callable[[VideoEnv], str]]:
        """One function a turn, each writing that turn from what has been seen."""
        rng = np.random.default_rng([self._seed, *task.id.encode()])
        seed, question = question_of(task)
        world = make_world(seed, self._world)
        mark = first = f"The mark is on {who_is_where(world, question.target, question.mark_time_s)}."
        steps: list[Callable[[VideoEnv], str]] = []
        if VIEW in tools:
            steps.append(lambda env: _call("Look at the mark.", VIEW))
        hasty = rng.random() < self._teacher.hasty.get(task.visual_prompts[0].kind, 0.0)
        wanders, rechecks = rng.random() < self._teacher.wander, rng.random() < self._teacher.recheck
        closer = question.window is not None and CROP in tools and not hasty
        if not closer:
            if rechecks and VIEW in tools:
                steps.append(lambda env: _call(first, VIEW))
                mark = "It is the same."
            sure = question.window is None
            right = answer(world, question) if sure else str(rng.choice(task.options or vocabulary(question)))
            return [*steps, lambda env: _answer(mark if sure else f"{mark} This should be right.", right)]
        if wanders:
            astray = int(rng.integers(world.slots)) * SLOT_S
            steps.append(lambda env: _crop(first, (astray, astray + EVENT_S)))
            mark = "Nothing here."
        assert question.window is not None
        window = question.window
        steps.append(lambda env: _crop(mark, window))
        return [*steps, lambda env: _answer(_seen(world, question, env), answer(world, question))]


def _seen(world: World, question: WorldQuestion, env: VideoEnv) -> str:
    """The readings of the frames of the last crop, and what follows from them."""
    crops = [turn for turn in env.turns if CROP in turn.text and turn.frames]
    times = [frame.time_s for frame in crops[-1].frames if frame.time_s is not None] if crops else []
    return f"{', '.join(readings(world, question, times))}. {conclusion(world, question)}"


def conclusion(world: World, question: WorldQuestion) -> str:
    """What follows from the readings of a question's stretch."""
    right, start_s = answer(world, question), (question.window or (0, 0))[0]
    if question.kind == "spatial" and question.other is not None:
        lines = [_line(world.cell(i, start_s), question.axis) for i in (question.target, question.other)]
        return CONCLUSIONS["spatial"].format(str(question.axis).title(), *lines, right)
    event = world.instances[question.target].events[start_s // SLOT_S]
    if event is None or question.kind not in ("sequence", "direction"):
        return CONCLUSIONS[question.kind].format(right)
    if question.kind == "sequence":
        return CONCLUSIONS["sequence"].format(*event.value)
    cells = [str(world.cell(question.target, start_s + event.offset_s + since)) for since in (0.0, 0.75)]
    return CONCLUSIONS["direction"].format(*(f"{cell} {in_numbers(cell)}" for cell in cells), right)


def in_numbers(cell: str) -> str:
    """Where a cell is, in words that can be compared: `column 2 row 1`."""
    return f"column {_line(cell, 'column')} row {_line(cell, 'row')}"


def _line(cell: str | None, axis: str | None) -> int:
    """Number of a cell's column or row, from 1."""
    row, column = divmod(CELLS.index(str(cell)), 3)
    return 1 + (column if axis == "column" else row)


def readings(world: World, question: WorldQuestion, times: Sequence[float]) -> list[str]:
    """When and what, for each time in seconds. What changes comes last: the place where a question is about places,
    else the colour."""
    if not times:
        return []
    target = question.target
    if question.other is not None:
        pair = (question.target, question.other)
        lines = [f"{question.axis} {_line(world.cell(i, times[0]), question.axis)}" for i in pair]
        return [
            f"{times[0]:.1f} {who_is_where(world, i, times[0])} {line}" for i, line in zip(pair, lines, strict=True)
        ]
    look = who_is_where if question.kind == "direction" else what_is_there
    seen_at = [f"{times[0]:.1f} {who_is_where(world, target, times[0])}"]
    gone = 0
    for before, time in pairwise(times):
        seen = look(world, target, time)
        if question.kind == "direction" and world.cell(target, time) != world.cell(target, times[0]):
            seen = f"{seen} aside {world.cell(target, time)}"
        if world.colour(target, time) is None:
            gone += world.colour(target, before) is not None
            seen = f"{seen} {gone}"
        seen_at.append(f"{time:.1f} {seen}")
    return seen_at


def _crop(thought: str, window: tuple[int, int]) -> str:
    start, end = window
    return _call(f"{thought} Look from {start} s to {end} s.", CROP, start_time=start, end_time=end)


def _call(thought: str, name: str, **arguments: float) -> str:
    call = json.dumps({"name": name, "arguments": arguments})
    return f"<think>{thought}</think><tool_call>{call}</tool_call>"


def _answer(thought: str, text: str | None) -> str:
    # With its space the word is the same token as in the thought.
    return f"<think>{thought}</think><answer> {text}</answer>"


def corpus(tasks: Sequence[Task], world_config: WorldConfig) -> Iterator[str]:
    """Texts of questions and turns, to train a tiny tokenizer on."""
    for task in tasks:
        seed, question = question_of(task)
        world = make_world(seed, world_config)
        mark = f"The mark is on {who_is_where(world, question.target, question.mark_time_s)}."
        yield f"<|im_start|>system\nAnswer with the tools {VIEW}, {CROP}.\nAnswer the question.\n{SEE}\n{CONCLUDE}\n"
        yield f"<|im_start|>user\n{task.question}<|im_end|>\n<|im_start|>assistant\n"
        yield _call("Look at the mark.", VIEW)
        yield _answer(f"{mark} This should be right. It is the same. There is no mark.", task.answer)
        if question.window:
            start, end = question.window
            yield f"frames from {start}.0 s to {end}.0 s: marked frame at {question.mark_time_s:.1f} s: "
            yield _crop(mark, question.window)
            times = [start + 0.25 + 0.5 * i for i in range(6)]
            seen = ", ".join(readings(world, question, times))
            yield _answer(f"{seen}. {conclusion(world, question)}", task.answer)
