"""Every question made from measured tracks against what is true of the film by its shapes' paths."""

import dataclasses
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from env.task import Task
from synth.motion.measures import ROUND_S, inner
from synth.motion.questions import DIMENSIONS, questions_of
from synth.motion.segmenter import measure_tracks
from synth.motion.track import Track
from synth.record import PLACE, Record
from synth.stages.leaks import named
from tests.films.moving_shapes import PALETTE, SIZE, Film, Shape, owner_of, random_film
from tools.marks.visual_prompt import VisualPrompt

FINE_S = 0.02
SEEDS = range(12)
SIDES = {"left": (0, -1), "right": (0, 1), "top": (1, -1), "bottom": (1, 1)}


def truth(film: Film, record: Record, shape: Shape, other: Shape | None) -> str:
    """The right answer, from the paths."""
    facts, target = record.facts, record.target
    assert target is not None
    times = np.arange(0, film.duration_s, FINE_S)
    match facts["kind"]:
        case "direction":
            x, y = centre(shape, target.end_s) - centre(shape, target.start_s)
            if abs(x) > abs(y):
                return "right" if x > 0 else "left"
            return "down" if y > 0 else "up"
        case "enters" | "leaves":
            ends = shape.knots[0] if facts["kind"] == "enters" else shape.knots[-1]
            return outside(ends[1], ends[2])
        case "order":
            assert other is not None
            first, second = (presence(film, one) for one in (shape, other))
            i = 0 if facts["event"] == "enters" else 1
            return "before" if first[i] < second[i] else "after"
        case "place":
            axis = facts["axis"]
            third = int(centre(shape, facts["at_s"])[axis] / SIZE[axis] * 3)
            return (("left", "middle", "right"), ("top", "middle", "bottom"))[axis][third]
        case "relation":
            axis = facts["axis"]
            assert other is not None
            after = centre(shape, facts["at_s"])[axis] > centre(other, facts["at_s"])[axis]
            return (("left", "right"), ("above", "below"))[axis][int(after)]
        case "crossings":
            axis = facts["axis"]
            inside = times[(times >= target.start_s) & (times <= target.end_s)]
            sides = [centre(shape, t)[axis] > SIZE[axis] / 2 for t in inside if shape.centre(t) is not None]
            return str(int(np.abs(np.diff(np.array(sides, int))).sum()))
        case "duration":
            assert record.options is not None
            start_s, end_s = presence(film, shape)
            options = [float(option.split()[1]) for option in record.options]
            return chr(ord("A") + int(np.argmin(np.abs(np.log(options) - np.log(end_s - start_s)))))
        case "colour":
            return shape.colour
    raise AssertionError(facts["kind"])


def outside(x: float, y: float) -> str:
    return next(
        (side for side, (axis, sign) in SIDES.items() if ((x, y)[axis] < 0 if sign < 0 else (x, y)[axis] > SIZE[axis])),
        "nowhere",
    )


def centre(shape: Shape, t: float) -> np.ndarray:
    found = shape.centre(t)
    assert found is not None
    return found


def presence(film: Film, shape: Shape) -> tuple[float, float]:
    seen = [t for t in np.arange(0, film.duration_s, FINE_S).tolist() if shape.in_sight(t)]
    return seen[0], seen[-1]


def wrong_answers(film: Film, records: list[Record], tracks: tuple[Track, ...]) -> list[str]:
    """Of questions about a shape; a track that is on no one shape all the while counts as wrong."""
    wrong = []
    for record in records:
        owners = [
            owner_of(film, tracks[i].times, tracks[i].boxes)
            for i in (record.facts["track"], record.facts.get("other"))
            if i is not None
        ]
        if None in owners:
            wrong.append(f"{record.question}: a track of no one shape")
            continue
        shapes = [film.shapes[i] for i in owners if i is not None]
        right = truth(film, record, shapes[0], shapes[1] if len(shapes) > 1 else None)
        if right != record.answer:
            wrong.append(f"{record.question} {record.answer}, not {right}")
    return wrong


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Film, str, tuple[Track, ...], list[Record]]]:
    """(film, path, tracks, records) of each film, with every question that can be made of it."""
    folder = tmp_path_factory.mktemp("films")
    found = []
    for seed in SEEDS:
        film = random_film(seed)
        path = film.write(folder / f"{seed}.mp4")
        tracks = measure_tracks(path)
        found.append((film, path, tracks, questions_of(path, f"film-{seed}", tracks, 0, 1000)))
    return found


@pytest.mark.process
def test_no_answer_is_wrong(asked: list[tuple[Film, str, tuple[Track, ...], list[Record]]]) -> None:
    wrong = [line for film, _, tracks, records in asked for line in wrong_answers(film, records, tracks)]
    assert wrong == []


@pytest.mark.process
def test_every_kind_is_asked_often_enough(asked: list[tuple[Film, str, tuple[Track, ...], list[Record]]]) -> None:
    counts = Counter(record.facts["kind"] for *_, records in asked for record in records)
    assert set(counts) == set(DIMENSIONS)
    assert sum(counts.values()) >= 20 * len(asked)
    assert min(counts.values()) >= 5


@pytest.mark.process
def test_masks_have_the_things_they_are_of(asked: list[tuple[Film, str, tuple[Track, ...], list[Record]]]) -> None:
    found = []
    for film, _, tracks, _ in asked:
        for track in tracks:
            owner = owner_of(film, track.times, track.boxes)
            if owner is not None:
                for t in track.times[::5]:
                    mask, truth = track.mask_at(t), film.seen(owner, t)
                    found.append((mask & truth).sum() / (mask | truth).sum())
    assert len(found) > 300
    assert np.mean(found) >= 0.8


