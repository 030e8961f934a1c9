"""The tools by name: their schemas, and the one door through which a call passes."""

from collections.abc import Sequence
from typing import Any

from tools.base import Limits, Scene, Tool, ToolError, listed, shown
from tools.crop_video import crop_video
from tools.frame import Content
from tools.view_visual_prompt import view_visual_prompt

TOOLS: dict[str, Tool] = {tool.name: tool for tool in (Tool(view_visual_prompt), Tool(crop_video))}
"""Every tool there is; a task is offered some of them."""


def schemas(names: Sequence[str]) -> list[dict[str, Any]]:
    """The named tools in OpenAI function form.

    Raises:
        ToolError: a name that is no tool.
    """
    for name in names:
        if name not in TOOLS:
            raise ToolError(f"there is no tool '{name}'; the tools are {listed(TOOLS)}")
    return [TOOLS[name].schema() for name in names]


def call(name: str, arguments: dict[str, Any], offered: Sequence[str], scene: Scene, limits: Limits) -> Content:
    """Carry out one call of a policy.

    Raises:
        ToolError: the tool is not offered, or the arguments are wrong; the message is for the policy.
        VideoError: the scene's own file cannot be read; no fault of the policy's.
    """
    if not isinstance(name, str) or name not in TOOLS or name not in offered:
        known = [tool for tool in offered if tool in TOOLS]
        hint = f"the tools are {listed(known)}" if known else "there are no tools; answer the question"
        raise ToolError(f"there is no tool '{str(name)[:40]}' here; {hint}")
    if not isinstance(arguments, dict) or not all(isinstance(key, str) for key in arguments):
        raise ToolError(f"the arguments of {name} must be a JSON object, not {shown(arguments)}")
    return TOOLS[name].run(scene, limits, **arguments)
