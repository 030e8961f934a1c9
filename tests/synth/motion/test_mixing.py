"""New films of what moves in others: what is in them, and for whom they are."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from configs import Config, load_config
from env.task import load_tasks
from synth.errors import SynthError
from synth.motion import kept_tracks
from synth.motion.background import MovingCameraError
from synth.motion.colour_names import count_colours, name_colour
from synth.motion.cut_outs import FilmParts, cut_apart
from synth.motion.kept_tracks import tracks_of
from synth.motion.mixing import write_mixed
from synth.motion.segmenter import measure_tracks
from synth.motion.stills import SCALES, SEEN, still
from synth.motion.track import Track
from synth.output.split import split_of
from synth.pipeline import mixed_films
from synth.pipeline.mixed_films import ApartRow, MixedRow, _put_together, _take_apart, mixed_records
from synth.synthesis import STAGES_FOLDER, synthesise
from synth.teachers.scene import cell_at
from synth.teachers.stills import StillScene, write_still
from tests.films.moving_shapes import SIZE, Film, Shape
from tests.servers.ray_session import shared_ray
from tools.decoding.frame import DecoderError, VideoError
from tools.decoding.video import open_video

ROOT = Path(__file__).resolve().parents[3]
ACROSS = ((0.5, -20.0, 60.0), (5.5, 276.0, 60.0))
DOWN = ((2.0, 90.0, -20.0), (7.0, 90.0, 212.0))
THERE = ((0.0, 60.0, 140.0), (4.0, 276.0, 140.0))
FILMS = {
    "red": Film((Shape("red", "disc", 14.0, ACROSS),), 8.0, seed=1),
    "blue": Film((Shape("blue", "square", 15.0, DOWN),), 8.0, seed=2),
    "yellow": Film((Shape("yellow", "triangle", 17.0, THERE),), 8.0, seed=3),
}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("films")
    return {name: film.write(folder / f"{name}.mp4") for name, film in FILMS.items()}


@pytest.fixture(scope="module")
def parts(films: dict[str, str]) -> list[FilmParts]:
    found = [cut_apart(path, measure_tracks(path)) for path in films.values()]
    return [film for film in found if film is not None]


def test_a_thing_is_cut_out_as_it_is_and_where_it_is(parts: list[FilmParts]) -> None:
    red = parts[0]
    [thing] = red.things
    shape = FILMS["red"].shapes[0]
    middle = len(thing.boxes) // 2
    y, width, height = thing.boxes[middle].tolist()[1:]
    assert abs(y + height / 2 - 60) < 3
    assert 24 <= width <= 34
    assert 24 <= height <= 34
    picture = thing.pictures[middle]
    assert picture.shape == (height, width, 4)
    inside = picture[picture[..., 3] > 0]
    assert abs(len(inside) - np.pi * shape.radius**2) < 0.2 * np.pi * shape.radius**2
    assert inside[:, 0].mean() > 150
    assert inside[:, 1:3].mean() < 80
    assert not thing.from_start
    assert not (thing.to_end)
    assert parts[2].things[0].from_start


def test_the_background_has_none_of_what_moves(parts: list[FilmParts], films: dict[str, str]) -> None:
    [empty] = open_video(films["red"]).frames_at([7.8], SIZE[0] * SIZE[1], 1)
    still = parts[0].background.astype(float)
    difference = np.abs(empty.pixels / parts[0].light[-1] - still)
    assert np.percentile(difference, 99.5) < 25


def test_parts_come_back_from_their_file(parts: list[FilmParts], tmp_path: Path) -> None:
    parts[0].save(tmp_path / "parts.npz")
    again = FilmParts.load(tmp_path / "parts.npz")
    assert (again.background == parts[0].background).all()
    assert (again.light == parts[0].light).all()
    assert (again.noise, again.step_s) == (parts[0].noise, parts[0].step_s)
    for one, other in zip(again.things, parts[0].things, strict=True):
        assert (one.boxes == other.boxes).all()
        assert all((a == b).all() for a, b in zip(one.pictures, other.pictures, strict=True))
        assert (one.from_start, one.to_end, one.colour) == (other.from_start, other.to_end, other.colour)


def test_what_moves_in_a_new_film_came_of_the_others(parts: list[FilmParts], tmp_path: Path) -> None:
    found: list[list[Track]] = []
    for i in range(6):
        path = tmp_path / f"{i}.mp4"
        write_mixed(parts, np.random.default_rng(i), path)
        found.append(list(measure_tracks(str(path))))
        assert abs(open_video(str(path)).duration_s - 8.0) < 0.3
    colours = [track.colour for tracks in found for track in tracks]
    assert {"red", "blue", "yellow"} == set(colours) - {""}
    assert colours.count("") <= 0.2 * len(colours)
    assert any(len(tracks) > 1 for tracks in found)
    ways = {track.enters for tracks in found for track in tracks if track.colour == "red"}
    assert {"left", "right"} <= ways, "it is mirrored at times"


def test_a_new_film_is_a_function_of_its_random_numbers(parts: list[FilmParts], tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        write_mixed(parts, np.random.default_rng(seed), tmp_path / name)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_tracks_are_measured_once(films: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = str(shutil.copy(films["red"], tmp_path / "film.mp4"))
    measured = tracks_of(video, tmp_path / "tracks")
    monkeypatch.setattr(kept_tracks, "measure_tracks", lambda *_: pytest.fail("it was measured again"))
    kept = tracks_of(video, tmp_path / "tracks")
    for one, other in zip(kept, measured, strict=True):
        for field in dataclasses.fields(Track):
            a, b = getattr(one, field.name), getattr(other, field.name)
            if field.name == "look":
                assert all((x == y).all() for x, y in zip(a, b, strict=True))
            else:
                assert np.all(a == b), field.name
                assert type(a) is type(b), field.name


def test_tracks_of_a_film_that_was_changed_are_measured_anew(films: dict[str, str], tmp_path: Path) -> None:
    video = str(shutil.copy(films["red"], tmp_path / "film.mp4"))
    assert [track.colour for track in tracks_of(video, tmp_path / "tracks")] == ["red"]
    shutil.copy(films["blue"], video)
    assert [track.colour for track in tracks_of(video, tmp_path / "tracks")] == ["blue"]


def test_tracks_of_what_is_no_video_are_an_error_and_not_kept(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_bytes(b"not a video")
    with pytest.raises(VideoError):
        tracks_of(str(tmp_path / "text.mp4"), tmp_path / "tracks")
    assert not (tmp_path / "tracks").exists()


def test_a_picture_that_was_put_together_holds_what_it_says(parts: list[FilmParts]) -> None:
    rng = np.random.default_rng(0)
    made = [still(parts, rng) for _ in range(12)]
    assert all(len({thing.colour for thing in one.things}) == len(one.things) for one in made)
    assert {thing.colour for one in made for thing in one.things} == {"red", "blue", "yellow"}
    for one in made:
        for thing in one.things:
            inside = cv2.erode(thing.mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
            assert name_colour(count_colours(one.pixels[inside]))[0] in (thing.colour, "")
            x, y = (np.flatnonzero(thing.mask.any(axis)) for axis in (0, 1))
            middle = (x[0] + x[-1] + 1) / 2 / SIZE[0], (y[0] + y[-1] + 1) / 2 / SIZE[1]
            assert np.allclose(thing.middle, middle, atol=0.01)


def test_things_of_a_picture_hide_one_another_in_part_and_are_cut_by_the_border(parts: list[FilmParts]) -> None:
    rng = np.random.default_rng(2)
    things = [thing for _ in range(80) for thing in still(parts, rng).things]
    seen = np.array([thing.mask.sum() / thing.area for thing in things])
    assert SEEN <= seen.min() < 1.0
    whole = [not (thing.mask[[0, -1]].any() or thing.mask[:, [0, -1]].any()) for thing in things]
    assert 0.6 < np.mean(whole) < 1.0
    areas = [thing.area for thing, all_of_it in zip(things, whole, strict=True) if all_of_it and thing.colour == "blue"]
    assert max(areas) > 1.5 * min(areas)


def test_of_a_thing_that_fills_little_of_its_box_something_is_always_seen(parts: list[FilmParts]) -> None:
    corner = np.zeros((60, 60, 4), np.uint8)
    corner[:6, :, 3] = corner[:, :6, 3] = 255
    thing = dataclasses.replace(parts[0].things[0], boxes=np.array([[0, 0, 60, 60]]), pictures=(corner,))
    film, rng = dataclasses.replace(parts[0], things=(thing,)), np.random.default_rng(0)
    made = [one for _ in range(300) for one in still([film], rng).things]
    assert min(one.mask.sum() for one in made) > 0.2 * 684 * SCALES[0] ** 2


def test_a_look_at_pictures_is_a_scene(parts: list[FilmParts], tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    looks = [write_still(parts, tmp_path / f"{i}.png", (128 * 96, 32), ["rectangle"], rng) for i in range(3)]
    scene = StillScene([made for made, _ in looks], [1.0, 2.0, 3.0])
    for (made, marked), t in zip(looks, (1.0, 2.0, 3.0), strict=True):
        seen = {scene.name(i): scene.cell(i, t) for i in range(scene.count) if scene.colour(i, t)}
        assert seen == {thing.colour: cell_at(*thing.middle) for thing in made.things}
        assert marked is not None
        assert 0 <= marked < len(made.things)
    assert Image.open(tmp_path / "0.png").size == (128, 96)


def test_a_picture_is_of_a_size_that_something_moves_in(parts: list[FilmParts]) -> None:
    empty = dataclasses.replace(parts[0], background=np.zeros((96, 96, 3), np.uint8), things=())
    rng = np.random.default_rng(0)
    for _ in range(8):
        made = still([empty, empty, empty, parts[0]], rng)
        assert made.pixels.shape == parts[0].background.shape
        assert made.things


@pytest.mark.parametrize(
    ("error", "said"), [(MovingCameraError("it moves"), ""), (OSError("full"), "mixed-rl-00000.mp4")]
)
def test_a_new_film_that_cannot_be_measured_is_left_to_the_stages(
    parts: list[FilmParts], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    parts[0].save(tmp_path / "0.npz")
    found = [ApartRow(parts=str(tmp_path / "0.npz"), things=1, size=SIZE, error="")]
    monkeypatch.setattr(mixed_films, "tracks_of", failing(error))
    made = _put_together(MixedRow(split="rl", index=0, error=""), found, 0, tmp_path, tmp_path)
    assert made["error"].split(":")[0] == said


@pytest.mark.parametrize(("error", "said"), [(VideoError("cut off"), ""), (DecoderError("no decoder"), "a.mp4")])
def test_a_film_that_cannot_be_read_has_no_parts_and_a_missing_decoder_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    monkeypatch.setattr(mixed_films, "tracks_of", failing(error))
    row = _take_apart({"video": "a.mp4", "index": 0}, tmp_path, tmp_path)
    assert row["parts"] == ""
    assert row["error"].split(":")[0] == said


def failing(error: Exception) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


@pytest.fixture
def footage(films: dict[str, str], tmp_path: Path) -> Config:
    """Six films, of which two are held out."""
    (tmp_path / "films").mkdir()
    for name, path in films.items():
        for copy in range(2):
            # No two are equal, byte for byte, or they would be one film: an empty box of MP4 tells them apart.
            content = Path(path).read_bytes() + b"\x00\x00\x00\x09free" + bytes([copy])
            (tmp_path / "films" / f"{name}-{copy}.mp4").write_bytes(content)
    config = load_config(
        ROOT / "configs" / "footage.yaml",
        [f"synth.source={tmp_path / 'films'}", "synth.test_fraction=0.4", "synth.cpus_per_worker=0.2"],
    )
    config.synth.mixing.films, config.synth.mixing.rl_films = 4, 2
    return config


@pytest.mark.slow
def test_held_out_films_are_ones_own_and_none_of_them_is_in_a_new_one(footage: Config, tmp_path: Path) -> None:
    shared_ray()
    synthesise(footage, tmp_path / "data")
    tasks = {name: load_tasks(tmp_path / "data" / f"{name}.jsonl") for name in ("train", "rl", "test")}
    videos = {name: {Path(task.video).name for task in rows} for name, rows in tasks.items()}
    sides = {path.name: split_of(str(path), 0, 0.4) for path in (tmp_path / "films").iterdir()}
    own = {side: {name for name, its in sides.items() if its == side} for side in ("train", "test")}
    assert videos["test"] <= own["test"]
    assert videos["test"]
    assert {name for name in videos["train"] if not name.startswith("mixed-train-")} <= own["train"]
    assert any(name.startswith("mixed-train-") for name in videos["train"])
    assert all(name.startswith("mixed-rl-") for name in videos["rl"])
    assert videos["rl"]
    made = sorted((tmp_path / "data" / STAGES_FOLDER / "mixed" / "parts").iterdir())
    assert len(made) == len(own["train"])


@pytest.mark.slow
def test_films_in_which_nothing_moves_cannot_be_mixed(footage: Config, tmp_path: Path) -> None:
    still = Film((), 3.0).write(tmp_path / "still.mp4")
    shared_ray()
    with pytest.raises(SynthError, match="nothing that moves before a fixed camera was found in 1 films"):
        list(mixed_records([still], footage, tmp_path / "work"))
