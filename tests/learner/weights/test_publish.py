"""From real DeepSpeed ranks to a real vLLM engine: the same weights, the same logprobs, and what differs is found."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch

from actors.engine.request import GenerationRequest
from actors.engine.supervision import Engines
from configs import Config, load_config
from env.chat import ChatFormat
from env.trajectory import Rewards, Trajectory
from env.transcript import Transcript
from learner.model.batch import collate
from learner.model.frame_patches import FramePatches, Normalise
from learner.model.scorer import Scorer
from learner.ranks.group import RankGroup
from learner.weights.engines import PublishError
from tests.learner.trajectories import write_frame
from tests.servers.ray_session import shared_ray

pytestmark = pytest.mark.slow
TURNS, FRAMES = 3, 3


@pytest.fixture(scope="module")
def config() -> Config:
    ranks = ["ranks.micro_batch_tokens=400", "ranks.step_timeout_s=240"]
    engine = ["engine.max_model_len=1024", "engine.max_num_seqs=8", "engine.max_num_batched_tokens=1024"]
    return load_config(None, [*ranks, *engine, "engine.kv_cache_gib=0.05"])


@pytest.fixture(scope="module")
def cluster() -> None:
    shared_ray()


@pytest.fixture(scope="module")
def engines(cluster: None, config: Config, model_dir: Path) -> Iterator[Engines]:
    engines = Engines(config.engine, str(model_dir))
    yield engines
    engines.close()


@pytest.fixture(scope="module")
def group(cluster: None, config: Config, model_dir: Path, engines: Engines) -> Iterator[RankGroup]:
    group = RankGroup(config, str(model_dir))
    engines.wait()
    yield group
    group.close()


def sample(handle: Any, chat: ChatFormat, folder: Path, seed: int) -> Trajectory:
    """An episode of several turns, with several frames of different sizes before each."""
    transcript, pixels = Transcript(), []
    for turn in range(TURNS):
        shown = [write_frame(folder, 20 + 10 * seed + FRAMES * turn + i) for i in range(FRAMES)]
        pixels += [frame.pixels for frame in shown]
        content = [part for frame in shown for part in (f"{frame.time_s:.1f} s ", frame)]
        if turn:
            transcript.append_prompt(chat.observation(tuple(content), transcript.ids))
        else:
            transcript.append_prompt(chat.prompt("look", (*content, "what is it?")))
        request = GenerationRequest(
            ids=np.asarray(transcript.ids, np.int32),
            media=tuple(transcript.media),
            frames=tuple(pixels),
            frame_ids=tuple(media.frame.path for media in transcript.media),
            max_tokens=20,
            seed=seed,
        )
        transcript.append_turn(ray.get(handle.generate(request)))
    return Trajectory(f"task-{seed}", transcript, Rewards(0, 0, 0, 0), None, "length", (), (), (), 0.0)


def test_the_engine_gives_the_learners_logprobs_after_each_publish(
    group: RankGroup,
    engines: Engines,
    trajectories: list[Trajectory],
    chat: ChatFormat,
    processor: Any,
    patches: FramePatches,
    folder: Path,
    tmp_path: Path,
) -> None:
    (handle,) = engines.handles
    for version in (1, 2):
        group.sft_step(trajectories, 5e-3)
        report = group.publish([handle], version)
        played = [sample(handle, chat, folder, seed) for seed in range(3)]
        path = group.export(tmp_path / f"policy-{version}")
        scorer = Scorer.from_pretrained(str(path), torch.float32, Normalise(processor.image_processor), chat.banned_ids)
        with torch.no_grad():
            logprobs, _ = scorer(collate(played, None, patches, chat))
        transcripts = [trajectory.transcript for trajectory in played]
        sampled = [p for t in transcripts for p, mask in zip(t.logprobs, t.sampled, strict=True) if mask]
        assert len(sampled) > 3 * TURNS * 2
        np.testing.assert_allclose(logprobs.numpy(), sampled, atol=1e-4)
        assert {v for t in transcripts for v in t.versions if v >= 0} == {version}
        assert report["parameters"] > 20


def test_an_engine_that_holds_other_weights_is_named_and_comes_back_with_the_right_ones(
    group: RankGroup, engines: Engines
) -> None:
    def lie(rank: Any) -> None:
        from learner.weights.vllm_transfer import ParameterSource

        source_class: Any = ParameterSource
        honest = source_class.checksums
        name = "model.visual.merger.linear_fc1.weight"
        source_class.honest = honest
        source_class.checksums = lambda source: {**honest(source), name: honest(source)[name] ^ 1}

    def confess(rank: Any) -> None:
        from learner.weights.vllm_transfer import ParameterSource

        source_class: Any = ParameterSource
        source_class.checksums = source_class.honest

    (rank,) = group._ranks
    ray.get(rank.__ray_call__.remote(lie))
    with pytest.raises(PublishError, match=r"engine 0 failed .*visual\.merger\.linear_fc1\.weight among them"):
        group.publish(engines.handles, 3)
    ray.get(rank.__ray_call__.remote(confess))
    behind = engines.revive(3)
    assert behind == engines.handles
    assert group.publish(behind, 3)["parameters"] > 20
    assert engines.revive(3) == []
    assert engines.revive(2) == engines.handles, "a run that went back to a checkpoint publishes that again"
    assert asyncio.run(_version(engines.handles[0])) == 3


async def _version(handle: Any) -> int:
    return (await handle.ready()).version
