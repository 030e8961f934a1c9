"""A tiny model folder and trajectories with real frames."""

from pathlib import Path
from typing import Any

import pytest

from configs.policy import TinyModelConfig
from env.chat import ChatFormat
from env.trajectory import Trajectory
from learner.model.frame_patches import FramePatches
from learner.model.tiny import build_tiny_model
from tests.learner.trajectories import make_batch

TEXTS = ["<think>row 2 col 4 red</think><answer>red</answer>", "what is it? look at the frame: 12.0 s"] * 20


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = TinyModelConfig(
        hidden_size=64, layers=2, intermediate_size=64, vision_hidden_size=32, vision_intermediate_size=48
    )
    return build_tiny_model(config, TEXTS, tmp_path_factory.mktemp("tiny"), seed=0)


@pytest.fixture(scope="session")
def chat(model_dir: Path) -> ChatFormat:
    return ChatFormat.from_pretrained(model_dir)


@pytest.fixture(scope="session")
def processor(model_dir: Path) -> Any:
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(model_dir)


@pytest.fixture(scope="session")
def patches(processor: Any) -> FramePatches:
    return FramePatches(processor.image_processor, 2**24)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("frames")


@pytest.fixture(scope="session")
def trajectories(chat: ChatFormat, folder: Path) -> list[Trajectory]:
    return make_batch(chat, folder)
