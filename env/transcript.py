"""The append-only token stream of an episode.

Invariant: what was sampled stays as it was sampled. Ids are only ever appended (`append_prompt`, `append_turn`);
nothing is decoded and tokenized again. Media are references with their token spans, never pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

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

    def _append(self, ids: Sequence[int], sampled: bool, logprobs: Sequence[float], version: int) -> None:
        if len(ids) != len(logprobs):
            raise ValueError(f"{len(ids)} token ids with {len(logprobs)} logprobs")
        self.ids += ids
        self.sampled += [sampled] * len(ids)
        self.logprobs += logprobs
        self.versions += [version] * len(ids)

    @property
    def sampled_tokens(self) -> int:
        """How many of the tokens a policy sampled."""
        return sum(self.sampled)

    @property
    def frames(self) -> list[FrameRef]:
        """The frames in the order of their tokens."""
        return [media.frame for media in self.media]


def unexpanded(ids: Sequence[int], media: Sequence[Media]) -> list[int]:
    """The ids with each frame's placeholders collapsed to one, as vLLM takes them; `media` has the spans, in order."""
    kept: list[int] = []
    end = 0
    for span in media:
        kept += ids[end : span.start + 1]
        end = span.start + span.tokens
    return [*kept, *ids[end:]]
