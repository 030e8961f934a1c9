"""The episode browser: what is listed, what is read when it is asked for, what one file holds."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from env.lessons import write_shard
from env.trajectory import Trajectory, TrajectoryError, save_trajectories
from env.transcript import Transcript
from evals.pages.browser import RunEpisodes, Source, fragment, page, tokens_of
from tests.films.sample_episode import make_episode


@pytest.fixture
def episode(media: Path) -> Trajectory:
    return make_episode(media)


@pytest.fixture
def sources(episode: Trajectory, tmp_path: Path) -> list[Source]:
    """Held-out episodes and a training step of a group of two."""
    save_trajectories(tmp_path / "sft.jsonl", [dataclasses.replace(episode, task_id=f"t{i}") for i in range(3)])
    better, worse = (dataclasses.replace(episode, task_id="t1", advantage=a) for a in (1.5, -1.5))
    write_shard(tmp_path, 12, [better, worse])
    return [Source("held out", tmp_path / "sft.jsonl"), Source("training step 12", tmp_path / "000012.arrow", 12)]


def entries_of(html: str) -> list[dict[str, object]]:
    found = re.search(r'<script type="application/json" id="entries">(.*?)</script>', html, re.DOTALL)
    assert found
    rows: list[dict[str, object]] = json.loads(found[1])
    return rows


def test_every_episode_is_listed_and_read_from_its_own_file(sources: list[Source], episode: Trajectory) -> None:
    episodes = RunEpisodes(sources)
    assert [(entry.task, entry.step, entry.advantage) for entry in episodes.entries] == [
        ("t0", None, None),
        ("t1", None, None),
        ("t2", None, None),
        ("t1", 12, 1.5),
        ("t1", 12, -1.5),
    ]
    for entry in episodes.entries:
        assert episodes.load(entry.key) == dataclasses.replace(episode, task_id=entry.task, advantage=entry.advantage)
    with pytest.raises(TrajectoryError, match="no episode 5; there are 5"):
        episodes.load(5)


def test_the_page_lists_all_and_asks_for_each(sources: list[Source]) -> None:
    html = page("run", RunEpisodes(sources))
    assert [row["key"] for row in entries_of(html)] == [0, 1, 2, 3, 4]
    assert "<template" not in html
    assert "const embedded = false" in html


def test_one_file_holds_episodes_of_every_source_and_needs_nothing_else(sources: list[Source]) -> None:
    html = page("run", RunEpisodes(sources), most=2)
    assert [row["key"] for row in entries_of(html)] == [0, 3]
    assert html.count("<template data-key=") == 2
    assert "const embedded = true, leftOut = 3" in html
    assert page("run", RunEpisodes(sources), most=5).count("<template data-key=") == 5
    assert not re.search(r'(?:src|href)="(?!data:)', html)


def test_an_episode_is_shown_with_its_frames_turns_and_coloured_tokens(episode: Trajectory) -> None:
    trained = dataclasses.replace(episode, advantage=-1.0)
    html = fragment(trained, lambda ids: f"[{ids[0]}]")
    assert html.count("data:image/") > 2
    assert "advantage -1.00" in html
    assert 'data-sign="minus"' in html
    assert html.count('<span style="--p:') == episode.transcript.sampled_tokens
    assert "not trained on" in fragment(episode, lambda ids: "x")
    assert "Tokens" not in fragment(episode)


def test_what_a_policy_wrote_is_text_on_the_page(sources: list[Source], episode: Trajectory, tmp_path: Path) -> None:
    evil = "</script><img src=x onerror=alert(1)>"
    save_trajectories(tmp_path / "evil.jsonl", [dataclasses.replace(episode, question=evil, answer=evil)])
    episodes = RunEpisodes([Source(evil, tmp_path / "evil.jsonl")])
    html = page(evil, episodes, lambda ids: evil, most=1)
    assert "<img src=x" not in html
    assert entries_of(html)[0]["question"] == evil


def test_tokens_come_turn_by_turn_with_their_surprise(episode: Trajectory) -> None:
    transcript = Transcript([7, 8, 9, 10, 11], [False, True, True, False, True], [0.0, -0.5, 0.0, 0.0, -3.0])
    turns = tokens_of(dataclasses.replace(episode, transcript=transcript), lambda ids: str(ids[0]))
    assert [[(token.text, token.surprise) for token in turn] for turn in turns] == [
        [("8", 0.3935), ("9", 0.0)],
        [("11", 0.9502)],
    ]


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    for name in ("torn.jsonl", "torn.arrow"):
        (tmp_path / name).write_text("{torn\n")
        with pytest.raises(TrajectoryError, match=name):
            RunEpisodes([Source("torn", tmp_path / name)])
