"""A trajectory and its files."""

import json
from pathlib import Path

import pytest

from env import trajectory as module
from env.trajectory import (
    Rewards,
    ToolCallRecord,
    Trajectory,
    TrajectoryError,
    TurnRecord,
    load_trajectories,
    load_trajectory,
    save_trajectories,
)
from env.turn import parse_turn
from tests.env.test_transcript import MARK, VIDEO_FRAME, transcript
from tests.films.sample_episode import make_episode


def test_a_trajectory_goes_round_through_json() -> None:
    made = Trajectory(
        task_id="t",
        transcript=transcript(),
        rewards=Rewards(1.0, 1.0, 0.8, 0.99),
        answer="red",
        stop="answer",
        calls=(ToolCallRecord("crop_video", {"start_time": 1.0}, False, 0.1, 0, "why"),),
        prompt_frames=(VIDEO_FRAME,),
        turns=(TurnRecord("ab", "[frame 1.0 s]", (MARK,)),),
        seconds=1.5,
        question="?",
        expected="red",
        dimension="OA",
    )
    assert Trajectory.from_dict(json.loads(json.dumps(made.to_dict()))) == made


def test_an_episode_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    episodes = [make_episode(tmp_path, f"task-{i}") for i in range(3)]
    file = tmp_path / "new" / "episodes.jsonl"
    save_trajectories(file, episodes)
    assert load_trajectories(file) == episodes
    assert [load_trajectory(file, i) for i in (0, 1, -1)] == episodes


def test_a_file_without_that_episode_says_so(tmp_path: Path) -> None:
    file = tmp_path / "episodes.jsonl"
    with pytest.raises(TrajectoryError, match="cannot be read"):
        load_trajectory(file)
    file.write_text('{"task_id": "a"}\n')
    with pytest.raises(TrajectoryError, match="has no episode 1; it holds 1"):
        load_trajectory(file, 1)
    for load in (load_trajectory, load_trajectories):
        with pytest.raises(TrajectoryError, match=r"episodes.jsonl:1: not an episode"):
            load(file)


def test_a_turn_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    turn = parse_turn("<think>a</think><answer>red</answer>")
    read = TurnRecord(turn.text, "")
    assert read.parsed == turn
    monkeypatch.setattr(module, "parse_turn", None)
    assert read.parsed == turn
    assert TurnRecord.of(turn).parsed is turn
    assert TurnRecord.of(turn) == read
