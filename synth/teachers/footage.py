"""A scripted teacher for footage: it plays questions that were made from measured tracks.

It reads the frames that it fetched in words, by the tracks, and answers what its readings tell, not what it knows to be
right: where they do not tell it guesses, and rejection drops what came out wrong. Where a question does not tell when
to look, it looks in the gap of the first look in which the marked thing came or went.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from configs import Config
from configs.world import TeacherConfig
from env.environment import VideoEnv
from env.task import Task
from storage.files import JsonObject
from synth.motion.blobs import SIDES
from synth.motion.colour_names import COLOURS
from synth.motion.measures import DIRECTIONS, THIRDS
from synth.motion.questions import FIRST_LOOK, MOST_COUNTED, SOURCE, questions_of
from synth.record import PLACE
from synth.teachers.films import TrackFilm
from synth.teachers.lookups import EMPTY, GONE
from synth.teachers.places import line
from synth.teachers.readings import Reading, marked_at, spoken, trace_of
from synth.teachers.scene import UNNAMED, TrackScene
from synth.teachers.turns import GUESS, NOT_HERE, VIEW, Step, answered, call, look, looked_at
from synth.world.question import TARGETS
from synth.world.tasks import coarse_times, crop_times
from synth.world.world import CELLS

MadeUp = tuple[str, str, str, str | None]
"""A question, what is known by then, the rest of the turn, and the answer where that is one."""
AXES = ("column", "row")
MOVES = {"enters": "comes", "leaves": "goes"}
RELATIONS = (("left", "right"), ("above", "below"))
MOMENT_S = 1.0
"""Length of the stretch that is looked at for a moment, from that moment on, seconds."""
LOOKS = 0.5
"""Share of the exercises that ask for a call."""
LONGEST_S = 20.0
"""A moment up to which is a word of a tiny tokenizer, seconds."""
WANDERED_S = 3.0
"""Length of a stretch that is looked at without a thought, seconds."""


def is_footage(task: Task) -> bool:
    """Whether a task was made from measured tracks."""
    return task.source == SOURCE and "track" in task.facts


@dataclass(frozen=True)
class FootageQuestion:
    """What a question about footage asks."""

    kind: str
    """One of `synth.motion.questions.DIMENSIONS`."""
    target: int
    """The marked track."""
    mark_time_s: float
    stretch: tuple[float, float] | None
    """That which it tells, seconds; None if it tells none."""
    axis: int = 0
    """0 for x, 1 for y."""
    at_s: float = 0.0
    """The moment that it is about, seconds."""
    other: int = 0
    """The other track that it names."""
    event: str = ""
    """What the two are compared by: `enters` or `leaves`."""
    options: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, facts: JsonObject, mark_time_s: float, window: tuple[float, float], options: Sequence[str] | None
    ) -> "FootageQuestion":
        """The question of a record's facts; `window` is that of its target."""
        kind, at_s = str(facts["kind"]), float(facts.get("at_s", 0.0))
        stretch = (at_s, at_s + MOMENT_S) if kind in ("place", "relation") else window
        return cls(
            kind=kind,
            target=int(facts["track"]),
            mark_time_s=mark_time_s,
            stretch=stretch if kind in ("direction", "crossings", "place", "relation") else None,
            axis=int(facts.get("axis", 0)),
            at_s=at_s,
            other=int(facts.get("other", 0)),
            event=str(facts.get("event", kind)),
            options=tuple(options or ()),
        )

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """What its answer is one of."""
        match self.kind:
            case "colour":
                return COLOURS
            case "direction":
                return (*DIRECTIONS[0], *DIRECTIONS[1])
            case "place":
                return THIRDS[self.axis]
            case "relation":
                return RELATIONS[self.axis]
            case "order":
                return ("before", "after")
            case "crossings":
                return tuple(str(count) for count in range(1, MOST_COUNTED + 1))
            case "duration":
                return tuple(chr(ord("A") + i) for i in range(len(self.options)))
            case _:
                return SIDES


