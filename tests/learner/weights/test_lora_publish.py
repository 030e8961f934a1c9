"""A learner with an adapter and a real engine: merged weights and hot-loaded adapters give the learner's logprobs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from peft import PeftModel
from safetensors.torch import load_file
from transformers import Qwen3VLForConditionalGeneration

from actors.engine.supervision import Engines
from configs import load_config
from env.chat import ChatFormat
from env.trajectory import Trajectory
from learner.ranks.group import RankGroup
from tests.actors.engine.test_engine import learner_logprobs, request_of
from tests.servers.ray_session import shared_ray

pytestmark = pytest.mark.slow
ADVANTAGES = (1.0, -1.0, 0.5, -0.5, 0.0, 2.0)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> None:
    shared_ray()


def started(model_dir: Path, *overrides: Any) -> tuple[RankGroup, Engines]:
    base = ["ranks.lora.rank=4", "ranks.lora.alpha=8", "ranks.packing=true", "ranks.step_timeout_s=240"]
    rest = ["grpo.kl_coef=0.1", "grpo.mini_batches=2", "grpo.prompts_per_step=4", "engine.max_model_len=512"]
    rest += ["engine.kv_cache_gib=0.05"]
    config = load_config(None, [*base, *rest, *overrides])
    return RankGroup(config, str(model_dir), str(model_dir)), Engines(config.engine, str(model_dir))


@pytest.mark.parametrize(
    "overrides",
    [("engine.lora_rank=0",), ("engine.lora_rank=4", "ranks.zero_stage=3")],
    ids=["merged weights", "an adapter, sharded"],
)
def test_after_a_publish_the_engine_has_the_learners_logprobs(
    overrides: Any, model_dir: Path, chat: ChatFormat, trajectories: list[Trajectory], tmp_path: Path
) -> None:
    group, engines = started(model_dir, *overrides)
    try:
        engines.wait()
        request = request_of(chat, max_tokens=48)
        first = ray.get(engines.handles[0].generate(request))
        for version in (1, 2):
            reinforced = group.grpo_step(trajectories, ADVANTAGES, 0.05)
            assert reinforced["kl"] > 0, "the reference is the model without its adapter"
            group.publish(engines.handles, version)
            turn = ray.get(engines.handles[0].generate(request))
            folder = group.export(tmp_path / f"policy-{version}")
            theirs = learner_logprobs(folder, chat, request, turn.ids)
            np.testing.assert_allclose(turn.logprobs, theirs, atol=1e-4)
            assert turn.version == version
        assert np.abs(learner_logprobs(folder, chat, request, first.ids) - first.logprobs).max() > 0.1
        require_adapter_is_the_policy(group.export_adapter(tmp_path / "adapter"), folder, model_dir)
        require_exact_resume(group, trajectories, tmp_path)
    finally:
        group.close()
        engines.close()


def require_adapter_is_the_policy(adapter: Any, folder: Path, model_dir: Path) -> None:
    """Merged by PEFT itself, the adapter saved alone gives the exported weights."""
    model = PeftModel.from_pretrained(Qwen3VLForConditionalGeneration.from_pretrained(model_dir), adapter)
    merged = dict(model.merge_and_unload().named_parameters())
    for name, tensor in load_file(folder / "model.safetensors").items():
        np.testing.assert_allclose(merged[name].detach(), tensor, atol=1e-6, err_msg=name)


def require_exact_resume(group: RankGroup, trajectories: list[Trajectory], tmp_path: Path) -> None:
    """A step after a checkpoint gives the same weights again once the checkpoint is loaded."""
    group.save(tmp_path / "ranks")
    folders = []
    for name in ("went-on", "resumed"):
        group.load(tmp_path / "ranks")
        assert group.sft_step(trajectories, 0.01)["loss"] > 0
        folders.append(group.export(tmp_path / name))
    once, again = (load_file(folder / "model.safetensors") for folder in folders)
    assert all(bool((once[name] == again[name]).all()) for name in once)


@pytest.mark.parametrize(
    ("overrides", "said", "reference"),
    [
        (["ranks.offload=optimizer"], "ranks.offload=optimizer needs ranks.zero_stage >= 1, not 0", None),
        (["ranks.offload=all", "ranks.zero_stage=2"], "ranks.offload=all needs ranks.zero_stage >= 3, not 2", None),
        (["engine.lora_rank=8"], "ranks.lora.rank must be 1 to 8, not 0", None),
        (["engine.lora_rank=8", "ranks.lora.rank=16"], "ranks.lora.rank must be 1 to 8, not 16", None),
        (["engine.lora_rank=8", "ranks.lora.rank=8", "ranks.lora.targets=[q_proj,qkv]"], "language model alone", None),
        (["ranks.lora.rank=8"], "it can't be another", "another"),
        (["engine.lora_rank=8", "ranks.lora.rank=8", "ranks.transport=shared_memory"], "transport at auto", None),
        (["ranks.transport=nccl"], "ranks.transport=nccl takes ranks and engines on GPUs", None),
        (["ranks.transport=shared_memory", "ranks.weights_dir=/shared"], "ranks.weights_dir does nothing", None),
    ],
)
def test_settings_that_do_not_go_together_are_refused_before_anything_starts(
    overrides: Any, said: str, reference: Any, model_dir: Path
) -> None:
    with pytest.raises(ValueError, match=said):
        RankGroup(load_config(None, overrides), str(model_dir), reference)
