"""The gymnasium spaces of an episode: what an agent may write, and what it is shown."""

import string

import gymnasium
import numpy as np

from tools.decoding.frame import Content, Frame, FrameRef


class AnyText(gymnasium.spaces.Text):
    """Any text, the empty one too; samples are printable ASCII."""

    def __init__(self, seed: int | np.random.Generator | None = None) -> None:
        super().__init__(max_length=256, min_length=0, charset=string.printable, seed=seed)

    def contains(self, x: object) -> bool:
        return isinstance(x, str)


class ContentSpace(gymnasium.Space[Content]):
    """Tuples of texts and frames whose sides are multiples of `pixel_multiple`."""

    def __init__(self, pixel_multiple: int, seed: int | np.random.Generator | None = None) -> None:
        self.pixel_multiple = pixel_multiple
        super().__init__(seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        """False: contents differ in length and in size."""
        return False

    def sample(self, mask: object = None, probability: object = None) -> Content:
        """A label and a frame of noise."""
        side = self.pixel_multiple
        pixels = self.np_random.integers(0, 256, (side, side, 3), dtype=np.uint8)
        time_s = float(self.np_random.uniform(0, 60))
        return (f"{time_s:.1f} s ", Frame(FrameRef("sample", time_s, side, side), pixels, time_s))

    def contains(self, x: object) -> bool:
        return isinstance(x, tuple) and all(isinstance(part, str) or self._is_frame(part) for part in x)

    def _is_frame(self, part: object) -> bool:
        return (
            isinstance(part, Frame)
            and part.pixels.dtype == np.uint8
            and part.pixels.shape == (part.ref.height, part.ref.width, 3)
            and part.ref.height % self.pixel_multiple == 0
            and part.ref.width % self.pixel_multiple == 0
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ContentSpace) and self.pixel_multiple == other.pixel_multiple

    def __repr__(self) -> str:
        return f"ContentSpace(pixel_multiple={self.pixel_multiple})"
