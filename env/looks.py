"""Where an episode looked, against where it had to: what is said of seeking. Pure.

A *look* is a call that fetched frames of a stretch of the video. What it shows is what its frames show, however long a
stretch it asked for: a stretch of the evidence is seen if one of the shown frames lies in it, or `SLACK_S` from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from env.trajectory import Trajectory, TurnRecord

Stretch = tuple[float, float]
"""Start and end, seconds."""
SLACK_S = 0.25
"""How far outside of a stretch a frame may lie that shows it, seconds: what is over sooner than the next frame comes is
told by what it changed."""


@dataclass(frozen=True)
class Look:
    """One look."""

    stretch: Stretch
    """What its call asked for."""
    shown: tuple[float, ...]
    """Times of its frames, seconds."""


def looks(turns: Sequence[TurnRecord]) -> list[Look]:
    """The looks of an episode, in order."""
    found = []
    for turn in turns:
        for call in turn.parsed.calls:
            start, end = call.arguments.get("start_time"), call.arguments.get("end_time")
            if isinstance(start, int | float) and isinstance(end, int | float):
                times = tuple(t for t in shown([turn]) if start <= t <= end)
                found += [Look((float(start), float(end)), times)] if times else []
    return found


def shown(turns: Sequence[TurnRecord]) -> list[float]:
    """Times of all frames that tools showed, seconds."""
    return [frame.time_s for turn in turns for frame in turn.frames if frame.time_s is not None]


def share_seen(evidence: Sequence[Stretch], times: Sequence[float]) -> float:
    """Share of the stretches of the evidence that frames at some times show; 1 of none."""
    return fmean(_is_seen(stretch, times) for stretch in evidence) if evidence else 1.0


def _is_seen(stretch: Stretch, times: Sequence[float]) -> bool:
    return any(stretch[0] - SLACK_S <= t <= stretch[1] + SLACK_S for t in times)


def temporal_iou(a: Stretch, b: Stretch) -> float:
    """What two stretches share over what they cover together, 0 to 1."""
    shared = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    covered = (a[1] - a[0]) + (b[1] - b[0]) - shared
    return shared / covered if covered > 0 else 0.0


@dataclass(frozen=True)
class Sought:
    """How one episode sought what its question needs; of an episode whose evidence is known."""

    found: bool
    """Every stretch of the evidence was seen."""
    iou: float
    """Temporal IoU of the last look with the stretch that it fits best; 0 if it never looked."""
    again_after_miss: bool | None
    """Whether it looked again after a first look that missed; None if the first look did not."""
    again_after_hit: bool | None
    """Whether it looked again after a first look that hit; None if that did not, or one look is not enough."""
    frames_share: float
    """Frames that it was shown over frames of the video."""

    @classmethod
    def of(cls, trajectory: Trajectory) -> "Sought | None":
        """How an episode sought; None if it is not known where it had to look."""
        evidence, seen = trajectory.evidence, looks(trajectory.turns)
        if not evidence:
            return None
        hit = bool(seen) and any(_is_seen(stretch, seen[0].shown) for stretch in evidence)
        frames = len(trajectory.prompt_frames) + sum(call.frames for call in trajectory.calls)
        return cls(
            found=share_seen(evidence, shown(trajectory.turns)) == 1.0,
            iou=max(temporal_iou(seen[-1].stretch, stretch) for stretch in evidence) if seen else 0.0,
            again_after_miss=len(seen) > 1 if seen and not hit else None,
            again_after_hit=len(seen) > 1 if hit and len(evidence) == 1 else None,
            frames_share=frames / max(1, trajectory.video_frames),
        )


@dataclass(frozen=True)
class SeekingScores:
    """How the episodes of a set sought whose evidence is known."""

    episodes: int
    found: float
    """Share of them that looked at all the evidence."""
    iou: float
    """Mean temporal IoU of the last look with the evidence."""
    again_after_miss: float | None
    """Chance of a second look after a first one that missed; None if none did."""
    again_after_hit: float | None
    """The same after a first one that hit."""
    frames_share: float
    """Mean share of a video's frames that were looked at."""

    @classmethod
    def of(cls, episodes: Sequence[Sought]) -> "SeekingScores | None":
        """The scores of episodes; None of none."""
        if not episodes:
            return None
        misses = [one.again_after_miss for one in episodes if one.again_after_miss is not None]
        hits = [one.again_after_hit for one in episodes if one.again_after_hit is not None]
        return cls(
            episodes=len(episodes),
            found=fmean(one.found for one in episodes),
            iou=fmean(one.iou for one in episodes),
            again_after_miss=fmean(misses) if misses else None,
            again_after_hit=fmean(hits) if hits else None,
            frames_share=fmean(one.frames_share for one in episodes),
        )

    def metrics(self) -> dict[str, float]:
        """The figures that there are, for a run's log."""
        figures = {
            "found": self.found,
            "look_iou": self.iou,
            "second_look_after_miss": self.again_after_miss,
            "second_look_after_hit": self.again_after_hit,
            "frames_share": self.frames_share,
        }
        return {name: value for name, value in figures.items() if value is not None}
