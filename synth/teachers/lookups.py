"""Lookups, from which a model that starts from nothing learns to find what belongs together: a time, a colour, a place.

A look is given, in frames or in words, and then some of what it shows is asked for, in no order: by time and colour
the place (`12.0 red` is `north`, or `gone`), by time and place the colour (`12.0 north` is `red`, or `empty`). Both are
what the teacher's readings are made of. Nothing but the look tells the answer: what was asked for before does not, as
it does where a target is followed from frame to frame, which is why following alone teaches a model to repeat itself.

Words come first: they cost no pixels, and what a model learned in words serves it in frames. In words it is asked too
which way one place lies of another.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from env.chat import ChatFormat
from env.task import Task
from env.trajectory import Trajectory
from synth.teachers.lesson import Piece, lesson
from synth.teachers.places import aside, neighbours
from synth.teachers.scene import Scene
from synth.world.world import CELLS
from tools.decoding.frame import Frame

LOOK_UP = "Look up."
"""What a lookup asks for in place of an episode's instructions."""
MOST = 32
"""Most that is asked for in one lookup."""
ABSENT = 0.2
"""Share that asks for a colour or place where nothing is."""
WAYS = 2
"""Pairs of places in a lookup in words of a scene in which things go aside."""
SPACINGS_S = (0.5, 1.0, 8.0, 0.0)
"""Seconds from frame to frame of a look in words; 0 for any."""
Sight = tuple[str, str]
"""What is seen of one thing: its colour and its place."""
GONE, EMPTY = "gone", "empty"
"""What is where something is looked for in vain: by colour, and by place."""


def seen_at(scene: Scene, t: float) -> list[Sight]:
    """All that is in sight at a time."""
    seen = ((scene.colour(index, t), scene.cell(index, t)) for index in range(scene.count))
    return [(colour, cell) for colour, cell in seen if colour and cell]


def lookup(task: Task, chat: ChatFormat, scene: Scene, frames: Sequence[Frame], rng: np.random.Generator) -> Trajectory:
    """A lookup in frames."""
    prompt = chat.prompt(LOOK_UP, tuple(part for frame in frames for part in (f"{frame.time_s:.1f} s ", frame)))
    seen = {f"{frame.time_s:.1f}": seen_at(scene, frame.time_s or 0.0) for frame in frames}
    return lesson(task, "lookup", chat, prompt, _asked(seen, rng, ", "))


def lookup_in_words(
    task: Task,
    chat: ChatFormat,
    colours: Sequence[str],
    longest_s: float,
    rng: np.random.Generator,
    darts: bool = False,
    per_s: int = 4,
) -> Trajectory:
    """A lookup in words, of a scene that never was, the task names it only; with `darts` also of ways. Its times are
    multiples of 1 / `per_s` seconds."""
    last = max(1, int(per_s * longest_s))
    count, things = min(int(rng.integers(3, 6)), last), int(rng.integers(2, 5))
    spacing_s = float(rng.choice(SPACINGS_S))
    moments = np.sort(rng.choice(last, count, replace=False))
    if spacing_s:
        apart = [moment for i in range(count) if (moment := int(per_s * i * spacing_s)) < last]
        moments = np.array(apart) + rng.integers(last - apart[-1])
    known = rng.permutation(list(colours))[:things].tolist()
    seen = {
        f"{moment / per_s:.1f}": [(c, CELLS[rng.integers(len(CELLS))]) for c in known if rng.random() > ABSENT]
        for moment in moments
    }
    # Without commas, which would be a fourth of it.
    told = "".join(f"{t}{''.join(f' {colour} {cell}' for colour, cell in sights)}" for t, sights in seen.items())
    pieces = _asked(seen, rng, "")
    for home, place, way in rng.permutation(neighbours())[: WAYS if darts else 0].tolist():
        pieces.append((" " + aside(home, place, way).removesuffix(f" {way}."), f" {way}"))
    return lesson(task, "words", chat, chat.prompt(LOOK_UP, (told,)), pieces)


def _asked(seen: Mapping[str, Sequence[Sight]], rng: np.random.Generator, between: str) -> list[Piece]:
    """What is asked for of a look, as far as it has one answer; `seen` is all that is in sight, by the time."""
    questions = []
    known = sorted({colour for sights in seen.values() for colour, _ in sights})
    for t, sights in seen.items():
        colours, cells = ([sight[part] for sight in sights] for part in (0, 1))
        for colour, cell in sights:
            if cells.count(cell) == 1:
                questions.append((f"{t} {cell}", f" {colour}"))
            if colours.count(colour) == 1:
                questions.append((f"{t} {colour}", f" {cell}"))
        questions += [(f"{t} {colour}", f" {GONE}") for colour in known if colour not in colours]
        if rng.random() < ABSENT * len(sights):
            free = [cell for cell in CELLS if cell not in cells]
            questions.append((f"{t} {rng.choice(np.array(free))}", f" {EMPTY}"))
    chosen = [questions[i] for i in rng.permutation(len(questions))[:MOST].tolist()]
    return [((between if i else "") + given, asked) for i, (given, asked) in enumerate(chosen)]
