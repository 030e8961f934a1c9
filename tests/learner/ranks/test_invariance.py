"""One loss and one gradient, however the work is laid out: micro-batches, packing, ranks, ZeRO stages, offload."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from configs import load_config
from env.trajectory import Trajectory
from learner.ranks.group import RankGroup
from tests.learner.ranks.gradient_rank import LR, GradientRank
from tests.servers.ray_session import shared_ray

pytestmark = pytest.mark.slow
ADVANTAGES = (1.0, -1.0, 0.5, -0.5, 0.0, 2.0)
WHOLE, CUT = 10**6, 250
"""Micro-batches of everything at once, and of one to three trajectories."""
STAGES = [
    {"zero_stage": 0},
    {"zero_stage": 1},
    {"zero_stage": 2, "offload": "optimizer"},
    {"zero_stage": 3, "offload": "none"},
    {"zero_stage": 3, "offload": "all", "gradient_checkpointing": True},
]
KEYS = ("loss", "entropy", "tokens")


@pytest.fixture(scope="module", autouse=True)
def cluster() -> None:
    shared_ray()


def start(model_dir: Path, ranks: int, *overrides: str) -> RankGroup:
    base = [f"ranks.ranks={ranks}", "grpo.kl_coef=0.1", "grpo.max_grad_norm=1e9", "ranks.step_timeout_s=240"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("learner.ranks.group.Rank", GradientRank)
        return RankGroup(load_config(None, [*base, *overrides]), str(model_dir), str(model_dir))


@pytest.fixture(scope="module")
def single(model_dir: Path, cluster: None) -> Iterator[RankGroup]:
    group = start(model_dir, 1)
    yield group
    group.close()


@pytest.fixture(scope="module", params=[1, 2], ids=["one rank", "two ranks"])
def group(request: pytest.FixtureRequest, single: RankGroup, model_dir: Path) -> Iterator[RankGroup]:
    if request.param == 1:
        yield single
        return
    group = start(model_dir, request.param)
    yield group
    group.close()


def gradients(group: RankGroup, step: Any, before: Any) -> Any:
    """Metrics of a step and, by name, what it took off the weights, over the learning rate."""
    metrics = step()
    after = group._all(GradientRank.tensors)[0]
    assert after is not None
    return metrics, {name: (before[name] - tensor) / LR for name, tensor in after.items()}


def supervised(group: RankGroup, trajectories: list[Trajectory]) -> Any:
    before = group._all(GradientRank.tensors)[0]
    return gradients(group, lambda: group.sft_step(trajectories, LR), before)


def reinforced(group: RankGroup, trajectories: list[Trajectory]) -> Any:
    before = group._all(GradientRank.tensors)[0]
    return gradients(group, lambda: group.grpo_step(trajectories, ADVANTAGES, LR), before)


@pytest.fixture(scope="module")
def expected(single: RankGroup, trajectories: list[Trajectory]) -> Any:
    """One rank, one padded micro-batch, no ZeRO."""
    found = []
    for step in (supervised, reinforced):
        single._all(GradientRank.layout, {"zero_stage": 0, "offload": "none"})
        single._all(GradientRank.cut, False, WHOLE)
        found.append(step(single, trajectories))
    return found


def require_same(ours: Any, theirs: Any, what: Any) -> None:
    for key in (key for key in KEYS if key in theirs[0]):
        assert ours[0][key] == pytest.approx(theirs[0][key], rel=1e-5, abs=1e-7), (what, key)
    assert ours[0]["grad_norm"] == pytest.approx(theirs[0]["grad_norm"], rel=1e-5), what
    for name, gradient in theirs[1].items():
        gap = float((ours[1][name] - gradient).norm())
        # A weight of size w holds a step of size LR * g to 6e-8 * w / LR.
        assert gap <= 1e-5 * float(gradient.norm()) + 1e-8, (what, name, gap / float(gradient.norm()))


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: "-".join(map(str, stage.values())))
def test_the_layout_changes_neither_loss_nor_gradient(
    group: RankGroup, expected: Any, trajectories: list[Trajectory], stage: Any
) -> None:
    for step, theirs, cuts in (
        (supervised, expected[0], [(True, WHOLE), (False, CUT)]),
        (reinforced, expected[1], [(True, CUT)]),
    ):
        for packing, tokens in cuts:
            group._all(GradientRank.layout, stage)
            group._all(GradientRank.cut, packing, tokens)
            require_same(step(group, trajectories), theirs, f"{step.__name__} packing={packing} tokens={tokens}")
