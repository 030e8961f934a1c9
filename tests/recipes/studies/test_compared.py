"""What `videoseeker compare` prints."""

import dataclasses
import io
from pathlib import Path

from rich.console import Console

from env.trajectory import save_trajectories
from recipes.studies.compared import print_comparison
from tests.films.sample_episode import make_episode


def test_flipped_questions_stand_with_both_answers(media: Path, tmp_path: Path) -> None:
    right, wrong = make_episode(media), dataclasses.replace(make_episode(media, accuracy=0.0), answer="blue")
    for file, episodes in {"a": [right, wrong, wrong], "b": [wrong, right, right]}.items():
        named = [dataclasses.replace(episode, task_id=f"t{i}") for i, episode in enumerate(episodes)]
        save_trajectories(tmp_path / file, named)
    printed = io.StringIO()
    found = print_comparison(tmp_path / "a", tmp_path / "b", Console(file=printed, width=200))
    assert (found.gained, found.lost) == (("t1", "t2"), ("t0",))
    assert "3 questions: 33.3 % -> 66.7 %, +33.3 points" in printed.getvalue()
    assert "What colour does the marked <shape> have at the end? (t0)" in printed.getvalue()
    assert "blue" in printed.getvalue()
