"""Tracks of films whose every shape is known: where, which, and when nobody can tell."""

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from synth.motion.background import MovingCameraError
from synth.motion.colour_names import COLOURS, count_colours, name_colour
from synth.motion.segmenter import MotionSegmenter, measure_tracks
from synth.motion.track import Track
from synth.record import Record, Target
from tests.films import movies
from tests.films.clips import real_clips
from tests.films.moving_shapes import PALETTE, SIZE, Film, Shape, owner_of, random_film
from tools.decoding.frame import DeadlineError, VideoError
from tools.decoding.video import open_video

ACROSS = ((0.5, -20.0, 60.0), (5.5, 276.0, 60.0))
BACK_ACROSS = ((0.5, 276.0, 66.0), (5.5, -20.0, 66.0))


def disc(colour: str, knots: tuple[tuple[float, float, float], ...], radius: float = 14.0) -> Shape:
    return Shape(colour, "disc", radius, knots)


def iou(a: np.ndarray | None, b: np.ndarray) -> float:
    assert a is not None
    return float((a & b).sum() / max(1, (a | b).sum()))


def record_of(path: str, tag: str, facts: dict[str, int] | None = None) -> Record:
    target = Target("it", tag, 0.0, 6.0, "Where is <vp>?")
    return Record("r", "test", path, "Where is it?", "left", facts=facts or {}, target=target)


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> tuple[Film, str]:
    """(film, path): two of different colours that cross, one that comes, rests for 4 s and goes on."""
    shapes = (
        disc("red", ACROSS),
        Shape("blue", "square", 15.0, BACK_ACROSS),
        Shape(
            "yellow",
            "triangle",
            17.0,
            ((1.0, -20.0, 150.0), (3.0, 120.0, 150.0), (7.0, 120.0, 150.0), (9.0, 276.0, 150.0)),
            True,
        ),
    )
    film = Film(shapes, 10.0, seed=1)
    return film, film.write(tmp_path_factory.mktemp("street") / "street.mp4")


@pytest.fixture(scope="module")
def street_tracks(street: tuple[Film, str]) -> tuple[Track, ...]:
    return measure_tracks(street[1])


def test_each_thing_is_one_track_from_side_to_side(street: tuple[Film, str], street_tracks: tuple[Track, ...]) -> None:
    film, _ = street
    owners = [owner_of(film, track.times, track.boxes) for track in street_tracks]
    assert sorted(owners, key=str) == [0, 1, 2]
    for track, owner in zip(street_tracks, owners, strict=True):
        assert owner is not None
        shape = film.shapes[owner]
        assert track.colour == shape.colour
        assert (track.enters, track.leaves) == (("right", "left") if shape.colour == "blue" else ("left", "right"))
        assert abs(track.start_s - shape.knots[0][0]) < 0.6
        assert abs(track.end_s - shape.knots[-1][0]) < 0.6


