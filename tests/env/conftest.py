"""A real MP4 with a marked frame, and a model folder with a real tokenizer and processor."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from configs.policy import TinyModelConfig
from env.chat import ChatFormat
from env.task import Task
from tests.models.tiny import build_tiny_model
from tools.marks.visual_prompt import VisualPrompt

FPS = 8
DURATION_S = 4
SIDE = 64


def write_video(path: Path) -> None:
    """One second each of four shades of grey."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "10"})
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        for i in range(FPS * DURATION_S):
            pixels = np.full((SIDE, SIDE, 3), 40 + 50 * (i // FPS), np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.fixture(scope="session")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `video.mp4` and its marked frame `mark.png`."""
    folder = tmp_path_factory.mktemp("footage")
    write_video(folder / "video.mp4")
    Image.fromarray(np.full((SIDE, SIDE, 3), (255, 0, 0), np.uint8)).save(folder / "mark.png")
    return folder


@pytest.fixture(scope="session")
def task(footage: Path) -> Task:
    """An open question about the footage."""
    mark = VisualPrompt(str(footage / "mark.png"), 1.5, "rectangle")
    return Task("t1", str(footage / "video.mp4"), "What colour is it?", "red", "OA", (mark,))


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen3-VL folder."""
    texts = ["<think>row 2 col 4 red</think><answer>red</answer>", "What colour is the marked one at 12.3 s?"] * 20
    config = TinyModelConfig(hidden_size=32, layers=1, intermediate_size=32, vision_hidden_size=32, vision_layers=1)
    return build_tiny_model(config, texts, tmp_path_factory.mktemp("model"), seed=0)


@pytest.fixture(scope="session")
def chat(model_dir: Path) -> ChatFormat:
    """The chat format of that folder."""
    return ChatFormat.from_pretrained(model_dir)
