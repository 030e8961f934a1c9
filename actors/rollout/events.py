"""What an episode reports as it goes on: a `FirstLook`, by turns `TurnTaken` and `Observed`, and at last `Ended`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from env.turn import ParsedTurn
from tools.decoding.frame import Content, Frame


@dataclass(frozen=True)
class FirstLook:
    """The frames of the prompt."""

    frames: tuple[Frame, ...]


@dataclass(frozen=True)
class TurnTaken:
    """What the policy wrote, before its tools run."""

    index: int
    turn: ParsedTurn


@dataclass(frozen=True)
class Observed:
    """What came back from the tools."""

    index: int
    content: Content


@dataclass(frozen=True)
class Ended:
    """How the episode ended."""

    answer: str | None
    stop: str
    seconds: float


EpisodeEvent = FirstLook | TurnTaken | Observed | Ended
OnEvent = Callable[[EpisodeEvent], Awaitable[None]]
"""Called with each event; the episode waits for it."""
