"""What the learner is measured against does the same work on the same tokens."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

from benchmarks.episodes import film, long_episode, make_steps
from benchmarks.learner import DEMO, OBJECTIVE, VOCABULARY
from benchmarks.peers.bare_pytorch import BarePytorch
from benchmarks.peers.trl_step import prepared
from configs import Config, load_config
from env.chat import ChatFormat
from learner.model.frame_patches import FramePatches, Normalise
from learner.model.tiny import build_tiny_model
from learner.ranks.group import RankGroup
from tests.servers.ray_session import shared_ray
from tools.decoding.video import Video, read_frame

SMALL = ("model.tiny.hidden_size=64", "model.tiny.layers=2", "grpo.group_size=2", "ranks.micro_batch_tokens=600")


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config(DEMO, [*OBJECTIVE, *SMALL])


@pytest.fixture(scope="module")
def model_dir(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(config.model.tiny, VOCABULARY, tmp_path_factory.mktemp("bench") / "model", 0)


@pytest.fixture(scope="module")
def chat(model_dir: Path) -> ChatFormat:
    return ChatFormat.from_pretrained(model_dir)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Video:
    return film(tmp_path_factory.mktemp("film") / "film.mp4", 6)


def test_no_two_steps_share_a_frame(chat: ChatFormat, video: Video, config: Config) -> None:
    steps = make_steps(chat, video, config, 3, tasks=2)
    frames = [{frame for t in step.trajectories for frame in t.transcript.frames} for step in steps]
    assert all(frames)
    assert not frames[0] & frames[1] | frames[0] & frames[2] | frames[1] & frames[2]
    assert [len(step.trajectories) for step in steps] == [4] * 3


@pytest.mark.parametrize("tokens", [256, 1000])
def test_a_long_episode_has_exactly_its_tokens(chat: ChatFormat, video: Video, config: Config, tokens: int) -> None:
    transcript = long_episode(chat, video, config, tokens, 0.2).transcript
    assert len(transcript.ids) == tokens
    assert 0.2 * tokens <= transcript.sampled_tokens < 0.2 * tokens + 20
    assert transcript.media


def test_trl_is_given_the_same_tokens_and_pictures(
    chat: ChatFormat, video: Video, config: Config, model_dir: Path
) -> None:
    processor = AutoProcessor.from_pretrained(model_dir)
    patches, normalise = FramePatches(processor.image_processor, 2**24), Normalise(processor.image_processor)
    (step,) = make_steps(chat, video, config, 1, tasks=2)
    given: dict[str, Any] = prepared(step.trajectories, step.advantages, patches, normalise, chat)
    for i, trajectory in enumerate(step.trajectories):
        prompt, completion = (
            given[f"{part}_ids"][i][given[f"{part}_mask"][i] == 1] for part in ("prompt", "completion")
        )
        assert torch.cat([prompt, completion]).tolist() == trajectory.transcript.ids
        trained = given["completion_ids"][i][given["completion_mask"][i] * given["tool_mask"][i] == 1].tolist()
        transcript = trajectory.transcript
        assert trained == [token for token, sampled in zip(transcript.ids, transcript.sampled, strict=True) if sampled]
    shown = [frame for trajectory in step.trajectories for frame in trajectory.transcript.frames]
    images = [Image.fromarray(np.array(read_frame(frame))) for frame in shown]
    expected = processor.image_processor(images=images, return_tensors="pt")
    assert torch.equal(given["pixel_values"], expected["pixel_values"])
    assert torch.equal(given["image_grid_thw"], expected["image_grid_thw"])
    assert sum(given["num_images"]) == len(shown)


@pytest.mark.slow
def test_bare_pytorch_makes_the_ranks_update(chat: ChatFormat, video: Video, config: Config, model_dir: Path) -> None:
    """Loss and gradient of two steps, so that the first update has left both with the same weights."""
    steps = make_steps(chat, video, config, 2, tasks=2)
    shared_ray()
    group, bare = RankGroup(config, str(model_dir)), BarePytorch(config, str(model_dir))
    try:
        for step in steps:
            ours = group.grpo_step(step.trajectories, step.advantages, 1e-3)
            assert bare.prepare(step.trajectories, step.advantages) > 1
            theirs = bare.step(1e-3)
            assert theirs["loss"] == pytest.approx(ours["loss"], rel=1e-4, abs=1e-5)
            assert theirs["grad_norm"] == pytest.approx(ours["grad_norm"], rel=1e-3)
        whole = bare.step(0.0, whole_logits=True)
        assert whole["loss"] == pytest.approx(bare.step(0.0)["loss"], rel=1e-4, abs=1e-5)
    finally:
        group.close()
