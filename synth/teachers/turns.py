"""How a scripted teacher writes its turns: a thought, and a call or an answer."""

import json
from collections.abc import Callable, Sequence

from env.environment import VideoEnv
from synth.world.world import SLOT_S

VIEW, CROP = "view_visual_prompt", "crop_video"
SEE, CONCLUDE = "Say what you see.", "Say what follows."
"""What lessons of one turn ask for in place of an episode's instructions."""
GUESS, NOT_HERE, CLOSER, AGAIN = "This should be right.", "Not here.", "Closer.", "Once more."

Step = Callable[[VideoEnv], str]
"""Writes a turn from what has been seen."""


def looked_at(env: VideoEnv) -> list[float]:
    """Times of the frames of the last closer look, seconds."""
    looks = [turn for turn in env.turns if CROP in turn.text and turn.frames]
    return [frame.time_s for frame in looks[-1].frames if frame.time_s is not None] if looks else []


def slot_between(times: Sequence[float], slot_s: float) -> tuple[float, float]:
    """The stretch between two frames of a look, by their times, that holds what happens in a slot, by its start."""
    start = max((t for t in times if t <= slot_s + 0.75), default=slot_s)
    return start, min((t for t in times if t >= slot_s + 3.25), default=slot_s + SLOT_S)


def look(thought: str, stretch: tuple[float, float]) -> str:
    """The turn that fetches a stretch, seconds."""
    start, end = (round(edge, 1) for edge in stretch)
    return call(thought, CROP, start_time=start, end_time=end)


def call(thought: str, name: str, **arguments: float) -> str:
    """A turn that calls a tool."""
    asked = json.dumps({"name": name, "arguments": arguments})
    return f"<think>{thought}</think><tool_call>{asked}</tool_call>"


def answered(thought: str, text: str | None) -> str:
    """A turn that answers."""
    # With its space the word is the same token as in the thought.
    return f"<think>{thought}</think><answer> {text}</answer>"
