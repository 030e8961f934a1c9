"""The tools over the Model Context Protocol, for any of its clients: one video and its marked frames.

Invariant: a client sees what a policy sees: handles, the same schemas, the same limits, the same sentences when a call
is wrong. Nothing that it sends is opened as a path.
"""

import base64
import io
import os
import socket
from collections.abc import Callable, Sequence

import anyio
import mcp_types as types
import uvicorn
from mcp.server import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from PIL import Image

from storage.files import JsonObject
from tools.decoding.frame import Frame, VideoError
from tools.errors import ToolError
from tools.registry import MARK_TOOLS, TOOLS, call, schemas
from tools.scene import Limits, Scene

INSTRUCTIONS = (
    "Look at one video, video_1. Every frame comes after its true time in the video, in seconds. Coordinates are "
    "thousandths of the frame's width and height."
)
MARKED = " Someone marked a target on {frames}; look at the mark first."
HTTP_PATH = "/mcp"
Context = ServerRequestContext[JsonObject]


class ToolServerError(RuntimeError):
    """The server cannot come up, said in one sentence."""


def tool_server(scene: Scene, limits: Limits, names: Sequence[str] = tuple(TOOLS)) -> Server[JsonObject]:
    """A server of the named tools; without a marked frame, of those that need none.

    Raises:
        ToolError: a name that is no tool.
    """
    offered = [name for name in names if scene.visual_prompts or name not in MARK_TOOLS]
    listed = [
        types.Tool(name=f["name"], description=f["description"], input_schema=f["parameters"])
        for f in (schema["function"] for schema in schemas(offered))
    ]
    frames = " and ".join(f"frame_{i}" for i in range(1, len(scene.visual_prompts) + 1))

    async def list_tools(context: Context, parameters: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=listed)

    async def call_tool(context: Context, parameters: types.CallToolRequestParams) -> types.CallToolResult:
        arguments = parameters.arguments or {}
        try:
            content = await anyio.to_thread.run_sync(call, parameters.name, arguments, offered, scene, limits)
        except (ToolError, VideoError) as error:
            return types.CallToolResult(content=[types.TextContent(text=f"error: {error}")], is_error=True)
        return types.CallToolResult(content=[_part(part) for part in content])

    return Server(
        "videoseeker",
        instructions=INSTRUCTIONS + (MARKED.format(frames=frames) if frames else ""),
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def serve_stdio(server: Server[JsonObject]) -> None:
    """Serve the client at the other end of stdin and stdout until it closes them."""

    async def run() -> None:
        async with stdio_server() as (read, write):
            await server.run(read, write, server.create_initialization_options())

    anyio.run(run)


def serve_http(server: Server[JsonObject], host: str, port: int, on_ready: Callable[[str], None]) -> None:
    """Listen, call `on_ready` with the address, and serve over streamable HTTP until SIGINT or SIGTERM.

    Raises:
        ToolServerError: the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number and number > 0 else str(error)
        raise ToolServerError(f"port {port} of {host} cannot be listened on ({reason})") from None
    with listening:
        on_ready(f"http://{f'[{host}]' if ':' in host else host}:{port}{HTTP_PATH}")
        app = server.streamable_http_app(streamable_http_path=HTTP_PATH, host=host)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])


def _part(part: str | Frame) -> types.TextContent | types.ImageContent:
    if isinstance(part, str):
        return types.TextContent(text=part)
    png = io.BytesIO()
    Image.fromarray(part.pixels).save(png, "PNG")
    return types.ImageContent(data=base64.b64encode(png.getvalue()).decode(), mime_type="image/png")
