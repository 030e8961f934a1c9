"""What a run is at, for whoever watches it."""

from collections.abc import Callable
from typing import Literal

Activity = Literal["rollout", "score", "update", "publish", "between", "writing", "written"]
"""A part of a step, or `between` two of them; beside the steps a checkpoint that is being written, or that was."""
OnActivity = Callable[[Activity], None]


def unwatched(activity: Activity) -> None:
    """Do nothing."""
