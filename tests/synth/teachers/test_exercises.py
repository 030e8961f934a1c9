"""Exercises: worded as the teacher's thoughts, right, and no two alike."""

import dataclasses
import re
from collections import Counter
from pathlib import Path

import pytest

from configs.run import Config
from env.chat import ChatFormat
from env.task import Task
from env.trajectory import Trajectory
from env.turn import parse_turn
from synth.teachers.exercises import EACH, exercises
from synth.teachers.scripted import corpus
from synth.teachers.turns import CLOSER
from synth.world.tasks import question_of
from synth.world.world import EVENT_S, SLOT_S
from tests.models.tiny import build_tiny_model


@pytest.fixture(scope="module")
def made(
    small_data: tuple[Path, list[Task]], config: Config, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ChatFormat, list[tuple[Task, list[Trajectory]]]]:
    """(chat, task, exercises) of every task."""
    _, few = small_data
    tasks = [dataclasses.replace(task, id=f"{task.id}-{i}") for task in few for i in range(10)]
    folder = tmp_path_factory.mktemp("model")
    chat = ChatFormat.from_pretrained(build_tiny_model(config.model.tiny, corpus(tasks, config.world), folder, 0))
    return chat, [(task, list(exercises(task, chat, config))) for task in tasks]


def test_questions_that_need_a_look_have_exercises_and_others_none(
    made: tuple[ChatFormat, list[tuple[Task, list[Trajectory]]]],
) -> None:
    for task, lessons in made[1]:
        assert len(lessons) == (EACH if task.evidence else 0)


def test_only_what_follows_from_the_readings_is_trained_on(
    made: tuple[ChatFormat, list[tuple[Task, list[Trajectory]]]],
) -> None:
    chat, all_lessons = made
    for task, lessons in all_lessons:
        for lesson in lessons:
            transcript, text = lesson.transcript, lesson.turns[0].text
            turn = parse_turn(text)
            assert turn.well_formed
            assert (turn.answer or "").strip() == (lesson.answer or "")
            assert bool(turn.calls) == (turn.answer is None)
            ids = chat.encode(text)
            assert transcript.ids[-len(ids) :] == list(ids), "the pieces are cut where tokens are"
            pairs = zip(transcript.ids, transcript.sampled, strict=True)
            trained = chat.decode([token for token, sampled in pairs if sampled])
            assert "<think>" not in trained
            assert trained.endswith(text[text.rindex("</think>") :])
            if lesson.answer is not None and not question_of(task)[1].seeks:
                assert trained.endswith(text[text.rindex(". ") :])
                assert not any(reading.split()[0] in trained for reading in text[7 : text.rindex(". ")].split(", "))


def test_seeking_is_exercised_from_the_first_look_and_after_a_look(
    made: tuple[ChatFormat, list[tuple[Task, list[Trajectory]]]],
) -> None:
    sought = [lesson.turns[0] for task, lessons in made[1] for lesson in lessons if question_of(task)[1].seeks]
    assert {"Look from" in turn.text for turn in sought} == {False, True}
    for turn in sought:
        for call in turn.parsed.calls:
            assert call.name == "crop_video"
            assert all(f" {call.arguments[end]:.1f} " in turn.text for end in ("start_time", "end_time"))


def test_how_often_something_vanishes_needs_a_closer_look_between_two_frames(
    made: tuple[ChatFormat, list[tuple[Task, list[Trajectory]]]],
) -> None:
    closer = [lesson.turns[0] for _, lessons in made[1] for lesson in lessons if CLOSER in lesson.turns[0].text]
    assert closer
    for turn in closer:
        start, end = turn.parsed.calls[0].arguments.values()
        read = turn.text.rsplit(". ", 2)[1]
        assert all(re.search(rf"(^|, ){second:.1f} ", read) for second in (start, end))
        assert EVENT_S <= end - start <= SLOT_S + 1


def test_the_stretch_that_was_told_is_the_one_that_is_looked_at(
    made: tuple[ChatFormat, list[tuple[Task, list[Trajectory]]]],
) -> None:
    told = [lesson for task, lessons in made[1] for lesson in lessons if not question_of(task)[1].seeks]
    looks = [lesson for lesson in told if lesson.answer is None]
    assert 0 < len(looks) < len(told)
    for lesson in looks:
        (called,) = lesson.turns[0].parsed.calls
        prompt = made[0].decode(lesson.transcript.ids).split("<think>")[0]
        asked = re.findall(r"(\d+) s\b", prompt)
        assert asked
        assert set(asked) <= {f"{second:.0f}" for second in called.arguments.values()}


def test_the_conclusion_takes_up_what_the_readings_say(
    made: tuple[ChatFormat, list[tuple[Task, list[Trajectory]]]],
) -> None:
    taken: Counter[str] = Counter()
    for _, lessons in made[1]:
        for lesson in lessons:
            if lesson.answer is None:
                continue
            readings, conclusion = lesson.turns[0].text[7:].rsplit(". ", 1)
            for taken_up in re.findall(r" ((?:flash|first|then|aside|empty) \w+)", conclusion):
                assert taken_up in readings
                taken[taken_up.split()[0]] += 1
    assert set(taken) >= {"flash", "first", "then", "aside"}


def test_things_happen_at_any_time(made: tuple[ChatFormat, list[tuple[Task, list[Trajectory]]]]) -> None:
    when: Counter[int] = Counter()
    for task, lessons in made[1]:
        for lesson in lessons:
            if question_of(task)[1].window and lesson.answer is None:
                continue
            for i, reading in enumerate(lesson.turns[0].text[7:].rsplit(". ", 2)[-2].split(", ")):
                when[i] += " flash " in reading or " aside " in reading
    assert sum(when[i] > 0 for i in range(1, 7)) >= 4


def test_no_two_are_alike(made: tuple[ChatFormat, list[tuple[Task, list[Trajectory]]]]) -> None:
    texts = [lesson.turns[0].text for _, lessons in made[1] for lesson in lessons]
    assert len(set(texts)) > 0.95 * len(texts)
