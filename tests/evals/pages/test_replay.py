import io
from pathlib import Path
from typing import Any

from rich.console import Console

from env.trajectory import Trajectory
from evals.pages.replay import print_episode
from tests.films.sample_episode import make_episode


def printed(trajectory: Trajectory, color_system: Any = None) -> str:
    written = io.StringIO()
    console = Console(file=written, force_terminal=color_system is not None, color_system=color_system, width=110)
    print_episode(trajectory, console)
    return written.getvalue()


def test_the_whole_episode_is_told_in_order(media: Path) -> None:
    text = printed(make_episode(media))
    told = [
        "What colour does the marked <shape> have at the end?",
        "first look: 1.50 s, 4.50 s",
        "I must see the mark.",
        "view_visual_prompt(frame='frame_1')",
        "✗ start_time must lie before end_time",
        "frames: 20.12 s, 20.62 s, 21.12 s",
        "answer  red",
        "✓ red  right answer: red",
        "accuracy 1.00",
    ]
    places = [text.find(part) for part in told]
    assert -1 not in places
    assert places == sorted(places)


def test_thumbnails_only_where_the_terminal_has_the_colours(media: Path) -> None:
    episode = make_episode(media)
    assert "▀" not in printed(episode)
    assert "▀" not in printed(episode, "standard")
    text = printed(episode, "truecolor")
    assert text.count("▀") == (8 + 1 + 3) * 24 * 12
    assert "38;2;" in text


def test_an_episode_without_an_answer_shows_what_was_written(media: Path) -> None:
    text = printed(make_episode(media, answer=None, accuracy=0.0))
    assert "✗ no answer (length)" in text
    assert "malformed" in text
    assert "<think>It is" in text


def test_frames_that_are_gone_do_not_stop_the_replay(tmp_path: Path) -> None:
    assert "not readable" in printed(make_episode(tmp_path), "truecolor")