@pytest.mark.process
def test_a_track_that_is_of_several_things_is_flagged(
    asked: list[tuple[Film, str, tuple[Track, ...], list[Record]]],
) -> None:
    for film, _, tracks, _ in asked:
        for track in tracks:
            if owner_of(film, track.times, track.boxes) is None:
                assert track.starts == "split"


@pytest.mark.process
def test_a_named_thing_is_the_only_one_of_its_colour(
    asked: list[tuple[Film, str, tuple[Track, ...], list[Record]]],
) -> None:
    for film, _, tracks, records in asked:
        colours = Counter(shape.colour for shape in film.shapes)
        for record in records:
            if "other" in record.facts:
                assert colours[tracks[record.facts["other"]].colour] == 1
            assert record.target is not None
            name = record.target.description
            plainly = record.question == record.target.question.replace(PLACE, name)
            if plainly and name in {f"the {colour} thing" for colour in PALETTE}:
                assert colours[name.split()[1]] == 1


@pytest.mark.process
def test_records_are_whole(asked: list[tuple[Film, str, tuple[Track, ...], list[Record]]]) -> None:
    for _, path, tracks, records in asked:
        assert len({record.id for record in records}) == len(records)
        for record in records:
            target, track = record.target, tracks[record.facts["track"]]
            assert target is not None
            assert Record.from_dict(json.loads(json.dumps(record.to_dict()))) == record
            assert (record.video, record.source) == (path, "footage")
            assert record.dimension == DIMENSIONS[record.facts["kind"]]
            assert target.question.count(PLACE) == 1
            before, after = target.question.split(PLACE)
            assert record.question.startswith(before + target.description)
            assert record.question.endswith(after)
            assert not named(target, target.question, target.options)
            assert track.start_s <= target.start_s < target.end_s <= track.end_s
            if record.options is None:
                assert (
                    record.answer in record.question.replace("?", " ").replace(",", " ").split()
                    or record.answer.isdigit()
                )
            mark = VisualPrompt("frame.png", target.start_s, "rectangle")
            form: Any = "choice" if record.options else "open"
            Task(record.id, path, record.question, record.answer, record.dimension, (mark,), form, record.options)


@pytest.mark.process
def test_times_that_are_told_are_round(asked: list[tuple[Film, str, tuple[Track, ...], list[Record]]]) -> None:
    texts = [record.target.question for _, _, _, records in asked for record in records if record.target]
    times = [float(time) for text in texts for time in re.findall(r"(-?\d+\.\d) s\b", text)]
    assert len(times) > 50
    track = next(track for _, _, tracks, _ in asked for track in tracks)
    assert f"{inner(dataclasses.replace(track, times=track.times - track.times[0]))[0]:.1f}" == "0.0"
    assert all(time % ROUND_S == 0 for time in times)


@pytest.mark.process
def test_a_question_on_the_colour_does_not_tell_it(
    asked: list[tuple[Film, str, tuple[Track, ...], list[Record]]],
) -> None:
    for *_, records in asked:
        for record in records:
            if record.facts["kind"] == "colour":
                assert record.target is not None
                assert record.answer not in record.target.description.split()


@pytest.mark.process
def test_few_questions_are_of_many_kinds_and_always_the_same(
    asked: list[tuple[Film, str, tuple[Track, ...], list[Record]]],
) -> None:
    for _, path, tracks, records in asked:
        few = questions_of(path, "film", tracks, 0, 6)
        assert few == questions_of(path, "film", tracks, 0, 6)
        kinds = {record.facts["kind"] for record in records}
        assert len({record.facts["kind"] for record in few}) == min(6, len(kinds))
    assert any(
        questions_of(path, "film", tracks, 0, 6) != questions_of(path, "film", tracks, 1, 6)
        for _, path, tracks, _ in asked
    )


def test_no_tracks_make_no_questions() -> None:
    assert questions_of("still.mp4", "still", (), 0, 10) == []


def test_what_is_near_a_boundary_is_not_asked(tmp_path: Path) -> None:
    """A thing that moves aslant, along the edge of a third, that only touches the middle line."""
    shape = Shape("red", "disc", 14.0, ((0.5, 60.0, 20.0), (2.5, 128.0, 88.0), (4.5, 60.0, 20.0)))
    film = Film((shape,), 6.0, seed=3)
    path = film.write(tmp_path / "film.mp4")
    kinds = {record.facts["kind"] for record in questions_of(path, "a", measure_tracks(path), 0, 100)}
    assert not kinds & {"direction", "crossings", "enters", "leaves", "duration", "order"}


def test_a_thing_that_came_back_is_asked_nothing_about_its_whole_stay(tmp_path: Path) -> None:
    there = Shape("red", "disc", 14.0, ((0.5, -20.0, 60.0), (4.0, 276.0, 60.0)))
    back = dataclasses.replace(there, knots=((6.0, 276.0, 100.0), (9.5, -20.0, 100.0)))
    film = Film((there, back), 10.5, seed=4)
    path = film.write(tmp_path / "film.mp4")
    records = questions_of(path, "a", measure_tracks(path), 0, 100)
    kinds = Counter(record.facts["kind"] for record in records)
    assert kinds["direction"] >= 2
    assert not set(kinds) & {"enters", "leaves", "duration", "order"}
