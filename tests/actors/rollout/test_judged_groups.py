"""Groups whose answers a language model judges: a real server that goes and comes, episodes that are there already."""

import dataclasses
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from actors.engine.handle import Engine
from actors.rollout import groups
from actors.rollout.groups import Attempts, GroupOrder, GroupPlayer, PlayedGroup
from configs import Config
from configs.endpoint import EndpointConfig
from configs.judge import JudgeConfig
from configs.policy import SamplingConfig
from env.chat import ChatFormat
from env.task import Task
from tests.films.sample_episode import make_episode
from tests.servers.chat_server import ChatServer, chat_server
from tools.marks.visual_prompt import VisualPrompt

TASK = Task("t", "v.mp4", "What is it?", "A red car.", "OA", (VisualPrompt("mark.png", 1.0, "point"),))
SEEDS = (1, 2, 3, 4)
NO_ENGINE = cast(Engine, None)


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as made:
        made.script = agrees
        yield made


def agrees(text: str) -> str:
    """The car that is red, in whatever words, is right; all else is neither."""
    if "Right answer" in text:
        return json.dumps({"other_answer": "A blue van."})
    place = "1" if 'Statement 1: "A red car."' in text else "2"
    says = place if '"the car, red"' in text else "neither"
    return json.dumps({"reason": "", "agrees_with": says, "wholly": True})


@pytest.fixture
def played_seeds() -> list[int]:
    return []


@pytest.fixture
def player(
    server: ChatServer, tmp_path: Path, media: Path, monkeypatch: pytest.MonkeyPatch, played_seeds: list[int]
) -> Iterator[Callable[..., Any]]:
    """Makes a player whose episodes with an even seed answer rightly in other words, and the others wrongly."""
    made: list[GroupPlayer] = []
    plain = make_episode(media, accuracy=0.0)

    async def played(task: Task, policy: Any, *_: object) -> Any:
        played_seeds.append(policy._seed)
        return dataclasses.replace(plain, task_id=task.id, answer="the car, red" if policy._seed % 2 == 0 else "a dog")

    monkeypatch.setattr(groups, "play", played)

    def make(**judge: Any) -> GroupPlayer:
        model = EndpointConfig(base_url=server.url, model="m", retries=0, timeout_s=20, busy_wait_s=0.0)
        config = Config(runs_dir=str(tmp_path), judge=JudgeConfig(by="model", model=model, **judge))
        made.append(GroupPlayer(config, cast(ChatFormat, None), SamplingConfig(), in_flight=2))
        made[-1].submit([GroupOrder(7, TASK, SEEDS)], [NO_ENGINE])
        return made[-1]

    yield make
    for one in made:
        one.close()


def one_group(player: GroupPlayer) -> PlayedGroup:
    [group] = player.collect(at_least=1, timeout_s=60)
    return group


def test_the_judge_s_verdict_is_the_reward(player: Callable[..., GroupPlayer]) -> None:
    group = one_group(player())
    assert [episode.rewards.accuracy for episode in group.trajectories] == [0.0, 1.0, 0.0, 1.0]
    reward = Config().episode.reward
    gained = group.trajectories[1].rewards.total - group.trajectories[0].rewards.total
    assert gained == pytest.approx(reward.alpha)
    assert all(episode.judge_s > 0 for episode in group.trajectories)


def test_a_judge_that_is_away_for_a_while_costs_no_episode(
    player: Callable[..., GroupPlayer], server: ChatServer
) -> None:
    back = threading.Event()
    server.script = lambda text: agrees(text) if back.is_set() else 500
    waiting = player()
    assert waiting.collect(at_least=1, timeout_s=0.5) == []
    back.set()
    group = one_group(waiting)
    assert not group.failures
    assert [episode.rewards.accuracy for episode in group.trajectories] == [0.0, 1.0, 0.0, 1.0]


def test_places_are_free_while_the_judge_is_asked(
    player: Callable[..., GroupPlayer], server: ChatServer, played_seeds: list[int]
) -> None:
    server.held = lambda _: True
    player()
    deadline = time.monotonic() + 60
    while sorted(played_seeds) != list(SEEDS):
        assert time.monotonic() < deadline, "there are two places, and four episodes that wait for their verdicts"
        time.sleep(0.01)


def test_a_judge_that_is_not_waited_for_leaves_its_episodes_out(
    player: Callable[..., GroupPlayer], server: ChatServer
) -> None:
    server.script = lambda _: 500
    group = one_group(player(unreachable="drop"))
    assert not group.trajectories
    assert [(failure.seed, failure.dropped) for failure in group.failures] == [(seed, True) for seed in SEEDS]
    assert "judge: cannot be reached" in group.failures[0].error
    assert not Attempts().another(group), "they are not played again"


def test_what_the_judge_says_nothing_of_is_played_again_and_no_reward(
    player: Callable[..., GroupPlayer], server: ChatServer
) -> None:
    server.script = lambda text: "who knows?" if "a dog" in text or "An earlier reply" in text else agrees(text)
    group = one_group(player())
    assert [failure.seed for failure in group.failures] == [1, 3]
    assert "no usable verdict" in group.failures[0].error
    assert Attempts().another(group)
