import json
import math
import re
from pathlib import Path
from typing import Annotated, Any

import pytest
from PIL import Image

from configs.episode import TOOL_NAMES
from tests.films import movies
from tools.decoding.frame import Content, Frame
from tools.decoding.video import VideoError
from tools.errors import ToolError
from tools.marks.visual_prompt import VisualPrompt
from tools.registry import TOOLS, call, cost_of, schemas
from tools.scene import Limits, Scene
from tools.tool import Tool

BOTH = ("view_visual_prompt", "crop_video")
LIMITS = Limits(
    tool_max_pixels=96 * 96,
    crop_fps=2.0,
    crop_max_frames=8,
    view_max_frames=4,
    track_max_s=10.0,
    search_max_frames=40,
    pixel_multiple=32,
    timeout_s=30.0,
)


@pytest.fixture
def scene(films: dict[str, str], tmp_path: Path) -> Scene:
    marks = []
    for i in (1, 2):
        path = str(tmp_path / f"mark{i}.png")
        Image.fromarray(movies.picture(i)).save(path)
        marks.append(VisualPrompt(path, 10.25 + i))
    return Scene(films["even"], tuple(marks))


def frames(content: Content) -> list[Frame]:
    return [part for part in content if isinstance(part, Frame)]


def text(content: Content) -> str:
    return "".join(part if isinstance(part, str) else "[frame]" for part in content)


def test_schemas_are_made_of_the_signatures() -> None:
    view, crop = json.loads(json.dumps(schemas(BOTH)))
    assert view["type"] == "function"
    assert view["function"]["parameters"] == {
        "type": "object",
        "properties": {
            "frame": {"type": "string", "description": "Handle of the marked frame.", "default": "frame_1"},
        },
        "required": [],
        "additionalProperties": False,
    }
    parameters = crop["function"]["parameters"]
    assert {name: p["type"] for name, p in parameters["properties"].items()} == {
        "start_time": "number",
        "end_time": "number",
        "video": "string",
    }
    assert parameters["required"] == ["start_time", "end_time"]
    assert crop["function"]["description"].startswith("Look closer at a stretch")
    with pytest.raises(ToolError, match="the tools are view_visual_prompt, crop_video, view_frames,"):
        schemas(["zoom"])


def test_the_marked_frame_comes_with_its_time(scene: Scene) -> None:
    content = call("view_visual_prompt", {}, BOTH, scene, LIMITS)
    assert text(content) == "marked frame at 11.2 s: [frame]"
    assert movies.number(frames(content)[0].pixels) == 1
    (second,) = frames(call("view_visual_prompt", {"frame": "frame_2"}, BOTH, scene, LIMITS))
    assert movies.number(second.pixels) == 2
    assert second.time_s == 12.25


def test_a_crop_gives_labelled_frames(scene: Scene) -> None:
    content = call("crop_video", {"start_time": 2, "end_time": 4.0, "video": "video_1"}, BOTH, scene, LIMITS)
    assert text(content) == "frames from 2.0 s to 4.0 s: 2.2 s [frame]2.8 s [frame]3.2 s [frame]3.8 s [frame]"
    assert [movies.number(frame.pixels) for frame in frames(content)] == [18, 22, 26, 30]
    assert all(frame.pixels.shape == (96, 96, 3) for frame in frames(content))


