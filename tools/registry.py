"""The tools by name: their schemas, and the one door through which a call passes."""

from collections.abc import Sequence
from typing import Any

from tools.crop_video import crop_video
from tools.decoding.frame import Content, DeadlineError
from tools.errors import ToolError
from tools.find_instance import find_instance
from tools.scene import Limits, Scene
from tools.tool import Tool, listed, shown
from tools.track_instance import track_instance
from tools.view_frames import view_frames
from tools.view_visual_prompt import view_visual_prompt
from tools.zoom_region import zoom_region

_ALL = (
    Tool(view_visual_prompt),
    Tool(crop_video),
    Tool(view_frames),
    Tool(zoom_region),
    Tool(track_instance, cost=2.0),
    Tool(find_instance, cost=2.0),
)
TOOLS: dict[str, Tool] = {tool.name: tool for tool in _ALL}
"""Every tool there is; a task is offered some of them."""
MARK_TOOLS = frozenset({"view_visual_prompt", "track_instance", "find_instance"})
"""Tools that make no sense without a marked frame."""


def schemas(names: Sequence[str]) -> list[dict[str, Any]]:
    """The named tools in OpenAI function form.

    Raises:
        ToolError: a name that is no tool.
    """
    for name in names:
        if name not in TOOLS:
            raise ToolError(f"there is no tool '{name}'; the tools are {listed(TOOLS)}")
    return [TOOLS[name].schema() for name in names]


def cost_of(name: str) -> float:
    """What a call by this name counts for in R_par; 1 where there is no such tool."""
    return TOOLS[name].cost if name in TOOLS else 1.0


def call(name: str, arguments: dict[str, Any], offered: Sequence[str], scene: Scene, limits: Limits) -> Content:
    """Carry out one call of a policy.

    Raises:
        ToolError: the tool is not offered, the arguments are wrong, or it took too long; the message is for the policy.
        VideoError: the scene's own file cannot be read; no fault of the policy's.
    """
    if not isinstance(name, str) or name not in TOOLS or name not in offered:
        known = [tool for tool in offered if tool in TOOLS]
        hint = f"the tools are {listed(known)}" if known else "there are no tools; answer the question"
        called = name if isinstance(name, str) else shown(name)
        raise ToolError(f"there is no tool '{called[:40]}' here; {hint}")
    if not isinstance(arguments, dict) or not all(isinstance(key, str) for key in arguments):
        raise ToolError(f"the arguments of {name} must be a JSON object, not {shown(arguments)}")
    scene.require_confined()
    try:
        return TOOLS[name].run(scene, limits, **arguments)
    except DeadlineError:
        raise ToolError(f"{name} took longer than {limits.timeout_s:g} s; ask for less") from None
