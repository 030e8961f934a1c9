"""The teacher of footage, on films whose truth it is not given."""

import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from configs.run import Config
from env.chat import ChatFormat
from env.task import Task
from synth.motion.cut_outs import cut_apart
from synth.motion.questions import DIMENSIONS, SOURCE, questions_of
from synth.motion.segmenter import measure_tracks
from synth.record import PLACE, Record
from synth.teachers.captions import MARKS, STILLS, STRIPS, WORDS, captions
from synth.teachers.exercises import FILM_EACH, exercises
from synth.teachers.films import film_of, measured
from synth.teachers.footage import FootageQuestion, conclusion, gap_of
from synth.teachers.readings import marked_at
from synth.teachers.scene import UNNAMED, TrackScene
from synth.teachers.scripted import corpus
from synth.teachers.stills import PARTS
from synth.world.question import TARGETS
from synth.world.tasks import coarse_times
from tests.films.moving_shapes import random_film
from tests.models.tiny import build_tiny_model
from tests.synth.teachers.test_scripted import FAULTLESS, played
from tools.decoding.video import open_video
from tools.marks.visual_prompt import VisualPrompt

pytestmark = pytest.mark.process
SEEDS = range(4)


def task_of(record: Record, folder: Path, config: Config) -> Task:
    """The task of a record, marked as the lessons' own frames are."""
    assert record.target is not None
    kind = "rectangle"
    image = folder / f"{record.id}.png"
    task = Task(
        id=record.id,
        video=record.video,
        question=record.target.question.replace(PLACE, TARGETS[kind]),
        answer=record.answer,
        dimension=record.dimension,
        visual_prompts=(VisualPrompt(str(image), 0.0, kind, {"box": [0, 0, 9, 9]}),),
        form="choice" if record.options else "open",
        options=record.options,
        source=SOURCE,
        kind=str(record.facts["kind"]),
        evidence=((record.target.start_s, record.target.end_s),),
        facts={**record.facts, "mark_time_s": 0.0},
    )
    film = film_of(task, config)
    rng = np.random.default_rng(0)
    tries = (film.mark(image, [kind], rng) for _ in range(500))
    marking = next(found for found in tries if found is not None and found[0] == record.facts["track"])
    mark = replace(task.visual_prompts[0], time_s=marking[1])
    return replace(task, visual_prompts=(mark,), facts={**record.facts, "mark_time_s": marking[1]})


@pytest.fixture(scope="module")
def tasks(config: Config, tmp_path_factory: pytest.TempPathFactory) -> list[Task]:
    folder = tmp_path_factory.mktemp("footage")
    found = []
    for seed in SEEDS:
        path = random_film(seed).write(folder / f"{seed}.mp4")
        records = questions_of(path, f"film-{seed}", measure_tracks(path), 0, 12)
        found += [task_of(record, folder, config) for record in records]
    return found


@pytest.fixture(scope="module")
def chat(tasks: list[Task], config: Config, tmp_path_factory: pytest.TempPathFactory) -> ChatFormat:
    folder = tmp_path_factory.mktemp("model")
    return ChatFormat.from_pretrained(build_tiny_model(config.model.tiny, corpus(tasks, config.world), folder, 0))


def test_it_is_right_where_its_readings_tell_and_never_misuses_a_tool(
    tasks: list[Task], chat: ChatFormat, config: Config
) -> None:
    right: Counter[str] = Counter()
    asked = Counter(task.kind for task in tasks)
    for task, trajectory in zip(tasks, played(tasks, chat, config, FAULTLESS), strict=True):
        assert all(call.ok for call in trajectory.calls)
        assert trajectory.rewards.format == 1.0
        right[task.kind] += trajectory.rewards.accuracy == 1.0
    assert set(asked) == set(DIMENSIONS)
    assert right["colour"] == asked["colour"]
    assert sum(right.values()) > 0.6 * len(tasks)


def test_without_tools_and_in_haste_it_guesses_among_the_words_that_may_answer(
    tasks: list[Task], chat: ChatFormat, config: Config
) -> None:
    for task, trajectory in zip(tasks, played(tasks, chat, config, FAULTLESS, tools=()), strict=True):
        question = FootageQuestion.of(task.facts, 0.0, task.evidence[0], task.options)
        assert trajectory.answer in question.vocabulary
        assert not trajectory.calls


def test_lessons_say_what_was_measured(tasks: list[Task], chat: ChatFormat, config: Config, tmp_path: Path) -> None:
    for task in tasks[::5]:
        lessons = list(captions(task, chat, config, tmp_path))
        kinds = Counter(lesson.dimension for lesson in lessons)
        assert kinds["words"] == WORDS
        assert kinds["lookup"] == kinds["strip"] == STRIPS
        assert 1 <= kinds["caption"] <= MARKS + 2
        scene = measured(task.video, open_video(task.video).stamp, None)
        for lesson in (lesson for lesson in lessons if lesson.dimension == "caption"):
            [frame] = lesson.prompt_frames
            said = lesson.turns[0].text.split("<answer> ")[1].split(".")[0].split(", ")
            t = frame.time_s
            if t is not None:
                seen = [(scene.colour(i, t), scene.cell(i, t)) for i in range(scene.count)]
                assert sorted(f"{colour} {cell}" for colour, cell in seen if colour) == sorted(filter(None, said))


