"""The perception tools on one video, for any client of the Model Context Protocol."""

import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from actors.serving.mark import draw_mark, parse_mark
from configs.episode import EpisodeConfig
from tools.decoding.video import decode_process, open_video
from tools.scene import Limits, Scene
from tools.server import serve_http, serve_stdio, tool_server


def serve_tools(path: str, marks: Sequence[str], episode: EpisodeConfig, address: tuple[str, int] | None) -> None:
    """Serve over HTTP at `address`, or None over stdio, until the client leaves or until Ctrl-C, with `marks` as
    `videoseeker ask` takes them. Raises VideoError or MarkError where the video cannot be read or a mark cannot be
    drawn on it, ToolServerError where the address cannot be listened on."""
    video = open_video(path)
    with tempfile.TemporaryDirectory(prefix="videoseeker-") as folder:
        drawn = tuple(
            draw_mark(parse_mark(mark), video, Path(folder) / f"mark{i}.png", episode.tool_timeout_s)
            for i, mark in enumerate(marks)
        )
        server = tool_server(Scene(path, drawn), Limits.of(episode))
        if address is not None:
            serve_http(server, *address, lambda url: print(f"tools at {url}  (Ctrl-C stops)", flush=True))
            return
        # asyncio would answer Ctrl-C by waiting for the thread that reads stdin.
        signal.signal(signal.SIGINT, lambda *_: signal.default_int_handler(signal.SIGINT, None))
        try:
            serve_stdio(server)
            return
        except KeyboardInterrupt:
            print("videoseeker: interrupted", file=sys.stderr, flush=True)
    # The thread that waits for stdin's next line cannot be ended, and would keep the process.
    decode_process().close()
    os._exit(130)