def test_a_crop_is_limited_and_clamped_and_says_so(scene: Scene, films: dict[str, str]) -> None:
    content = call("crop_video", {"start_time": 18.0, "end_time": 500}, BOTH, scene, LIMITS)
    assert text(content).startswith("frames from 18.0 s to 20.0 s (the video ends at 20.0 s): ")
    assert len(frames(content)) == 4
    assert len(frames(call("crop_video", {"start_time": 0, "end_time": 20}, BOTH, scene, LIMITS))) == 8
    late = Scene(films["late"], scene.visual_prompts)
    content = call("crop_video", {"start_time": 0, "end_time": 100}, BOTH, late, LIMITS)
    assert text(content).startswith("frames from 5.0 s to 17.5 s (the video starts at 5.0 s and ends at 17.5 s): ")


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("crop_video", {"start_time": -1, "end_time": 3}, "start_time must be 0 or more, not -1"),
        ("crop_video", {"start_time": 5, "end_time": 5}, "start_time (5) must be less than end_time (5)"),
        ("crop_video", {"start_time": 6.5, "end_time": 5}, "start_time (6.5) must be less than end_time (5)"),
        ("crop_video", {"start_time": "2", "end_time": 3}, "start_time must be a plain number such as 12.5, not '2'"),
        ("crop_video", {"start_time": 1, "end_time": True}, "end_time must be a plain number such as 12.5, not True"),
        ("crop_video", {"start_time": 1, "end_time": None}, "end_time must be a plain number such as 12.5, not None"),
        ("crop_video", {"start_time": 1, "end_time": [3]}, "end_time must be a plain number such as 12.5, not [3]"),
        ("crop_video", {"start_time": math.nan, "end_time": 3}, "start_time must be a finite number"),
        ("crop_video", {"start_time": 1, "end_time": math.inf}, "end_time must be a finite number"),
        ("crop_video", {"start_time": 1, "end_time": 10**400}, "end_time must be a finite number"),
        ("crop_video", {"start_time": 1, "end_time": 10**5000}, "end_time must be a finite number"),
        ("crop_video", {"start_time": 20, "end_time": 30}, "the video ends at 20.0 s"),
        ("crop_video", {"start_time": 1}, "crop_video needs end_time; it takes start_time, end_time and video"),
        ("crop_video", {}, "crop_video needs start_time and end_time"),
        ("crop_video", {"start_time": 1, "end_time": 3, "fps": 4}, "crop_video has no argument 'fps'; it takes"),
        ("crop_video", {"start_time": 1, "end_time": 3, "scene": 4}, "crop_video has no argument 'scene'"),
        ("crop_video", {"start_time": 1, "end_time": 3, "self": 4}, "crop_video has no argument 'self'"),
        (
            "crop_video",
            {"start_time": 1, "end_time": 3, "video": "/etc/passwd"},
            "no video '/etc/passwd'; the only one",
        ),
        ("crop_video", {"start_time": 1, "end_time": 3, "video": 1}, "video must be a string, not 1"),
        ("crop_video", [1, 3], "the arguments of crop_video must be a JSON object, not [1, 3]"),
        ("crop_video", {1: 3}, "the arguments of crop_video must be a JSON object"),
        ("view_visual_prompt", {"frame": "frame_3"}, "no frame 'frame_3'; the marked frames are frame_1 and frame_2"),
        ("view_visual_prompt", {"frame": 1}, "frame must be a string, not 1"),
        ("zoom", {}, "there is no tool 'zoom' here; the tools are view_visual_prompt and crop_video"),
        (["zoom"], {}, "there is no tool '['zoom']' here"),
    ],
)
def test_a_wrong_call_is_told_what_would_be_right(scene: Scene, name: Any, arguments: Any, message: str) -> None:
    with pytest.raises(ToolError, match=re.escape(message)) as caught:
        call(name, arguments, BOTH, scene, LIMITS, strict=True)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("name", "plain", "written"),
    [
        ("crop_video", {"start_time": 0.5, "end_time": 1.5}, {"start_time": "0.5", "end_time": " 1.5 "}),
        ("crop_video", {"start_time": 1, "end_time": 20}, {"start_time": "1", "end_time": "2e1"}),
        ("view_frames", {"times": [0.5, 1]}, {"times": "[0.5, 1]"}),
        ("view_frames", {"times": [0.5, 1]}, {"times": ["0.5", 1]}),
        ("view_frames", {"times": [3]}, {"times": 3}),
        ("view_frames", {"times": [3]}, {"times": "3"}),
        ("zoom_region", {"time": 1, "box": [0, 0, 500, 500]}, {"time": "1", "box": "[0, 0, 500, 500]"}),
    ],
)
def test_numbers_written_as_text_are_read_but_not_from_the_policy(
    scene: Scene, name: str, plain: dict[str, Any], written: dict[str, Any]
) -> None:
    assert text(call(name, written, [*TOOLS], scene, LIMITS)) == text(call(name, plain, [*TOOLS], scene, LIMITS))
    with pytest.raises(ToolError, match="must be a"):
        call(name, written, [*TOOLS], scene, LIMITS, strict=True)


@pytest.mark.parametrize("written", ["", "soon", "true", "NaN", "1e999", "[1]", "[" * 10_000, "null", "{}", "01"])
def test_text_that_is_no_number_is_refused(scene: Scene, written: str) -> None:
    with pytest.raises(ToolError, match="end_time must be a"):
        call("crop_video", {"start_time": 0, "end_time": written}, BOTH, scene, LIMITS)


def test_a_tool_that_is_not_offered_is_refused(scene: Scene) -> None:
    with pytest.raises(ToolError, match="no tool 'crop_video' here; the tools are view_visual_prompt"):
        call("crop_video", {"start_time": 1, "end_time": 2}, BOTH[:1], scene, LIMITS)
    with pytest.raises(ToolError, match="there are no tools; answer the question"):
        call("crop_video", {"start_time": 1, "end_time": 2}, (), scene, LIMITS)


def test_an_unreadable_video_is_not_the_callers_fault(tmp_path: Path) -> None:
    scene = Scene(str(tmp_path / "gone.mp4"), ())
    with pytest.raises(VideoError, match="no such file"):
        call("crop_video", {"start_time": 1, "end_time": 2}, BOTH, scene, LIMITS)


def test_a_tool_needs_described_parameters() -> None:
    def blink(scene: Scene, limits: Limits, times: int) -> Content:
        """Blink."""
        return (f"{times}",)

    with pytest.raises(TypeError, match="must be Annotated"):
        Tool(blink).schema()


def test_every_tool_is_found_by_its_name() -> None:
    assert [tool.name for tool in TOOLS.values()] == list(TOOLS) == list(TOOL_NAMES)
    assert set(BOTH) < set(TOOLS)
    assert all(0 < len(tool.description) < 250 for tool in TOOLS.values())


def brightness(scene: Scene, limits: Limits, time: Annotated[float, "Time of the frame, in seconds."]) -> Content:
    """Say how bright a frame is."""
    return (f"bright at {time}",)


def test_a_tool_of_ones_own_is_offered_by_module_and_function(scene: Scene) -> None:
    offered = ("crop_video", f"{__name__}:brightness")
    assert [schema["function"]["name"] for schema in schemas(offered)] == ["crop_video", "brightness"]
    assert call("brightness", {"time": 2}, offered, scene, LIMITS) == ("bright at 2.0",)
    assert cost_of("brightness", offered) == 1.0
    with pytest.raises(ToolError, match="the tools are crop_video and brightness"):
        call("view_frames", {}, offered, scene, LIMITS)
