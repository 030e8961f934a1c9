"""Offer the agent a tool of your own, and call it as the agent would: `python examples/add_a_tool.py`."""

import json
import tempfile
from pathlib import Path
from typing import Annotated

from configs import load_config
from env.environment import VideoEnv
from env.prompt import readable
from env.turn import ParsedCall, write_turn
from synth.world.tasks import make_video
from tools.decoding.frame import Content
from tools.handles import VIDEO, video_of
from tools.registry import schemas
from tools.scene import Limits, Scene

DEMO = Path(__file__).parents[1] / "configs" / "demo.yaml"


def brightness(scene: Scene, limits: Limits, time: Annotated[float, "Time of the frame, in seconds."]) -> Content:
    """Measure how bright the video is at a time."""
    video = video_of(scene, VIDEO, limits)
    [frame] = video.frames_at([time], limits.tool_max_pixels, limits.pixel_multiple, limits.timeout_s)
    return (f"{frame.pixels.mean():.0f} of 255 at {frame.time_s:.1f} s ", frame)


def main() -> None:
    config = load_config(DEMO, [f"episode.tools=[view_visual_prompt,'{__name__}:brightness']"])
    print(json.dumps(schemas(config.episode.tools)[1], indent=2))
    with tempfile.TemporaryDirectory() as folder:
        env = VideoEnv(config.episode, make_video("train", 0, config, Path(folder)))
        env.reset(seed=0)
        content, *_ = env.step(write_turn("How bright is it?", ParsedCall("brightness", {"time": 2.0})))
        print(readable(content))
        env.step(write_turn("That is all I need.", "red"))
    print(env.result())


if __name__ == "__main__":
    main()
