"""The tools by name: their schemas, and the one door through which a call passes."""

from collections.abc import Sequence
from functools import cache

from configs.own_code import own_code
from storage.files import JsonObject
from tools.crop_video import crop_video
from tools.decoding.frame import BusyError, Content, DeadlineError
from tools.decoding.waiting import waits
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


def offered_tools(names: Sequence[str]) -> dict[str, Tool]:
    """The tools of `episode.tools`, by the names that a policy calls them by. A name of the form `module:function` is a
    tool of your own.

    Raises:
        ToolError: a name that is no tool.
        ConfigError: a tool of your own that cannot be imported.
    """
    return {tool.name: tool for tool in map(_tool, names)}


@cache
def _tool(name: str) -> Tool:
    if ":" in name:
        found = own_code("episode.tools", name)
        return found if isinstance(found, Tool) else Tool(found)
    if name not in TOOLS:
        raise ToolError(f"there is no tool '{name}'; the tools are {listed(TOOLS)}")
    return TOOLS[name]


def schemas(names: Sequence[str]) -> list[JsonObject]:
    """The named tools in OpenAI function form. Raises ToolError, ConfigError: as `offered_tools`."""
    return [tool.schema() for tool in offered_tools(names).values()]


def cost_of(name: str, offered: Sequence[str] = ()) -> float:
    """What a call by this name counts for in R_par; 1 where there is no such tool."""
    tool = (TOOLS | offered_tools(offered)).get(name)
    return tool.cost if tool else 1.0


def call(
    name: str, arguments: JsonObject, offered: Sequence[str], scene: Scene, limits: Limits, strict: bool = False
) -> Content:
    """Carry out one call.

    Args:
        strict: refuse numbers that are written as text, which other people's clients send. The policy's own form is
            strict, so that it learns one.

    Raises:
        ToolError: the tool is not offered, the arguments are wrong, or it took too long; the message is for the policy.
        VideoError: the scene's own file cannot be read, or what reads it was busy; no fault of the policy's.
    """
    tools = offered_tools(offered)
    if not isinstance(name, str) or name not in tools:
        hint = f"the tools are {listed(tools)}" if tools else "there are no tools; answer the question"
        called = name if isinstance(name, str) else shown(name)
        raise ToolError(f"there is no tool '{called[:40]}' here; {hint}")
    if not isinstance(arguments, dict) or not all(isinstance(key, str) for key in arguments):
        raise ToolError(f"the arguments of {name} must be a JSON object, not {shown(arguments)}")
    scene.require_confined()
    try:
        with waits(limits.timeout_s):
            return tools[name].run(scene, limits, strict, **arguments)
    except BusyError:
        raise
    except DeadlineError:
        raise ToolError(f"{name} took longer than {limits.timeout_s:g} s; ask for less") from None
