"""Episodes with real frames for the tests of everything that shows or tracks an episode."""

import json
from pathlib import Path

import av
import numpy as np
from PIL import Image

from env.trajectory import Rewards, ToolCallRecord, Trajectory, TurnRecord
from env.transcript import Media, Transcript
from tools.decoding.frame import FrameRef

FPS, SECONDS, SIZE = 8, 24, 192
MARK_S = 4.5


def write_video(path: Path) -> Path:
    """24 s of H.264: a red square that crosses the picture over a grey gradient."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "20", "preset": "ultrafast"})
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for i in range(FPS * SECONDS):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(draw(i / FPS), format="rgb24")))
        container.mux(stream.encode())
    return path


def draw(time_s: float) -> np.ndarray:
    """The video's picture at a time: [192, 192, 3] uint8."""
    pixels = np.repeat(np.linspace(90, 190, SIZE, dtype=np.uint8)[None, :, None], SIZE, 0).repeat(3, 2)
    left = int(10 + 140 * time_s / SECONDS)
    pixels[70:110, left : left + 40] = (200, 40, 40)
    return pixels


def write_mark(path: Path) -> Path:
    """The frame at `MARK_S` with a yellow box around the square."""
    pixels, left = draw(MARK_S), int(10 + 140 * MARK_S / SECONDS)
    pixels[64:116, left - 6 : left + 46][[0, 1, -2, -1]] = (250, 220, 0)
    pixels[64:116, left - 6 : left + 46][:, [0, 1, -2, -1]] = (250, 220, 0)
    Image.fromarray(pixels).save(path)
    return path


def write_media(folder: Path) -> Path:
    """A folder with `video.mp4` and `mark.png`."""
    write_video(folder / "video.mp4")
    write_mark(folder / "mark.png")
    return folder


def make_episode(
    folder: Path, task_id: str = "square-1", answer: str | None = "red", accuracy: float = 1.0
) -> Trajectory:
    """Looks at the mark, fails one crop, crops rightly, answers (or, without an answer, runs out of rounds)."""
    video = str(folder / "video.mp4")
    look = tuple(FrameRef(video, time_s, 96, 96) for time_s in (1.5, 4.5, 7.5, 10.5, 13.5, 16.5, 19.5, 22.5))
    crop = tuple(FrameRef(video, time_s, 96, 96) for time_s in (20.125, 20.625, 21.125))
    mark = FrameRef(str(folder / "mark.png"), None, 96, 96)
    view = ("view_visual_prompt", {"frame": "frame_1"})
    bad, good = (
        ("crop_video", {"start_time": 23.0, "end_time": 20.0}),
        ("crop_video", {"start_time": 20.0, "end_time": 21.5}),
    )
    turns = [
        TurnRecord(_call("I must see the mark.", *view), "marked frame at 4.5 s: [frame 4.5 s]", (mark,)),
        TurnRecord(_call("The square near the end.", *bad), "error: start_time must lie before end_time", ()),
        TurnRecord(
            _call("The other way round.", *good),
            "frames from 20.0 s to 21.5 s: 20.1 s [frame 20.1 s]20.6 s [frame 20.6 s]21.1 s [frame 21.1 s]",
            crop,
        ),
    ]
    last = "<think>It is" if answer is None else f"<think>It is {answer}.</think><answer>{answer}</answer><|im_end|>"
    return Trajectory(
        task_id=task_id,
        transcript=_transcript(look),
        rewards=Rewards(accuracy, 1.0, 0.4, 0.8 * accuracy + 0.17),
        answer=answer,
        stop="answer" if answer else "length",
        calls=(
            ToolCallRecord(*view, True, 0.01, 1),
            ToolCallRecord(*bad, False, 0.001, 0, "start_time must lie before end_time"),
            ToolCallRecord(*good, True, 0.05, 3),
        ),
        prompt_frames=look,
        turns=(*turns, TurnRecord(last, "", ())),
        seconds=2.5,
        question="What colour does the marked <shape> have at the end?",
        expected="red",
        dimension="FT",
    )


def _call(thought: str, name: str, arguments: dict) -> str:
    return f"<think>{thought}</think><tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


def _transcript(frames: tuple[FrameRef, ...]) -> Transcript:
    media = [Media(frame, 9 * i, 9) for i, frame in enumerate(frames)]
    prompt, sampled = 9 * len(frames), 40
    return Transcript(
        ids=[0] * (prompt + sampled),
        sampled=[False] * prompt + [True] * sampled,
        logprobs=[0.0] * prompt + [-0.5] * sampled,
        versions=[-1] * prompt + [0] * sampled,
        media=media,
    )