def test_pictures_that_were_put_together_are_taught_as_they_are(
    tasks: list[Task], chat: ChatFormat, config: Config, tmp_path: Path
) -> None:
    task = tasks[0]
    [mark] = task.visual_prompts
    (tmp_path / "frames").mkdir()
    image = shutil.copy(mark.image, tmp_path / "frames" / "mark.png")
    task = replace(task, visual_prompts=(replace(mark, image=str(image)),))
    parts = cut_apart(task.video, measured(task.video, open_video(task.video).stamp, None).tracks)
    assert parts is not None
    (tmp_path / PARTS).mkdir(parents=True)
    parts.save(tmp_path / PARTS / "0.npz")
    lessons = list(captions(task, chat, config, tmp_path / "marks"))
    kinds = Counter(lesson.dimension for lesson in lessons)
    assert kinds["lookup"] == kinds["strip"] == STRIPS + 1
    assert STILLS < kinds["caption"] <= STILLS + 2
    pictures = [lesson for lesson in lessons if "-still-" in str(lesson.prompt_frames[:1])]
    known = {thing.colour or UNNAMED for thing in parts.things}
    for lesson in (lesson for lesson in pictures if lesson.dimension == "caption"):
        said = lesson.turns[0].text.split("<answer> ")[1].split(".")[0].split(", ")
        assert {words.split()[0] for words in said} <= known
    assert {lesson.dimension for lesson in pictures} == {"caption", "lookup", "strip"}


def test_exercises_are_other_questions_that_their_readings_answer_right(
    tasks: list[Task], chat: ChatFormat, config: Config
) -> None:
    made = [lesson for task in tasks for lesson in exercises(task, chat, config)]
    assert len(tasks) < len(made) <= FILM_EACH * len(tasks)
    told = [lesson for lesson in made if lesson.answer is not None]
    assert all(lesson.turns[0].text.endswith(f"<answer> {lesson.answer}</answer>") for lesson in told)
    called = [lesson.turns[0] for lesson in made if lesson.answer is None]
    assert 0.2 * len(made) < len(called) < 0.6 * len(made)
    for turn in called:
        [call] = turn.parsed.calls
        said = re.findall(r"([0-9.]+) to ([0-9.]+)\.$", str(turn.parsed.thought).strip())
        assert [tuple(map(float, edges)) for edges in said] == [
            (call.arguments["start_time"], call.arguments["end_time"])
        ]
    assert len({lesson.turns[0].text for lesson in made}) > len(made) / 2


def test_the_gap_in_which_it_came_or_went_holds_the_moment(tasks: list[Task], config: Config) -> None:
    checked = 0
    for task in tasks:
        if task.kind not in ("enters", "leaves"):
            continue
        film = film_of(task, config)
        assert isinstance(film.scene, TrackScene)
        track = film.scene.tracks[film.target]
        question = FootageQuestion.of(task.facts, 0.0, task.evidence[0], None)
        times = coarse_times(film.duration_s, config)
        start_s, end_s = gap_of(film.scene, question, times, film.duration_s)
        moment = track.start_s if task.kind == "enters" else track.end_s
        assert start_s - 0.2 <= moment <= end_s + 0.2
        checked += 1
    assert checked > 3


def test_of_a_mark_the_place_is_said_first(tasks: list[Task], config: Config) -> None:
    for film in (film_of(task, config) for task in tasks):
        at, colour = film.scene.cell(film.target, film.mark_time_s), film.scene.colour(film.target, film.mark_time_s)
        assert marked_at(film.scene, film.target, film.mark_time_s) == f"The mark is at {at}, on {colour}."
    assert marked_at(Corner({}), 0, 1.0) == "The mark is on gone."


class Corner(TrackScene):
    """One thing at some times."""

    def __init__(self, cells: dict[float, str]) -> None:
        self._cells = cells

    def cell(self, index: int, t: float) -> str | None:
        return self._cells.get(t)

    def colour(self, index: int, t: float) -> str | None:
        return "red" if t in self._cells else None


def test_of_a_corner_an_earlier_look_tells_the_side() -> None:
    scene = Corner({1.0: "west", 3.0: "northwest", 3.5: "northwest"})
    for event, times, before, told in [
        ("leaves", [3.0, 3.5], [1.0, 5.0], ("At northwest beside west, so top.", "top")),
        ("leaves", [3.0, 3.5], [], None),
        ("enters", [1.0], [3.0], ("At west, so left.", "left")),
    ]:
        question = FootageQuestion(event, 0, 0.0, None, event=event)
        assert conclusion(scene, question, times, before) == told


def test_what_follows_from_places(tasks: list[Task], config: Config) -> None:
    for task in tasks:
        film = film_of(task, config)
        assert isinstance(film.scene, TrackScene)
        question = FootageQuestion.of(task.facts, 0.0, task.evidence[0], task.options)
        start, end = task.evidence[0]
        told = conclusion(film.scene, question, np.linspace(start, end, 8).tolist())
        if task.kind == "place" and told is not None:
            assert told[1] == task.answer
        assert told is None or told[1] in question.vocabulary
