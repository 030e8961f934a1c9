"""What the engine's thread is given to do, through its queue."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from actors.engine.request import GenerationRequest, TransferStep, WeightReport
from actors.engine.weight_update import WeightUpdate
from env.transcript import Turn


@dataclass(eq=False)
class Job:
    """A request and the future that its turn resolves."""

    id: str
    request: GenerationRequest
    future: "asyncio.Future[Turn]"
    version: int = -1
    """Policy version that samples it; known once it runs."""


@dataclass(eq=False)
class Load:
    """A weight folder and the future that its load resolves."""

    path: str
    version: int
    future: "asyncio.Future[WeightReport]"
    checksums: Mapping[str, int] | None = None

    def run(self, update: WeightUpdate) -> int:
        """Load the folder; the number of parameters whose checksums were compared."""
        return update.reload(self.path, self.checksums)


@dataclass(eq=False)
class Transfer:
    """A step of vLLM's own weight transfer and the future that it resolves."""

    step: TransferStep
    arguments: tuple[object, ...]
    version: int
    """Policy version that the engine holds after the last step."""
    future: "asyncio.Future[WeightReport]"

    def run(self, update: WeightUpdate) -> int:
        """Take the step; the number of parameters whose checksums were compared."""
        steps: dict[TransferStep, Callable[..., int | None]] = {
            "join": update.join,
            "start": update.start,
            "receive": update.receive,
            "finish": update.finish,
        }
        return steps[self.step](*self.arguments) or 0


@dataclass(frozen=True)
class Abort:
    """Nobody waits for this request any more."""

    id: str


class Close:
    """The last item of the queue."""


Work = Job | Load | Transfer