class FootagePlan:
    """The turns of one episode, and its slips."""

    def __init__(self, task: Task, teacher: TeacherConfig, rng: np.random.Generator, env: VideoEnv) -> None:
        film = TrackFilm(task)
        window = task.evidence[0] if task.evidence else (0.0, film.duration_s)
        self._scene, self._duration_s = film.scene, film.duration_s
        self._question = FootageQuestion.of(task.facts, film.mark_time_s, window, task.options)
        self._rng = rng
        first = [part for part in env.contents[0] if not isinstance(part, str)]
        self._coarse = [frame.time_s for frame in first if frame.ref.time_s is not None]
        self._hasty = bool(rng.random() < teacher.hasty.get(task.visual_prompts[0].kind, 0.0))
        self._wanders = bool(rng.random() < teacher.wander)

    def steps(self, view: bool, crop: bool) -> list[Step]:
        """One function a turn, for an agent with these tools."""
        question, scene = self._question, self._scene
        said = marked_at(scene, question.target, question.mark_time_s)
        steps: list[Step] = [lambda env: call("Look at the mark.", VIEW)] if view else []
        if question.kind == "colour":
            return [*steps, lambda env: answered(said, scene.name(question.target))]
        if not crop or self._hasty:
            guess = self._guess()
            return [*steps, lambda env: answered(f"{said} {GUESS}", guess)]
        if self._wanders:
            astray, first = float(self._rng.uniform(0.0, max(0.0, self._duration_s - WANDERED_S))), said
            steps.append(lambda env: look(first, (astray, min(astray + WANDERED_S, self._duration_s))))
            said = NOT_HERE
        if question.stretch is not None:
            start, end = question.stretch
            told = f"{said} Look from {start:.1f} to {end:.1f}."
            return [*steps, lambda env: look(told, (start, end)), self._conclude]
        seen = read(scene, question, self._coarse)
        if question.kind in FIRST_LOOK:
            said = f"{said} {spoken(seen)}."
            return [*steps, lambda env: self._answered(said, self._coarse)]
        gap = gap_of(scene, question, self._coarse, self._duration_s)
        word = MOVES[question.event].title()
        sought = (
            f"{said} {spoken(come_or_gone(scene, question, seen, self._coarse))}. {word} {gap[0]:.1f} to {gap[1]:.1f}."
        )
        return [*steps, lambda env: look(sought, gap), self._conclude]

    def _conclude(self, env: VideoEnv) -> str:
        times = looked_at(env)
        return self._answered(f"{spoken(read(self._scene, self._question, times))}.", times)

    def _answered(self, said: str, times: Sequence[float]) -> str:
        told = conclusion(self._scene, self._question, times, self._coarse)
        if told is None:
            return answered(f"{said} {GUESS}", self._guess())
        return answered(f"{said} {told[0]}", told[1])

    def _guess(self) -> str:
        return str(self._rng.choice(np.array(self._question.vocabulary)))


def read(scene: TrackScene, question: FootageQuestion, times: Sequence[float]) -> list[Reading]:
    """What is read of the frames of a look: of the thing and, where another is named, of that one as well."""

    def of(index: int) -> list[Reading]:
        return trace_of(scene, index, scene.name(index), times)

    if question.kind == "relation" and times:
        nearest = min(times, key=lambda t: abs(t - question.at_s))
        return [_lined(scene, index, nearest, AXES[question.axis]) for index in (question.target, question.other)]
    return of(question.target) + (of(question.other) if question.kind == "order" else [])


def gap_of(
    scene: TrackScene, question: FootageQuestion, times: Sequence[float], duration_s: float
) -> tuple[float, float]:
    """Between which frames of the first look, or ends of the film, the thing came or went, seconds."""
    edges = [0.0, *times, duration_s]
    at = _change(scene, question, times)
    # The frame with number i is the edge i + 1.
    return (0.0, duration_s) if at is None else (edges[at], edges[at + 1])


def _change(scene: TrackScene, question: FootageQuestion, times: Sequence[float]) -> int | None:
    """The first frame of the first look in which the thing has come, or has gone, that after the last included; None if
    no frame shows it."""
    seen = [scene.cell(question.target, t) is not None for t in times]
    if not any(seen):
        return None
    return seen.index(True) if question.event == "enters" else len(seen) - seen[::-1].index(True)


