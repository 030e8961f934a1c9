"""The RLlib env runner: episodes in, trajectories out. It samples from the engines instead of holding a module."""

from collections.abc import Sequence

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.env.env_runner import EnvRunner

from actors.engine.handle import Engine
from actors.rollout.groups import GroupOrder, GroupPlayer, PlayedGroup
from actors.sam3.tracker import tracker_of
from env.chat import ChatFormat
from storage.files import JsonObject


class VideoEnvRunner(EnvRunner):
    """Plays groups in the background; each `sample` hands over what is finished."""

    def __init__(self, *, config: AlgorithmConfig, **kwargs: object):
        """`config.run` is our `Config`, `config.model_dir` the model folder that the chat format is read from."""
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
