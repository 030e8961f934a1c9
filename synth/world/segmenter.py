"""The segmenter of the procedural world: exact masks, and all that a tag could be taken for.

Invariant: whatever looks, at any of the times, as the tag says is among the instances, with score 1. The target is
never behind another, so a tag that fits another better is ambiguous, not mistaken for it.
"""

import time
from collections.abc import Sequence

from configs.world import WorldConfig
from synth.record import Record
from synth.segmenter import SegmentedInstance
from synth.world.render import instance_mask
from synth.world.sampling import make_world
from synth.world.world import COLOURS, SHAPES, Instance, World
from tools.decoding.frame import DeadlineError
from tools.decoding.video import open_video

SMALL_RADIUS = 0.115
"""Below this a thing is called small, else large; a share of the frame."""
ALIKE_RADIUS = 0.01
"""A thing this close to the limit may as well be called the other, a share of the frame."""
WORDS = frozenset({*COLOURS, *SHAPES, "small", "large", "striped"})
"""What a tag can say of a thing; its other words are passed over."""


def tag_of(world: World, index: int) -> str:
    """Stable visual attributes of an instance: `small red square`, `large blue striped circle`."""
    thing = world.instances[index]
    size = "small" if thing.radius < SMALL_RADIUS else "large"
    return " ".join([size, thing.colour, *(["striped"] if thing.striped else []), thing.shape])


class WorldSegmenter:
    """Knows the masks of videos of the procedural world, from `record.facts`: `{"seed": ..., "target": index}`."""

    def __init__(self, config: WorldConfig) -> None:
        self._config = config

    def instances(self, record: Record, times: Sequence[float], timeout_s: float) -> list[SegmentedInstance]:
        """Instances in sight at any of the times, each scored by the tag's words that fit what is seen of it at its
        most fitting time, the surest first; none if the target itself is out of sight. See `Segmenter`.

        Raises:
            ValueError: the record is not of the procedural world, or has no target yet.
        """
        deadline = time.monotonic() + timeout_s
        seed, target = record.facts.get("seed"), record.facts.get("target")
        if not isinstance(seed, int) or not isinstance(target, int) or record.target is None:
            raise ValueError(
                f"record {record.id}: has no target, or no seed and target of the procedural world in its facts; for "
                "other videos choose another segmenter than 'world'"
            )
        world = make_world(seed, self._config)
        if not 0 <= target < len(world.instances):
            raise ValueError(f"record {record.id}: world {seed} has {len(world.instances)} instances, none is {target}")
        size_px = open_video(record.video, timeout_s).width
        # As the frames were rendered: the container's own times may be off by a rounding, and blinks have sharp ends.
        moments = [round(time_s * self._config.fps) / self._config.fps for time_s in times]
        asked = WORDS & set(record.target.tag.lower().replace(",", " ").split())
        scores, masks = {}, {}
        for index in range(len(world.instances)):
            if time.monotonic() > deadline:
                raise DeadlineError(f"{record.video}: masks of the world took longer than {timeout_s:g} s")
            looks = [instance_mask(world, index, t, size_px) for t in moments]
            seen = [t for t, mask in zip(moments, looks, strict=True) if mask.any()]
            if seen:
                masks[index] = tuple(mask if mask.any() else None for mask in looks)
                scores[index] = max(_fit(asked, world.instances[index], world.colour(index, t)) for t in seen)
        if target not in scores:
            return []
        scores[target] = max(scores.values())
        order = sorted(scores, key=lambda index: (-scores[index], index != target))
        return [SegmentedInstance(masks[index], scores[index]) for index in order]


def _fit(asked: frozenset[str], thing: Instance, colour: str | None) -> float:
    """1 if all the words fit a thing in a colour, else less than half; a tag that says nothing fits them all."""
    fitting = {colour, thing.shape}
    if thing.radius < SMALL_RADIUS + ALIKE_RADIUS:
        fitting.add("small")
    if thing.radius > SMALL_RADIUS - ALIKE_RADIUS:
        fitting.add("large")
    if thing.striped:
        fitting.add("striped")
    return 1.0 if asked <= fitting else len(asked & fitting) / len(asked) / 2
