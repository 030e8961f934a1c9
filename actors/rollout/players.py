"""Orders played to their end outside of training: by engines and env runners of their own, or by those of a run.

Invariant: an order that fails is played again as training plays its own, what it lacks alone and with the same seeds;
one that was given up comes back with what failed, and holds no other back.
"""

import dataclasses
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path

from ray.rllib.env.env_runner_group import EnvRunnerGroup

from actors.engine.supervision import Engines
from actors.errors import RolloutError
from actors.rollout.dispatch import Dispatcher
from actors.rollout.groups import Attempts, GroupOrder, PlayedGroup
from actors.rollout.runner import RunnersConfig, VideoEnvRunner
from configs import Config
from env.chat import ChatFormat
from env.trajectory import Trajectory

STOP_S = 15.0
"""How long runners have for ending what they play, seconds."""


@contextmanager
def players(config: Config, model_dir: str | Path) -> Iterator[Dispatcher]:
    """Engines that serve the model of `model_dir` as policy version 0, and `grpo.env_runners` env runners, for the
    block; they play `eval.episodes_in_flight` episodes at once.

    Raises:
        EngineError: no engine came up.
        RolloutError: an env runner did not.
        ValueError: the frames of its episodes do not fit the model.
    """
    ChatFormat.from_pretrained(model_dir).check(config.episode)
    with closing(Engines(config.engine, str(model_dir), config.seed)) as engines:
        runners = start_runners(RunnersConfig().runners(config, model_dir))
        try:
            engines.wait()
            yield Dispatcher(runners, engines, lambda behind: None, config.eval.episodes_in_flight)
        finally:
            stop_runners(runners)


def start_runners(config: RunnersConfig) -> EnvRunnerGroup:
    """The env runners of a config, once all are up. Raises RolloutError where one is not within
    `engine.start_timeout_s`."""
    runners = EnvRunnerGroup(config=config, local_env_runner=False)
    wanted, timeout_s = config.num_env_runners, config.run.engine.start_timeout_s
    up = runners.foreach_env_runner(VideoEnvRunner.assert_healthy, local_env_runner=False, timeout_seconds=timeout_s)
    if len(up) < wanted:
        stop_runners(runners)
        raise RolloutError(
            f"{len(up)} of {wanted} env runners came up within {timeout_s:g} s; each takes one CPU of the cluster"
        )
    return runners


def stop_runners(runners: EnvRunnerGroup) -> None:
    """End the env runners; those that do not end by themselves in `STOP_S` are killed."""
    runners.foreach_env_runner(VideoEnvRunner.stop, healthy_only=False, local_env_runner=False, timeout_seconds=STOP_S)
    runners.reset([])


def play_all(
    dispatcher: Dispatcher, orders: Iterable[GroupOrder], version: int, timeout_s: float
) -> Iterator[PlayedGroup]:
    """Play orders, each of another number, taken as they are needed, with the weights of policy `version`; each group
    as it ends, with the failures of those of its episodes that were given up. Raises RolloutError where none ends for
    `timeout_s`."""
    upcoming, asked = iter(orders), dict[int, GroupOrder]()
    parts: dict[int, dict[int, Trajectory]] = {}
    attempts = Attempts()
    deadline = time.monotonic() + timeout_s
    while True:
        for order in islice(upcoming, max(0, dispatcher.places - dispatcher.waiting)):
            asked[order.id] = order
            dispatcher.submit([order])
        if not asked:
            return
        dispatcher.hand_out(version)
        for group in dispatcher.collect(version):
            deadline = time.monotonic() + timeout_s
            number = group.order.id
            order, members = asked[number], parts.pop(number, {}) | group.members
            missing = tuple(seed for seed in order.seeds if seed not in members)
            if missing and attempts.another(group):
                parts[number] = members
                dispatcher.submit([dataclasses.replace(order, seeds=missing)])
                continue
            del asked[number]
            played = tuple(members[seed] for seed in order.seeds if seed in members)
            yield PlayedGroup(order, played, group.failures)
        if time.monotonic() > deadline:
            raise RolloutError(f"rollouts: no episode ended within grpo.rollout_timeout_s = {timeout_s:g} s")
