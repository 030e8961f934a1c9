"""The engine actors of a run: started, watched, restarted, stopped.

Invariant: a handle stays good for the whole run. An engine that died or hangs is restarted behind its handle, by Ray
or by `revive`, and refuses requests for a newer policy version than it holds until it is brought to the present one.
"""

import time

import ray

from actors.engine.engine import PolicyEngine
from actors.engine.handle import EngineHandle
from actors.engine.request import EngineInfo
from actors.errors import EngineError, sentence
from configs.policy import EngineConfig

CALLS_AT_ONCE = 1024
"""Calls that an engine's actor serves at once; more wait in Ray's queue."""
COLOCATED = 0.4
"""Of a GPU that it shares with a learner rank, what Ray books for an engine: a rank, which has the rest, fits beside no
other rank, and beside one engine."""
PING_S = 10.0
"""Deadline of a healthy engine's answer to `ready`, seconds."""


class Engines:
    """`config.engines` engine actors that serve the weights of one model folder."""

    def __init__(self, config: EngineConfig, model_dir: str, seed: int = 0):
        """Start all of them; `wait` returns once they serve."""
        self._config = config
        actor = ray.remote(PolicyEngine).options(**actor_options(config))
        self.handles = [EngineHandle(actor.remote(config, model_dir, 0, seed + i)) for i in range(config.engines)]

    def wait(self) -> list[EngineInfo]:
        """Wait until every engine serves. Raises EngineError: one did not come up within `engine.start_timeout_s`."""
        deadline = time.monotonic() + self._config.start_timeout_s
        return [self._info(handle, deadline - time.monotonic()) for handle in self.handles]

    def revive(self, version: int) -> list[EngineHandle]:
        """Restart every engine that is dead or does not answer.

        Returns:
            The engines that hold another policy than `version`, which is to be published to them: an older one, or one
            from before the run went back to a checkpoint.

        Raises:
            EngineError: one did not come back within `engine.start_timeout_s`.
        """
        behind = []
        for handle in self.handles:
            try:
                info = self._info(handle, PING_S)
            except EngineError:
                info = self._restart(handle)
            if info.version != version:
                behind.append(handle)
        return behind

    def close(self) -> None:
        """Stop all engines."""
        for handle in self.handles:
            ray.kill(handle.actor)
        self.handles = []

    def _restart(self, handle: EngineHandle) -> EngineInfo:
        """Kill and wait for what Ray starts in its place; for a moment the old process may still answer."""
        ray.kill(handle.actor, no_restart=False)
        last_words = time.monotonic() + PING_S
        while True:
            try:
                return self._info(handle, self._config.start_timeout_s)
            except EngineError:
                if time.monotonic() > last_words:
                    raise
                time.sleep(0.2)

    def _info(self, handle: EngineHandle, timeout_s: float) -> EngineInfo:
        """What the engine holds, asked again while its actor is being restarted."""
        deadline = time.monotonic() + max(timeout_s, 1.0)
        while True:
            try:
                info: EngineInfo = ray.get(handle.ready(), timeout=max(0.1, deadline - time.monotonic()))
                return info
            except ray.exceptions.GetTimeoutError:
                raise EngineError(f"engine: does not answer within {timeout_s:.0f} s") from None
            except ray.exceptions.ActorUnavailableError as error:
                if time.monotonic() > deadline:
                    raise EngineError(f"engine: does not come back ({sentence(error)})") from None
                time.sleep(0.2)
            except ray.exceptions.RayActorError as error:
                raise EngineError(f"engine: its process is gone ({sentence(error)})") from None


def actor_options(config: EngineConfig) -> dict[str, object]:
    """Ray's options of one engine actor. On the CPU it reserves no core: there it takes turns with the learner on the
    same few."""
    gpu = config.gpus_per_engine > 0
    return {
        "num_cpus": 1 if gpu else 0,
        "num_gpus": COLOCATED if config.colocate else config.gpus_per_engine,
        "max_restarts": -1,
        "max_concurrency": CALLS_AT_ONCE,
        # Not in the placement group of a Tune trial, which has no bundle for engines.
        "scheduling_strategy": "DEFAULT",
        "runtime_env": {} if gpu else {"env_vars": {"OMP_NUM_THREADS": str(config.cpu_threads)}},
    }
