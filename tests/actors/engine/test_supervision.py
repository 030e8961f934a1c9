"""Engine actors: what dies comes back behind its handle, and is known to be behind."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from actors.engine.engine import PolicyEngine
from actors.engine.supervision import Engines
from actors.errors import EngineError, sentence
from actors.rollout.engine_policy import EnginePolicy
from actors.rollout.loop import play
from configs.episode import EpisodeConfig
from configs.policy import EngineConfig, SamplingConfig
from env.chat import ChatFormat
from env.task import Task
from tests.servers.ray_session import shared_ray

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def engines(engine_config: EngineConfig, model_dir: Path) -> Iterator[Engines]:
    shared_ray()
    engines = Engines(engine_config, str(model_dir))
    yield engines
    engines.close()


def episode_of(engines: Engines, task: Task, chat: ChatFormat, episode: EpisodeConfig, **options: Any) -> Any:
    policy = EnginePolicy(engines.handles[0], SamplingConfig(), seed=3, **options)
    return asyncio.run(play(task, policy, chat, episode))


def engine_pid(handle: Any) -> int:
    return ray.get(handle.actor.__ray_call__.remote(lambda _: os.getpid()))


def test_a_killed_engine_comes_back_behind_its_handle(
    engines: Engines, model_dir: Path, task: Task, chat: ChatFormat, episode: EpisodeConfig
) -> None:
    (info,) = engines.wait()
    assert info.version == 0
    first = episode_of(engines, task, chat, episode)
    ray.get(engines.handles[0].load_weights(str(model_dir), 4))
    assert engines.revive(version=4) == []

    os.kill(engine_pid(engines.handles[0]), signal.SIGKILL)
    assert engines.revive(version=4) == engines.handles
    with pytest.raises(EngineError, match="policy version") as refusal:
        episode_of(engines, task, chat, episode, min_version=4)
    assert "\n" not in sentence(refusal.value)

    ray.get(engines.handles[0].load_weights(str(model_dir), 4))
    assert engines.revive(version=4) == []
    again = episode_of(engines, task, chat, episode, min_version=4)
    assert again.transcript.ids == first.transcript.ids
    assert {version for version in again.transcript.versions if version >= 0} == {4}


def test_a_handle_that_travelled_is_the_same_engine(engines: Engines) -> None:
    (handle,) = engines.handles
    assert {handle, ray.get(ray.put(handle))} == {handle}


def test_an_engine_whose_thread_died_is_restarted(engines: Engines) -> None:
    def break_step(engine: PolicyEngine) -> None:
        engine._vllm._engine.step = None

    handle = engines.handles[0]
    before = engine_pid(handle)
    ray.get(handle.actor.__ray_call__.remote(break_step))
    ray.get(handle.actor.__ray_call__.remote(lambda engine: engine._vllm.queue.put(object())))
    engines.revive(version=0)
    assert engine_pid(handle) != before
