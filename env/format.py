"""What turns the words and frames of an episode into token ids, whichever the model.

Invariant: an episode of a model whose tokens are unknown is played and kept as any other; only its ids are no tokens.
"""

import dataclasses
from collections.abc import Sequence
from typing import Protocol

from configs.episode import EpisodeConfig
from env.transcript import Segment
from tools.decoding.frame import Content

NO_LIMIT = 2**31 - 1


class Format(Protocol):
    """What turns an episode into token ids."""

    def prompt(self, system: str, content: Content) -> Segment:
        """The system turn (left out if empty), the user's turn, and an open assistant turn."""
        ...

    def observation(self, content: Content, after: Sequence[int]) -> Segment:
        """What follows the ids so far, `after`: what a tool gave back, and the next open turn."""
        ...

    def encode(self, text: str) -> tuple[int, ...]:
        """Ids of a turn that no engine sampled."""
        ...

    def bounded(self, config: EpisodeConfig) -> EpisodeConfig:
        """The settings of an episode with the model's own bounds."""
        ...


class UnknownFormat:
    """Stands for the format of a model that its server keeps to itself: an id is a character, and a frame has none."""

    def prompt(self, system: str, content: Content) -> Segment:
        """The characters of the prompt."""
        return Segment(self.encode(system + _text(content)), ())

    def observation(self, content: Content, after: Sequence[int]) -> Segment:
        """The characters of the observation."""
        return Segment(self.encode(_text(content)), ())

    def encode(self, text: str) -> tuple[int, ...]:
        """The characters of the text."""
        return tuple(map(ord, text))

    def bounded(self, config: EpisodeConfig) -> EpisodeConfig:
        """The settings without limits of tokens, which the server has of its own, and of any size of frame."""
        least = 0 if config.min_pixels is None else config.min_pixels
        return dataclasses.replace(config, max_tokens=NO_LIMIT, max_turn_tokens=NO_LIMIT, min_pixels=least)


def _text(content: Content) -> str:
    return "".join(part for part in content if isinstance(part, str))
