"""A trajectory turn by turn, for people: reports, traces and replay show the same reading of it.

Invariant: nothing that the policy wrote is left out. A turn that is not well formed keeps its text beside the reading.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from env.trajectory import ToolCallRecord, Trajectory, TurnRecord
from env.turn import SPECIAL_TOKEN, ParsedCall
from storage.files import JsonObject
from tools.decoding.frame import FrameRef

_FRAME = re.compile(r"(?:\d+(?:\.\d+)? s )?\[frame(?: (\d+(?:\.\d+)?) s)?\]")
_TAG = re.compile(r"</?tool_response>")


@dataclass(frozen=True)
class FrameView:
    """A frame and the time it was labelled with."""

    ref: FrameRef
    time_s: float | None
    """Presentation time, seconds; for an image of a video frame, the frame's. None if it is not known."""


@dataclass(frozen=True)
class CallView:
    """A tool call of a turn."""

    name: str
    arguments: JsonObject
    record: ToolCallRecord | None
    """What became of it; None if it was never executed."""

    def __str__(self) -> str:
        """As Python would write the call."""
        return f"{self.name}({', '.join(f'{key}={value!r}' for key, value in self.arguments.items())})"


@dataclass(frozen=True)
class TurnView:
    """One turn and what came back."""

    thought: str
    calls: tuple[CallView, ...]
    answer: str | None
    error: str | None
    """What keeps the turn from being well formed; None if it is."""
    text: str
    """The turn as it was written."""
    observation: str
    """Text that came back, without the frames' labels."""
    frames: tuple[FrameView, ...]


def turn_views(trajectory: Trajectory) -> tuple[TurnView, ...]:
    """The turns of an episode, each with its calls' records and its frames' times."""
    records = list(trajectory.calls)
    return tuple(_turn_view(turn, records) for turn in trajectory.turns)


def marked_frame(trajectory: Trajectory) -> FrameView | None:
    """The marked frame as the policy saw it; None if it never looked."""
    shown = [frame for turn in turn_views(trajectory) for frame in turn.frames]
    shown += [FrameView(ref, None) for ref in trajectory.prompt_frames]
    return next((frame for frame in shown if frame.ref.time_s is None), None)


def _turn_view(turn: TurnRecord, records: list[ToolCallRecord]) -> TurnView:
    parsed = turn.parsed
    observation = _FRAME.sub("", SPECIAL_TOKEN.sub("", turn.observation))
    return TurnView(
        thought=parsed.thought or "",
        calls=tuple(_with_record(call, records) for call in parsed.calls),
        answer=parsed.answer,
        error=parsed.error,
        text=SPECIAL_TOKEN.sub("", turn.text).strip(),
        observation=_TAG.sub("", observation).strip(),
        frames=tuple(_labelled(turn.frames, turn.observation)),
    )


def _labelled(frames: Sequence[FrameRef], observation: str) -> Iterator[FrameView]:
    labels: list[str | None] = [found or None for found in _FRAME.findall(observation)]
    labels += [None] * (len(frames) - len(labels))
    for ref, label in zip(frames, labels, strict=False):
        yield FrameView(ref, float(label) if ref.time_s is None and label else ref.time_s)


def _with_record(call: ParsedCall, records: list[ToolCallRecord]) -> CallView:
    """The call with its record: the first one left that has its name and arguments."""
    for i, record in enumerate(records):
        if (record.name, record.arguments) == (call.name, call.arguments):
            del records[: i + 1]
            return CallView(call.name, call.arguments, record)
    return CallView(call.name, call.arguments, None)
