"""The typed face of an engine, in this process or in an actor.

Invariant: nobody calls an engine's actor but by an `EngineHandle`, whose methods are those of `PolicyEngine`.
"""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Protocol

from ray.actor import ActorHandle

from actors.engine.request import EngineInfo, GenerationRequest, TransferStep, WeightReport
from env.transcript import Turn


class Engine(Protocol):
    """What samples turns: a `PolicyEngine` of this process, or the `EngineHandle` of one."""

    def generate(self, request: GenerationRequest) -> Awaitable[Turn]:
        """See `PolicyEngine.generate`."""
        ...


@dataclass(frozen=True)
class EngineHandle:
    """An engine actor. A method begins its call and returns at once; await what it returns, or pass it to `ray.get`.
    Handles of the same actor are equal, and travel between processes."""

    actor: ActorHandle

    def ready(self) -> Awaitable[EngineInfo]:
        return self.actor.ready.remote()

    def generate(self, request: GenerationRequest) -> Awaitable[Turn]:
        return self.actor.generate.remote(request)

    def load_weights(
        self, path: str, version: int, checksums: Mapping[str, int] | None = None
    ) -> Awaitable[WeightReport]:
        return self.actor.load_weights.remote(path, version, checksums)

    def transfer_weights(self, step: TransferStep, version: int, *arguments: object) -> Awaitable[WeightReport]:
        return self.actor.transfer_weights.remote(step, version, *arguments)
