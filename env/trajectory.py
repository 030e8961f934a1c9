"""The finished episode, and files of finished episodes.

Invariant: a trajectory comes back from its file as it was; a line of a file that is none is named.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from env.transcript import Media, Transcript
from env.turn import ParsedTurn, parse_turn
from storage.files import JsonObject, numbered_rows, write_rows
from tools.decoding.frame import FrameRef


class TrajectoryError(ValueError):
    """A file of episodes that cannot be used; the message is one sentence."""


@dataclass(frozen=True)
class ToolCallRecord:
    """One executed (or refused) tool call."""

    name: str
    arguments: JsonObject
    ok: bool
    seconds: float
    frames: int = 0
    error: str | None = None


@dataclass(frozen=True)
class TurnRecord:
    """One turn and what came back, for people: reports, traces, replay."""

    text: str
    observation: str
    """Text of the observation with a `[frame 12.3 s]` for each frame; empty after the last turn."""
    frames: tuple[FrameRef, ...] = ()

    @classmethod
    def of(cls, parsed: ParsedTurn, observation: str = "", frames: tuple[FrameRef, ...] = ()) -> "TurnRecord":
        """The record of a turn that has been parsed, which is not parsed again."""
        record = cls(parsed.text, observation, frames)
        record.__dict__["parsed"] = parsed
        return record

    @cached_property
    def parsed(self) -> ParsedTurn:
        """What the text says; for a record that was read from a file it is parsed when it is first asked for."""
        return parse_turn(self.text)


REWARD_PARTS = ("accuracy", "format", "parsimony", "evidence")
"""The parts of a reward, as `Rewards` has them."""


@dataclass(frozen=True)
class Rewards:
    """The reward and its parts, each of them 0 to 1."""

    accuracy: float
    format: float
    parsimony: float
    total: float
    evidence: float = 1.0


@dataclass(frozen=True)
class Trajectory:
    """A finished episode."""

    task_id: str
    transcript: Transcript
    rewards: Rewards
    answer: str | None
    """The parsed answer; None if the episode ended without one."""
    stop: str
    """`answer`, `no_answer`, `length` or `timeout`."""
    calls: tuple[ToolCallRecord, ...]
    prompt_frames: tuple[FrameRef, ...]
    turns: tuple[TurnRecord, ...]
    seconds: float
    """Wall time of the episode."""
    question: str = ""
    expected: str = ""
    dimension: str = ""
    kind: str = ""
    evidence: tuple[tuple[float, float], ...] = ()
    """Stretches of the video, seconds, that had to be seen; none if that is not known."""
    video_frames: int = 0
    """Frames of the video; 0 if that is not known."""
    judge_s: float = 0.0
    """What the judge took, seconds; 0 where the rules were certain."""
    advantage: float | None = None
    """What training made of its reward beside its group's; None where it was not trained on."""

    def to_dict(self) -> JsonObject:
        """Plain JSON types."""
        return asdict(self)

    @staticmethod
    def from_dict(row: JsonObject) -> "Trajectory":
        """The inverse of `to_dict`."""
        transcript = row["transcript"]
        media = [Media(FrameRef.from_dict(m["frame"]), m["start"], m["tokens"]) for m in transcript["media"]]
        return Trajectory(
            **{
                **row,
                "transcript": Transcript(**{**transcript, "media": media}),
                "rewards": Rewards(**row["rewards"]),
                "calls": tuple(ToolCallRecord(**call) for call in row["calls"]),
                "evidence": tuple((start, end) for start, end in row.get("evidence", ())),
                "prompt_frames": _refs(row["prompt_frames"]),
                "turns": tuple(
                    TurnRecord(turn["text"], turn["observation"], _refs(turn["frames"])) for turn in row["turns"]
                ),
            }
        )


def save_trajectories(path: str | Path, trajectories: Iterable[Trajectory]) -> None:
    """Write trajectories as JSONL, whole or not at all; the folder is made where it is missing."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_rows(path, (trajectory.to_dict() for trajectory in trajectories))


def load_trajectories(path: str | Path) -> list[Trajectory]:
    """The trajectories of a JSONL file. Raises TrajectoryError: no such file, or a line that is no trajectory."""
    return list(stream_trajectories(path))


def stream_trajectories(path: str | Path) -> Iterator[Trajectory]:
    """The same, one after the other."""
    return (_parse(row, path, number) for number, row in _rows(path))


def load_trajectory(path: str | Path, index: int = 0) -> Trajectory:
    """One trajectory of a JSONL file, counted from 0; a negative index counts from the end.

    Raises:
        TrajectoryError: no such file, no such trajectory, or a line that is none.
    """
    rows = list(_rows(path))
    if not -len(rows) <= index < len(rows):
        raise TrajectoryError(f"{path}: has no episode {index}; it holds {len(rows)}")
    number, row = rows[index]
    return _parse(row, path, number)


def _rows(path: str | Path) -> Iterator[tuple[int, JsonObject]]:
    try:
        yield from numbered_rows(path)
    except OSError as error:
        raise TrajectoryError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise TrajectoryError(str(error)) from None


def _parse(row: JsonObject, path: str | Path, number: int) -> Trajectory:
    try:
        return Trajectory.from_dict(row)
    except (ValueError, TypeError, KeyError) as error:
        raise TrajectoryError(f"{path}:{number}: not an episode ({type(error).__name__}: {error})") from None


def _refs(rows: Iterable[JsonObject]) -> tuple[FrameRef, ...]:
    return tuple(FrameRef.from_dict(row) for row in rows)
