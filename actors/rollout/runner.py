"""The RLlib env runner: episodes in, trajectories out. It samples from the engines instead of holding a module."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.env.env_runner import EnvRunner

from actors.engine.handle import Engine
from actors.rollout.groups import GroupOrder, GroupPlayer, PlayedGroup
from actors.sam3.tracker import tracker_of
from configs import Config
from env.chat import ChatFormat
from storage.files import JsonObject


class RunnersConfig(AlgorithmConfig):
    """RLlib's config of env runners around ours."""

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class)
        self.run = Config()
        self.model_dir = ""

    def runners(self, run: Config, model_dir: str | Path) -> Self:
        """Set what they play with: `model_dir` is the Hugging Face folder of the policy, for its chat format."""
        self.run, self.seed, self.model_dir = run, run.seed, str(model_dir)
        self.env_runners(
            env_runner_cls=VideoEnvRunner,
            num_env_runners=run.grpo.env_runners,
            create_local_env_runner=False,
            max_requests_in_flight_per_env_runner=1,
            validate_env_runners_after_construction=False,
        )
        self.fault_tolerance(restart_failed_env_runners=True, delay_between_env_runner_restarts_s=1.0)
        return self


class VideoEnvRunner(EnvRunner):
    """Plays groups in the background; each `sample` hands over what is finished."""

    def __init__(self, *, config: RunnersConfig, **kwargs: object):
        super().__init__(config=config, **kwargs)
        run = self.config.run
        chat = ChatFormat.from_pretrained(self.config.model_dir)
        chat.check(run.episode)
        tracker_of(run.episode)  # loads the weights before the first episode's deadline runs
        self._player = GroupPlayer(run, chat, run.sampling, run.grpo.episodes_in_flight)

    def sample(  # type: ignore[override]
        self,
        *,
        orders: Sequence[GroupOrder] = (),
        engines: Sequence[Engine] = (),
        at_least: int = 0,
        timeout_s: float = 0.0,
        **_: object,
    ) -> list[PlayedGroup]:
        """Take on more orders, wait for `at_least` groups (or all there are), and return every finished group. Nothing
        that goes wrong in an episode is raised here; it comes back as a `FailedEpisode` of its group."""
        if orders:
            self._player.submit(orders, engines)
        return self._player.collect(at_least, timeout_s)

    def assert_healthy(self) -> None:
        """Check that the thread which plays the episodes lives."""
        assert self._player.thread.is_alive()

    def get_spaces(self) -> JsonObject:
        """Return none: no RLlib module is built from them."""
        return {}

    def get_metrics(self) -> JsonObject:
        """Return none of RLlib's own: the algorithm computes them from the trajectories."""
        return {}

    def get_state(self, *_: object, **__: object) -> JsonObject:
        """Return none: the algorithm keeps what is to be kept."""
        return {}

    def set_state(self, state: JsonObject) -> None:
        """Do nothing: there is no state."""

    def stop(self) -> None:
        """Abandon what still plays."""
        self._player.close()