def come_or_gone(
    scene: TrackScene, question: FootageQuestion, read: Sequence[Reading], times: Sequence[float]
) -> list[Reading]:
    """Readings of the first look, of which one says that the thing has come, or has gone."""
    at = _change(scene, question, times)
    return [replace(one, follows=f" {MOVES[question.event]}") if i == at else one for i, one in enumerate(read)]


def conclusion(
    scene: TrackScene, question: FootageQuestion, times: Sequence[float], before: Sequence[float] = ()
) -> tuple[str, str] | None:
    """What the readings of some times tell, in words, and the answer; None where they do not tell. How a thing comes
    and goes, those of an earlier look, `before`, tell as well."""
    shown = sorted({*times, *before}) if times and question.kind in MOVES else times
    places = [(t, cell) for t in shown if (cell := scene.cell(question.target, t)) is not None]
    if not places:
        return None
    axis = question.axis
    match question.kind:
        case "direction":
            return _direction(places[0][1], places[-1][1])
        case "enters" | "leaves":
            return _side([cell for _, cell in (places if question.kind == "enters" else places[::-1])])
        case "place":
            number = line(min(places, key=lambda place: abs(place[0] - question.at_s))[1], AXES[axis])
            return f"It is {AXES[axis]} {number}.", THIRDS[axis][number - 1]
        case "relation":
            nearest = min(times, key=lambda t: abs(t - question.at_s))
            cells = [scene.cell(index, nearest) for index in (question.target, question.other)]
            if None in cells:
                return None
            here, there = (line(cell, AXES[axis]) for cell in cells)
            side = RELATIONS[axis][int(here > there)]
            return None if here == there else (f"{AXES[axis].title()} {here} against {there}, so {side}.", side)
        case "crossings":
            lines = [line(cell, AXES[axis]) for _, cell in places]
            beside = [number for number in lines if number != 2]
            count = sum(before != after for before, after in pairwise(beside))
            return None if count == 0 else (f"It crosses {count} times.", str(count))
        case "order":
            return _order(scene, question, times)
        case "duration":
            gap = times[1] - times[0] if len(times) > 1 else 1.0
            lasts = len(places) * gap
            lengths = [float(option.split()[1]) for option in question.options]
            best = int(np.argmin([abs(np.log(max(length, 0.1) / lasts)) for length in lengths]))
            return f"It is seen {len(places)} times.", chr(ord("A") + best)
    return None


def _direction(first: str, last: str) -> tuple[str, str] | None:
    moved = [line(last, axis) - line(first, axis) for axis in AXES]
    if abs(moved[0]) == abs(moved[1]):
        return None
    axis = int(abs(moved[1]) > abs(moved[0]))
    way = DIRECTIONS[axis][int(moved[axis] > 0)]
    lines = [f"{AXES[axis]} {line(cell, AXES[axis])}" for cell in (first, last)]
    return f"From {first} {lines[0]} to {last} {lines[1]}, so {way}.", way


