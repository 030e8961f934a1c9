"""The third stage of the synthesis: how the target is looked at, and what masks are good enough to be marked."""

from dataclasses import dataclass


@dataclass
class MaskConfig:
    """Looks at the target's window, and the gates that its masks have to pass."""

    fps: float = 1.0
    """Looks a second (paper, section 3.2, stage 3)."""
    min_looks: int = 3
    """Fewest looks at a window that has as many frames."""
    max_looks: int = 60
    """Most looks at a window, spread evenly: all their masks are in memory at once."""
    timeout_s: float = 600.0
    """Deadline of one record, seconds."""
    min_score: float = 0.5
    """Least score of an instance that is the target."""
    margin: float = 0.2
    """The target is ambiguous where a second instance's score is within this of the first's."""
    min_in_sight: float = 0.5
    """Least share of the looks in which the target is in sight."""
    min_area: float = 0.0005
    """Least area, as a share of the frame, in the middle one of the looks by area."""
    max_area: float = 0.5
    """Most area, as a share of the frame, in the middle one of the looks by area."""
    max_cut: float = 0.4
    """Most of the outline that may lie on the border of the frame, as a share, in the middle one of the looks."""
    max_growth: float = 3.0
    """Most by which the area may grow or shrink from one look to the next, as a factor."""
    min_overlap: float = 0.25
    """Least IoU of the masks of one look and the next, laid on each other by their centroids."""
    max_jump: float = 0.75
    """Farthest that the centroid may move from one look to the next, in diagonals of the frame."""
