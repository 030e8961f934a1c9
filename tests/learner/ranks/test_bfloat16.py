"""Ranks that compute in bfloat16, as on GPUs: every layout follows the gradient of float32, resumes, and converts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from configs import load_config
from env.trajectory import Trajectory
from learner.ranks.group import RankGroup
from tests.learner.ranks.gradient_rank import LR, GradientRank, OtherLayoutRank
from tests.servers.ray_session import shared_ray

pytestmark = pytest.mark.slow
ADVANTAGES = (1.0, -1.0, 0.5, -0.5, 0.0, 2.0)
STEP = 1e-3
LAYOUTS = [
    {"zero_stage": 0, "offload": "none"},
    {"zero_stage": 1, "offload": "none"},
    {"zero_stage": 1, "offload": "optimizer"},
    {"zero_stage": 2, "offload": "none"},
    {"zero_stage": 2, "offload": "optimizer"},
    {"zero_stage": 3, "offload": "none"},
    {"zero_stage": 3, "offload": "all"},
]


@pytest.fixture(scope="module", autouse=True)
def cluster() -> None:
    shared_ray()


def start(model_dir: Path, ranks: Any, *overrides: str) -> RankGroup:
    base = ["ranks.micro_batch_tokens=500", "grpo.kl_coef=0.1", "grpo.max_grad_norm=1e9", "ranks.step_timeout_s=240"]
    return RankGroup(load_config(None, [f"ranks.ranks={ranks}", *base, *overrides]), str(model_dir), str(model_dir))


def gradient(group: RankGroup, trajectories: list[Trajectory]) -> Any:
    """Metrics of a GRPO step, and what it took off the weights over the learning rate."""
    lr = 16 * LR  # the weights that come out have eight bits
    before = group._all(GradientRank.tensors)[0]
    metrics = group.grpo_step(trajectories, ADVANTAGES, lr)
    after = group._all(GradientRank.tensors)[0]
    assert before is not None
    assert after is not None
    return metrics, torch.cat([((before[name].float() - after[name].float()) / lr).flatten() for name in before])


@pytest.fixture(scope="module")
def pair(model_dir: Path, cluster: None) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("learner.ranks.group.Rank", GradientRank)
        group = start(model_dir, 2)
    yield group
    group.close()


@pytest.fixture(scope="module")
def exact(pair: Any, trajectories: list[Trajectory]) -> Any:
    """In float32."""
    return gradient(pair, trajectories)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: "-".join(map(str, layout.values())))
def test_the_gradient_is_that_of_float32(pair: Any, exact: Any, layout: Any, trajectories: list[Trajectory]) -> None:
    pair._all(GradientRank.layout, {"dtype": "bfloat16", **layout})
    metrics, found = gradient(pair, trajectories)
    for key in ("loss", "entropy", "grad_norm"):
        assert metrics[key] == pytest.approx(exact[0][key], rel=0.01), key
    assert float((found - exact[1]).norm() / exact[1].norm()) < 0.025


@pytest.fixture(scope="module")
def saved(
    model_dir: Path, cluster: None, trajectories: list[Trajectory], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """Two ranks of stage 2 with their optimizer on the host: their state after a step, and the weights two steps on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("learner.ranks.group.Rank", OtherLayoutRank)
        group = start(model_dir, 2, "ranks.dtype=bfloat16", "ranks.zero_stage=2", "ranks.offload=optimizer")
    folder = tmp_path_factory.mktemp("saved")
    group.sft_step(trajectories, STEP)
    group.save(folder / "ranks")
    before = load_file(group.export(folder / "before") / "model.safetensors")
    after = two_steps(group, trajectories, folder / "after")
    assert all(before[name].dtype == torch.bfloat16 for name in before)
    assert not any(torch.equal(before[name], after[name]) for name in before)
    group.load(folder / "ranks")
    resumed = two_steps(group, trajectories, folder / "resumed")
    yield group, folder / "ranks", after, resumed
    group.close()


def two_steps(group: RankGroup, trajectories: list[Trajectory], folder: Path) -> Any:
    group.sft_step(trajectories, STEP)
    group.grpo_step(trajectories, ADVANTAGES, STEP)
    return load_file(group.export(folder) / "model.safetensors")


def test_a_resumed_learner_goes_on_bit_for_bit(saved: Any) -> None:
    *_, after, resumed = saved
    assert all(torch.equal(after[name], resumed[name]) for name in after)


@pytest.mark.parametrize(("ranks", "stage", "offload"), [(1, 1, "none"), (2, 3, "all")])
def test_its_state_fits_other_layouts(
    saved: Any, ranks: Any, stage: Any, offload: Any, model_dir: Path, trajectories: list[Trajectory], tmp_path: Path
) -> None:
    group, folder, after, _ = saved
    if ranks == group.config.ranks.ranks:
        group._all(OtherLayoutRank.layout, {"zero_stage": stage, "offload": offload})
        group.config.ranks.zero_stage, group.config.ranks.offload = stage, offload
    else:
        group = start(model_dir, ranks, "ranks.dtype=bfloat16", f"ranks.zero_stage={stage}", f"ranks.offload={offload}")
    group.load(folder)
    weights = two_steps(group, trajectories, tmp_path / "weights")
    if group is not saved[0]:
        group.close()
    moved = torch.cat([(weights[name].float() - after[name].float()).abs().flatten() for name in after])
    assert float(moved.mean()) < 0.01 * STEP