def _side(cells: Sequence[str]) -> tuple[str, str] | None:
    """The side at which the first cell lies; of a corner's two, that along whose axis the next one lies."""
    column, row = (line(cells[0], axis) for axis in AXES)
    sides = [*([SIDES[column // 2]] if column != 2 else []), *([SIDES[2 + row // 2]] if row != 2 else [])]
    if len(sides) == 2:
        onward = next((cell for cell in cells if cell != cells[0]), cells[0])
        moved = [line(onward, axis) != line(cells[0], axis) for axis in AXES]
        sides = [side for side, went in zip(sides, moved, strict=True) if went]
        return (f"At {cells[0]} beside {onward}, so {sides[0]}.", sides[0]) if len(sides) == 1 else None
    return (f"At {cells[0]}, so {sides[0]}.", sides[0]) if sides else None


def _order(scene: TrackScene, question: FootageQuestion, times: Sequence[float]) -> tuple[str, str] | None:
    """Which of two things came, or went, first, by the frames in which they are seen."""
    moments = []
    for index in (question.target, question.other):
        seen = [t for t in times if scene.cell(index, t) is not None]
        if not seen:
            return None
        moments.append(seen[0] if question.event == "enters" else seen[-1])
    if moments[0] == moments[1]:
        return None
    word = "before" if moments[0] < moments[1] else "after"
    return f"{moments[0]:.1f} against {moments[1]:.1f}, so {word}.", word


def _lined(scene: TrackScene, index: int, t: float, axis: str) -> Reading:
    [reading], cell = trace_of(scene, index, scene.name(index), [t]), scene.cell(index, t)
    return Reading(reading.seen, "" if cell is None else f" {axis} {line(cell, axis)}")


def made_up(task: Task, config: Config, count: int, rng: np.random.Generator) -> Iterator[MadeUp]:
    """More questions about a task's film: of some the call that fetches what they need, of others the answer, where
    their readings tell it right."""
    film = TrackFilm(task)
    records = questions_of(task.video, f"{task.id}-{rng.integers(2**31)}", film.scene.tracks, config.seed, count)
    phrase = TARGETS[task.visual_prompts[0].kind]
    for record in records:
        assert record.target is not None
        window = (record.target.start_s, record.target.end_s)
        track = film.scene.tracks[int(record.facts["track"])]
        question = FootageQuestion.of(record.facts, float(track.times[len(track.times) // 2]), window, record.options)
        if question.kind in FIRST_LOOK:
            times = coarse_times(film.duration_s, config)
        else:
            stretch = question.stretch or gap_of(
                film.scene, question, coarse_times(film.duration_s, config), film.duration_s
            )
            times = crop_times(stretch, config)
        told = conclusion(film.scene, question, times)
        if told is not None and told[1] == record.answer:
            said = marked_at(film.scene, question.target, question.mark_time_s)
            seen = f"{said} {spoken(read(film.scene, question, times))}."
            text = record.target.question.replace(PLACE, phrase)
            if question.kind not in FIRST_LOOK and rng.random() < LOOKS:
                yield text, *_called(film, question, said, config), None
            else:
                yield text, seen, answered(f" {told[0]}", told[1]).removeprefix("<think>"), told[1]


def _called(film: TrackFilm, question: FootageQuestion, said: str, config: Config) -> tuple[str, str]:
    """What is known before a look, and the call that fetches the stretch that was told, or inferred."""
    if question.stretch is not None:
        start, end = question.stretch
        return said, look(f" Look from {start:.1f} to {end:.1f}.", question.stretch).removeprefix("<think>")
    times = coarse_times(film.duration_s, config)
    first, last = gap_of(film.scene, question, times, film.duration_s)
    seen = come_or_gone(film.scene, question, read(film.scene, question, times), times)
    word = MOVES[question.event].title()
    said = f"{said} {spoken(seen)}."
    return said, look(f" {word} {first:.1f} to {last:.1f}.", (first, last)).removeprefix("<think>")


def corpus_of_footage(task: Task) -> Iterator[str]:
    """Texts of a task and its turns, to train a tiny tokenizer on."""
    film = TrackFilm(task)
    question = FootageQuestion.of(task.facts, film.mark_time_s, (0.0, film.duration_s), task.options)
    yield f"<|im_start|>user\n{task.question}<|im_end|>\n<|im_start|>assistant\n"
    yield f" Follow {UNNAMED} {' '.join((*COLOURS, *CELLS, *question.vocabulary))} {EMPTY} {GONE}."
    yield " ".join(f"{t:.1f}" for t in np.arange(0.0, min(LONGEST_S, film.duration_s), 0.1))
    times = np.arange(0.0, film.duration_s, 0.5).tolist()
    seen = spoken(trace_of(film.scene, question.target, film.scene.name(question.target), times))
    said = marked_at(film.scene, question.target, question.mark_time_s)
    yield look(f"{said} Look from 1.0 to 2.0. comes, goes. Comes 1.0 to 2.0. Goes 1.0 to 2.0.", (times[0], times[-1]))
    told = conclusion(film.scene, question, times)
    yield answered(f"{seen}. {told[0] if told else GUESS}", task.answer)
    yield answered(
        "Column 1 against 2. Row 1 to 3, so. At north beside west. It is row 1, column 2. It crosses 2 times. "
        f"{NOT_HERE}",
        "A",
    )
