"""Lookups: every answer is in the look, and only there."""

import re
from pathlib import Path

import numpy as np

from configs.run import Config
from env.chat import ChatFormat
from env.task import Task
from synth.teachers.captions import STRIPS, WORDS, captions
from synth.teachers.lookups import EMPTY, GONE, WAYS, lookup_in_words, seen_at
from synth.teachers.places import neighbours
from synth.world.sampling import make_world
from synth.world.tasks import question_of
from synth.world.world import CELLS, COLOURS, DIRECTIONS

QUESTION = re.compile(r"(\d+\.\d) (\w+) ([a-z]+)")


def test_what_is_asked_for_in_words_was_told_in_words(
    small_data: tuple[Path, list[Task]], chat: ChatFormat, config: Config
) -> None:
    task, rng, answers = small_data[1][0], np.random.default_rng(0), set()
    for _ in range(100):
        lesson = lookup_in_words(task, chat, tuple(COLOURS), config.world.max_duration_s, rng)
        prompt = chat.decode(lesson.transcript.ids).split("user\n")[1].split("<|im_end|>")[0]
        rows = {
            t: re.findall(r"(\w+) (\w+)", told) for t, told in re.findall(r"(\d+\.\d)((?: [a-z]+ [a-z]+)*)", prompt)
        }
        asked = QUESTION.findall(lesson.turns[0].text)
        assert "".join(f"{t} {key} {answer}" for t, key, answer in asked) == lesson.turns[0].text
        assert lesson.transcript.sampled_tokens == len(asked) == len({(t, key) for t, key, _ in asked})
        for t, key, answer in asked:
            side = 0 if key in COLOURS else 1
            found = [pair[1 - side] for pair in rows[t] if pair[side] == key]
            assert found in ([answer], [] if answer == (GONE, EMPTY)[side] else None)
            answers.add(answer)
    assert answers == {*COLOURS, *CELLS, GONE, EMPTY}


def test_times_told_in_words_are_multiples_of_what_is_asked_for(
    small_data: tuple[Path, list[Task]], chat: ChatFormat
) -> None:
    rng = np.random.default_rng(0)
    lessons = [lookup_in_words(small_data[1][0], chat, tuple(COLOURS), 13.0, rng, per_s=10) for _ in range(100)]
    times = {t for lesson in lessons for t, _, _ in QUESTION.findall(lesson.turns[0].text)}
    assert times <= {f"{tenth / 10:.1f}" for tenth in range(130)}
    assert {time[-1] for time in times} == set("0123456789")


def test_ways_are_those_of_the_grid_as_a_thought_says_them(
    small_data: tuple[Path, list[Task]], chat: ChatFormat, config: Config
) -> None:
    task, rng, ways = small_data[1][0], np.random.default_rng(0), set()
    for _ in range(100):
        lesson = lookup_in_words(task, chat, tuple(COLOURS), config.world.max_duration_s, rng, darts=True)
        pieces = re.findall(
            r" From (\w+) column (\d) row (\d) aside (\w+) column (\d) row (\d), so (\w+)", lesson.turns[0].text
        )
        assert len(pieces) == WAYS
        for home, column, row, place, column_then, row_then, way in pieces:
            at, then = (int(row) - 1, int(column) - 1), (int(row_then) - 1, int(column_then) - 1)
            assert (CELLS[3 * at[0] + at[1]], CELLS[3 * then[0] + then[1]]) == (home, place)
            assert (then[1] - at[1], then[0] - at[0]) == DIRECTIONS[way]
            ways.add((home, place))
    assert len(ways) == len(neighbours()) == 24


def test_what_is_asked_for_in_frames_is_seen_in_them(
    small_data: tuple[Path, list[Task]], chat: ChatFormat, config: Config, tmp_path: Path
) -> None:
    _, tasks = small_data
    kinds = []
    for task in tasks:
        world = make_world(question_of(task)[0], config.world)
        lessons = list(captions(task, chat, config, tmp_path))
        kinds += [lesson.dimension for lesson in lessons]
        for lesson in lessons:
            if lesson.dimension != "lookup":
                continue
            times = {f"{frame.time_s:.1f}": frame.time_s or 0.0 for frame in lesson.prompt_frames}
            asked = QUESTION.findall(lesson.turns[0].text)
            assert ", ".join(f"{t} {key} {answer}" for t, key, answer in asked) == lesson.turns[0].text
            assert lesson.transcript.sampled_tokens == len(asked) > 5
            for t, key, answer in asked:
                side = 0 if key in COLOURS else 1
                found = [sight[1 - side] for sight in seen_at(world, times[t]) if sight[side] == key]
                assert found in ([answer], [] if answer == (GONE, EMPTY)[side] else None)
    assert kinds.count("words") == WORDS * len(tasks)
    assert kinds.count("lookup") == STRIPS * len(tasks)


def test_pieces_are_cut_where_tokens_are(
    small_data: tuple[Path, list[Task]], chat: ChatFormat, config: Config, tmp_path: Path
) -> None:
    for lesson in captions(small_data[1][0], chat, config, tmp_path):
        ids = chat.encode(lesson.turns[0].text)
        assert lesson.transcript.ids[-len(ids) :] == list(ids), lesson.turns[0].text
