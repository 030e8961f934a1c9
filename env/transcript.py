"""The append-only token stream of an episode, and the finished trajectory.

Invariant: what was sampled stays as it was sampled. Ids are only ever appended (`append_prompt`, `append_turn`);
nothing is decoded and tokenized again. Media are references with their token spans, never pixels.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

from tools.decoding.frame import FrameRef


@dataclass(frozen=True)
class Media:
    """A frame's place in the token stream: `ids[start:start + tokens]` are its placeholder tokens."""

    frame: FrameRef
    start: int
    tokens: int


@dataclass(frozen=True)
class Segment:
    """Tokens to append that no policy sampled: the prompt, or an observation with its turn separators."""

    ids: tuple[int, ...]
    """Expanded: each frame stands as as many placeholder tokens as the model has embeddings for it."""
    media: tuple[Media, ...] = ()
    """Spans relative to the segment's first token."""


@dataclass(frozen=True)
class Turn:
    """What the policy wrote once."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    """The sampler's logprob of each token; zeros for a policy that has none (a script)."""
    text: str
    stop: str
    """Why it ended: `stop` (a stop string or the end of turn) or `length`."""
    version: int = 0
    """Policy version that sampled it."""


@dataclass
class Transcript:
    """Token ids, which of them were sampled, by which version, with which logprob, and the media."""

    ids: list[int] = field(default_factory=list)
    sampled: list[bool] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    """0.0 where not sampled."""
    versions: list[int] = field(default_factory=list)
    """-1 where not sampled."""
    media: list[Media] = field(default_factory=list)

    def append_prompt(self, segment: Segment) -> None:
        """Append tokens that no policy sampled."""
        offset = len(self.ids)
        self.media += [Media(m.frame, m.start + offset, m.tokens) for m in segment.media]
        self._append(segment.ids, False, [0.0] * len(segment.ids), -1)

    def append_turn(self, turn: Turn) -> None:
        """Append what the policy sampled."""
        self._append(turn.ids, True, turn.logprobs, turn.version)

    def _append(self, ids: Any, sampled: bool, logprobs: Any, version: int) -> None:
        if len(ids) != len(logprobs):
            raise ValueError(f"{len(ids)} token ids with {len(logprobs)} logprobs")
        self.ids += ids
        self.sampled += [sampled] * len(ids)
        self.logprobs += logprobs
        self.versions += [version] * len(ids)

    def unexpanded_ids(self) -> list[int]:
        """The ids with each frame's placeholders collapsed to one, as vLLM takes them."""
        ids: list[int] = []
        end = 0
        for media in self.media:
            ids += self.ids[end : media.start + 1]
            end = media.start + media.tokens
        return ids + self.ids[end:]

    @property
    def frames(self) -> list[FrameRef]:
        """The frames in the order of their tokens."""
        return [media.frame for media in self.media]


@dataclass(frozen=True)
class ToolCallRecord:
    """One executed (or refused) tool call."""

    name: str
    arguments: dict[str, Any]
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


@dataclass(frozen=True)
class Rewards:
    """The reward and its parts, each 0 to 1."""

    accuracy: float
    format: float
    parsimony: float
    total: float


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

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    @staticmethod
    def from_dict(row: dict[str, Any]) -> "Trajectory":
        """The inverse of `to_dict`."""
        transcript = row["transcript"]
        media = [Media(FrameRef.from_dict(m["frame"]), m["start"], m["tokens"]) for m in transcript["media"]]
        return Trajectory(
            **{
                **row,
                "transcript": Transcript(**{**transcript, "media": media}),
                "rewards": Rewards(**row["rewards"]),
                "calls": tuple(ToolCallRecord(**call) for call in row["calls"]),
                "prompt_frames": tuple(FrameRef.from_dict(frame) for frame in row["prompt_frames"]),
                "turns": tuple(
                    TurnRecord(t["text"], t["observation"], tuple(FrameRef.from_dict(f) for f in t["frames"]))
                    for t in row["turns"]
                ),
            }
        )
