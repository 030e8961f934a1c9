"""Episodes whose run was moved or copied."""

import shutil
from dataclasses import replace
from pathlib import Path

from evals.pages.filmstrip import film
from evals.pages.moved import at_hand, place_now
from tests.films.sample_episode import make_episode, write_media


def test_an_episode_of_a_run_that_was_moved_has_its_pictures(tmp_path: Path) -> None:
    before, after = tmp_path / "before" / "run", tmp_path / "after" / "copied"
    (before / "data").mkdir(parents=True)
    write_media(before / "data")
    episode = make_episode(before / "data")
    shown = [bool(picture.source) for picture in film(episode).first_look]
    assert any(shown)
    shutil.move(before, after)
    (after / "both" / "episodes").mkdir(parents=True)
    lost = film(episode)
    assert not any(picture.source for picture in lost.first_look)
    found = film(at_hand(episode, after / "both" / "episodes" / "grpo.jsonl"))
    assert [bool(picture.source) for picture in found.first_look] == shown


def test_what_is_where_it_was_or_nowhere_keeps_its_path(tmp_path: Path) -> None:
    here = tmp_path / "film.mp4"
    here.touch()
    (tmp_path / "near" / "film.mp4").parent.mkdir()
    (tmp_path / "near" / "film.mp4").touch()
    assert place_now(str(here), tmp_path / "near") == str(here)
    assert place_now("/gone/for/good.mp4", tmp_path) == "/gone/for/good.mp4"
    (tmp_path / "good.mp4").touch()
    assert place_now("/gone/for/good.mp4", tmp_path) == "/gone/for/good.mp4", "another film of that name"


def test_a_folder_of_pictures_keeps_its_rate(tmp_path: Path) -> None:
    (tmp_path / "data" / "frames").mkdir(parents=True)
    assert place_now("/old/data/frames#fps=6", tmp_path / "both" / "episodes") == f"{tmp_path}/data/frames#fps=6"


def test_an_episode_without_frames_is_left_alone(tmp_path: Path) -> None:
    episode = replace(make_episode(tmp_path), prompt_frames=(), turns=())
    assert at_hand(episode, tmp_path / "x.jsonl") == episode