def test_masks_lie_on_what_is_seen(street: tuple[Film, str], street_tracks: tuple[Track, ...]) -> None:
    film, _ = street
    for track in street_tracks:
        owner = owner_of(film, track.times, track.boxes)
        assert owner is not None
        found = [iou(track.mask_at(t), film.seen(owner, t)) for t in track.times]
        assert np.mean(found) >= 0.85
        x, y, w, h = track.boxes[len(track.times) // 2]
        mask = track.mask_at(track.times[len(track.times) // 2])
        assert mask is not None
        rows, columns = np.nonzero(mask)
        assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (x, y, x + w, y + h)


def test_a_thing_that_rests_is_not_lost(street: tuple[Film, str], street_tracks: tuple[Track, ...]) -> None:
    [yellow] = [track for track in street_tracks if track.colour == "yellow"]
    assert np.diff(yellow.times).max() < 0.3
    assert yellow.quality > 0.9


def test_a_box_is_given_only_where_the_thing_is_by_itself(
    street: tuple[Film, str], street_tracks: tuple[Track, ...]
) -> None:
    """While red and blue are one blob neither has a look."""
    for track in street_tracks[:2]:
        assert np.diff(track.times).max() > 0.3
        meeting = track.times[np.argmax(np.diff(track.times))] + 0.2
        assert track.mask_at(meeting) is None


@pytest.mark.parametrize("bounce", [False, True])
def test_look_alikes_that_meet_are_never_taken_for_each_other(bounce: bool, tmp_path: Path) -> None:
    """Whether they pass or turn back can't be told, so their tracks end and new ones begin."""
    meet = ((0.5, -20.0, 60.0), (3.0, 124.0, 60.0), (5.5, -20.0 if bounce else 276.0, 60.0))
    other = ((0.5, 276.0, 64.0), (3.0, 132.0, 64.0), (5.5, 276.0 if bounce else -20.0, 64.0))
    film = Film((disc("green", meet), disc("green", other)), 7.0, seed=2)
    tracks = measure_tracks(film.write(tmp_path / "film.mp4"))
    assert len(tracks) == 4
    assert all(owner_of(film, track.times, track.boxes) is not None for track in tracks)
    assert [(track.starts, track.ends) for track in tracks] == [("border", "merged")] * 2 + [("split", "border")] * 2


def test_different_things_that_bounce_off_each_other_keep_their_names(tmp_path: Path) -> None:
    meet = ((0.5, -20.0, 60.0), (3.0, 124.0, 60.0), (5.5, -20.0, 60.0))
    other = ((0.5, 276.0, 64.0), (3.0, 132.0, 64.0), (5.5, 276.0, 64.0))
    film = Film((disc("red", meet), disc("blue", other)), 7.0, seed=3)
    tracks = measure_tracks(film.write(tmp_path / "film.mp4"))
    assert {(track.colour, track.enters, track.leaves) for track in tracks} == {
        ("red", "left", "left"),
        ("blue", "right", "right"),
    }


def test_things_that_appear_inside_come_over_no_border(tmp_path: Path) -> None:
    film = Film((disc("white", ((1.0, 80.0, 90.0), (4.0, 180.0, 90.0))),), 6.0, seed=4)
    [track] = measure_tracks(film.write(tmp_path / "film.mp4"))
    assert (track.starts, track.ends, track.enters, track.leaves) == ("inside", "inside", "", "")


def test_the_same_film_gives_the_same_tracks(street: tuple[Film, str], street_tracks: tuple[Track, ...]) -> None:
    again = measure_tracks(street[1])
    for a, b in zip(again, street_tracks, strict=True):
        assert np.array_equal(a.times, b.times)
        assert np.array_equal(a.boxes, b.boxes)
        assert a.masks == b.masks
        assert (a.id, a.colour, a.starts, a.ends, a.quality) == (b.id, b.colour, b.starts, b.ends, b.quality)


@pytest.mark.parametrize("camera", [{"pan_px_s": 25.0}, {"shake_px": 4.0}])
def test_a_moving_camera_is_refused(camera: dict[str, Any], tmp_path: Path) -> None:
    film = dataclasses.replace(random_film(0), **camera)
    with pytest.raises(MovingCameraError, match="not taken by one fixed camera"):
        measure_tracks(film.write(tmp_path / "film.mp4"))


def test_a_cut_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shots = [cv2.resize(rng.integers(0, 255, (12, 16, 3), np.uint8), SIZE) for _ in range(3)]
    path = movies.write_pictures(tmp_path / "cut.mp4", [shot for shot in shots for _ in range(12)])
    with pytest.raises(MovingCameraError):
        measure_tracks(path)


def test_a_film_in_which_nothing_moves_has_no_track(tmp_path: Path) -> None:
    assert measure_tracks(Film((), 6.0, seed=5).write(tmp_path / "still.mp4")) == ()


def test_a_film_of_one_frame_has_no_track(tmp_path: Path) -> None:
    path = movies.write_pictures(tmp_path / "one.mp4", [np.full((64, 64, 3), 90, np.uint8)])
    assert measure_tracks(path) == ()


@pytest.mark.process
def test_a_large_video_is_looked_at_small_and_told_at_its_own_size(tmp_path: Path) -> None:
    film = Film((disc("red", ACROSS, radius=18.0),), 6.0, seed=6)
    small = [frame for _, frame in open_video(film.write(tmp_path / "s.mp4")).scan(film.times.tolist(), 10**6)]
    path = movies.write_pictures(tmp_path / "large.mp4", [cv2.resize(frame, (1024, 768)) for frame in small])
    [track] = measure_tracks(path)
    assert track.size == (1024, 768)
    assert track.looked_at[0] < 500
    middle = track.times[len(track.times) // 2]
    truth = cv2.resize(film.seen(0, middle).astype(np.uint8), (1024, 768)) > 0
    assert iou(track.mask_at(middle), truth) > 0.85


def test_bikes_is_refused_for_it_is_cut_together_from_six_shots() -> None:
    with pytest.raises(MovingCameraError, match=r"bikes\.mp4"):
        measure_tracks(real_clips()["bikes.mp4"])


def test_a_missed_deadline_and_a_missing_file_are_told(street: tuple[Film, str], tmp_path: Path) -> None:
    with pytest.raises(DeadlineError):
        measure_tracks(street[1], timeout_s=1e-3)
    with pytest.raises(VideoError, match="no such file"):
        measure_tracks(str(tmp_path / "none.mp4"))


def test_the_segmenter_finds_what_has_the_tags_colour(street: tuple[Film, str]) -> None:
    film, path = street
    segmenter, times = MotionSegmenter(), [2.0, 5.0, 9.5]
    [found] = segmenter.instances(record_of(path, "yellow striped triangle"), times, 60.0)
    assert [mask is not None for mask in found.masks] == [True, True, False]
    assert all(iou(mask, film.seen(2, t)) > 0.8 for mask, t in zip(found.masks[:2], times, strict=False))
    assert len(segmenter.instances(record_of(path, "moving thing"), times, 60.0)) == 3
    assert segmenter.instances(record_of(path, "purple thing"), times, 60.0) == []
    assert segmenter.instances(record_of(path, "yellow thing"), [0.1], 60.0) == []


def test_the_segmenter_prefers_the_side_that_the_tag_names(street: tuple[Film, str]) -> None:
    _, path = street
    segmenter = MotionSegmenter()
    for side in ("left", "right"):
        found = segmenter.instances(record_of(path, f"thing on the {side}"), [1.5], 60.0)
        mask = found[0].masks[0]
        assert mask is not None
        x = np.nonzero(mask)[1].mean()
        assert (x < SIZE[0] / 2) == (side == "left")
        assert found[0].score > found[-1].score


def test_the_segmenter_gives_the_very_track_that_a_record_names(
    street: tuple[Film, str], street_tracks: tuple[Track, ...]
) -> None:
    _, path = street
    for track in street_tracks:
        [found] = MotionSegmenter().instances(record_of(path, "purple thing", {"track": track.id}), [2.0], 60.0)
        mask, same = found.masks[0], track.mask_at(2.0)
        assert mask is not None
        assert same is not None
        assert np.array_equal(mask, same)
        assert 0 < found.score <= 1


@pytest.mark.parametrize("name", PALETTE)
def test_plain_colours_have_their_names(name: str) -> None:
    pixels = np.full((50, 3), PALETTE[name], np.uint8)
    assert name_colour(count_colours(pixels))[0] == name


def test_what_lies_between_two_colours_or_has_two_is_not_named() -> None:
    between = cv2.cvtColor(np.array([[[36, 200, 200]]], np.uint8), cv2.COLOR_HSV2RGB)[0]
    halves = np.array([PALETTE["red"], PALETTE["blue"]] * 20, np.uint8)
    for pixels in (between, halves):
        assert name_colour(count_colours(pixels))[0] == ""
    assert name_colour(np.zeros(len(COLOURS) + 1, int))[0] == ""
