"""Groups of episodes in the background, on a real engine."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from actors.engine.engine import PolicyEngine
from actors.rollout.groups import GroupOrder, GroupPlayer
from configs import Config
from configs.episode import EpisodeConfig
from configs.policy import EngineConfig, SamplingConfig
from env.chat import ChatFormat
from env.task import Task
from env.trajectory import Trajectory

pytestmark = pytest.mark.slow


@pytest.fixture
def config(episode: EpisodeConfig, engine_config: EngineConfig) -> Config:
    return Config(episode=episode, engine=engine_config)


@pytest.fixture
def player(config: Config, chat: ChatFormat) -> Iterator[GroupPlayer]:
    player = GroupPlayer(config, chat, SamplingConfig(), in_flight=6)
    yield player
    player.close()


def sampled_ids(trajectory: Trajectory) -> list[int]:
    transcript = trajectory.transcript
    return [i for i, mask in zip(transcript.ids, transcript.sampled, strict=True) if mask]


def test_every_order_comes_back_once_with_an_episode_for_each_seed(
    player: GroupPlayer, engine: PolicyEngine, task: Task
) -> None:
    player.submit([GroupOrder(i, task, (10 * i, 10 * i + 1, 10 * i + 2)) for i in range(5)], [engine])
    played = player.collect(at_least=1, timeout_s=120)
    while player.outstanding:
        played += player.collect(at_least=1, timeout_s=120)
    assert sorted(group.order.id for group in played) == [0, 1, 2, 3, 4]
    assert all(len(group.trajectories) == 3 and not group.failures for group in played)
    assert len({tuple(sampled_ids(t)) for group in played for t in group.trajectories}) > 10
    assert player.collect(at_least=1, timeout_s=120) == []


def test_an_order_played_again_samples_the_same(player: GroupPlayer, engine: PolicyEngine, task: Task) -> None:
    for number in (0, 1):
        player.submit([GroupOrder(number, task, (5,))], [engine])
    first, again = player.collect(at_least=2, timeout_s=120)
    assert sampled_ids(first.trajectories[0]) == sampled_ids(again.trajectories[0])


def test_a_broken_video_fails_its_task_and_no_other(
    player: GroupPlayer, engine: PolicyEngine, task: Task, tmp_path: Path
) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    broken = replace(task, id="broken", video=str(tmp_path / "broken.mp4"))
    player.submit([GroupOrder(0, broken, (1, 2)), GroupOrder(1, task, (1, 2))], [engine])
    played = {group.order.id: group for group in player.collect(at_least=2, timeout_s=120)}
    assert [failure.task_id for failure in played[0].failures] == ["broken", "broken"]
    assert "broken.mp4" in played[0].failures[0].error
    assert "\n" not in played[0].failures[0].error
    assert len(played[1].trajectories) == 2


def test_a_newer_policy_than_the_engine_holds_fails_and_says_so(
    player: GroupPlayer, engine: PolicyEngine, task: Task
) -> None:
    player.submit([GroupOrder(0, task, (1,), min_version=3)], [engine])
    (group,) = player.collect(at_least=1, timeout_s=120)
    assert "policy version" in group.failures[0].error


def test_collect_keeps_its_deadline_and_the_rest_plays_on(
    player: GroupPlayer, engine: PolicyEngine, task: Task
) -> None:
    player.submit([GroupOrder(0, task, (1,))], [engine])
    early = player.collect(at_least=1, timeout_s=0.0)
    late = player.collect(at_least=1, timeout_s=120)
    assert len(early) + len(late) == 1


def test_frames_that_the_engine_forgot_are_sent_again(
    player: GroupPlayer, engine: PolicyEngine, model_dir: Path, task: Task
) -> None:
    player.submit([GroupOrder(0, task, (1,))], [engine])
    assert player.collect(at_least=1, timeout_s=120)[0].trajectories
    asyncio.run(engine.load_weights(str(model_dir), 0))
    player.submit([GroupOrder(1, task, (1,))], [engine])
    assert player.collect(at_least=1, timeout_s=120)[0].trajectories


def test_an_order_brings_its_own_sampling(player: GroupPlayer, engine: PolicyEngine, task: Task) -> None:
    greedy = SamplingConfig(temperature=0.0)
    player.submit([GroupOrder(0, task, (1, 2), sampling=greedy), GroupOrder(1, task, (1, 2))], [engine])
    first, second = sorted(player.collect(at_least=2, timeout_s=120), key=lambda group: group.order.id)
    assert sampled_ids(first.trajectories[0]) == sampled_ids(first.trajectories[1])
    assert sampled_ids(second.trajectories[0]) != sampled_ids(second.trajectories[1])
