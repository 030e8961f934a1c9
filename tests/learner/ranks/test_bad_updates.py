"""Updates that are left out: what is not finite, or can't be read, on one rank leaves no trace on any."""

import copy
import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from configs import load_config
from env.trajectory import Trajectory
from learner.ranks.group import RankGroup
from learner.sft import run_sft
from learner.training_stopped import TrainingStopped
from tests.learner.ranks.gradient_rank import OtherLayoutRank
from tests.servers.ray_session import shared_ray

pytestmark = pytest.mark.slow
LR = 1e-3
ADVANTAGES = (1.0, -1.0, 0.5, -0.5, 0.0, 2.0)
OVERFLOW = (1e30, -1e30, 1e30, -1e30, 1e30, -1e30)
"""Advantages with which the loss is finite and the square of the gradient is not."""
LAYOUTS = [
    {"zero_stage": 0, "offload": "none", "dtype": "float32"},
    {"zero_stage": 1, "offload": "none", "dtype": "float32"},
    {"zero_stage": 1, "offload": "optimizer", "dtype": "float32"},
    {"zero_stage": 2, "offload": "none", "dtype": "float32"},
    {"zero_stage": 2, "offload": "optimizer", "dtype": "float32"},
    {"zero_stage": 3, "offload": "none", "dtype": "float32"},
    {"zero_stage": 3, "offload": "optimizer", "dtype": "float32"},
    {"zero_stage": 3, "offload": "all", "dtype": "float32"},
    {"zero_stage": 0, "offload": "none", "dtype": "bfloat16"},
    {"zero_stage": 1, "offload": "none", "dtype": "bfloat16"},
    {"zero_stage": 1, "offload": "optimizer", "dtype": "bfloat16"},
    {"zero_stage": 2, "offload": "none", "dtype": "bfloat16"},
    {"zero_stage": 2, "offload": "optimizer", "dtype": "bfloat16"},
    {"zero_stage": 3, "offload": "none", "dtype": "bfloat16"},
    {"zero_stage": 3, "offload": "all", "dtype": "bfloat16"},
]
FIRST = LAYOUTS[0]


@pytest.fixture(scope="module")
def pair(model_dir: Path) -> Iterator[RankGroup]:
    """Two ranks; the trajectories make three passes on each."""
    shared_ray()
    base = ["ranks.ranks=2", "ranks.micro_batch_tokens=100", "ranks.step_timeout_s=240", "grpo.kl_coef=0.1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("learner.ranks.group.Rank", OtherLayoutRank)
        group = RankGroup(load_config(None, base), str(model_dir), str(model_dir))
    yield group
    group.close()


def weights(group: RankGroup) -> dict[str, torch.Tensor]:
    tensors = group._all(OtherLayoutRank.tensors)[0]
    assert tensors is not None
    return {name: tensor.clone() for name, tensor in tensors.items()}


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(ours[name], theirs[name]) for name in theirs)


def broken(trajectories: Sequence[Trajectory], number: int) -> list[Trajectory]:
    """The same, one with log-probabilities that are no numbers."""
    spoilt = copy.deepcopy(list(trajectories))
    spoilt[number].transcript.logprobs[:] = [math.nan] * len(spoilt[number].transcript.logprobs)
    return spoilt


def without_picture(trajectory: Trajectory) -> Trajectory:
    """The same, whose frames are gone."""
    lost = copy.deepcopy(trajectory)
    lost.transcript.media[:] = [
        dataclasses.replace(media, frame=dataclasses.replace(media.frame, path=f"{media.frame.path}.gone"))
        for media in lost.transcript.media
    ]
    return lost


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: "-".join(map(str, layout.values())))
def test_an_update_that_is_left_out_leaves_no_trace(
    pair: RankGroup, layout: Any, trajectories: list[Trajectory]
) -> None:
    pair._all(OtherLayoutRank.layout, layout)
    pair.grpo_step(trajectories, ADVANTAGES, LR)
    before = weights(pair)
    pair.grpo_step(trajectories[::-1], ADVANTAGES, LR)
    after = weights(pair)
    assert not same(after, before)

    pair._all(OtherLayoutRank.layout, layout)
    pair.grpo_step(trajectories, ADVANTAGES, LR)
    for number, (spoilt, advantages) in enumerate(
        [
            (broken(trajectories, 5), ADVANTAGES),
            (broken(trajectories, 0), ADVANTAGES),
            (trajectories, (math.inf, *ADVANTAGES[1:])),
            (list(map(without_picture, trajectories)), ADVANTAGES),
        ],
        1,
    ):
        metrics = pair.grpo_step(spoilt, advantages, LR)
        assert (metrics["updates"], metrics["bad_updates"], metrics["bad_in_a_row"]) == (0, 1, number)
        assert metrics["unreadable_trajectories"] == (len(trajectories) if number == 4 else 0)
        assert all(map(math.isfinite, metrics.values()))
        assert same(weights(pair), before)
    metrics = pair.grpo_step(trajectories[::-1], ADVANTAGES, LR)
    assert (metrics["updates"], metrics["bad_updates"], metrics["bad_in_a_row"]) == (1, 0, 0)
    assert same(weights(pair), after), "bit for bit"


def test_a_gradient_that_overflows_is_left_out_though_the_loss_is_finite(
    pair: RankGroup, trajectories: list[Trajectory]
) -> None:
    pair._all(OtherLayoutRank.layout, FIRST)
    before = weights(pair)
    metrics = pair.grpo_step(trajectories, OVERFLOW, LR)
    assert (metrics["updates"], metrics["bad_updates"]) == (0, 1)
    assert same(weights(pair), before)


def test_a_step_tells_the_means_of_the_updates_that_were_made(pair: RankGroup, trajectories: list[Trajectory]) -> None:
    settings = {"mini_batches": 2, "prompts_per_step": 2}  # three tasks: two updates, of one and of two
    pair._all(OtherLayoutRank.layout, FIRST)
    pair._all(OtherLayoutRank.objective, settings)
    metrics = pair.grpo_step(broken(trajectories, 0), ADVANTAGES, LR)
    after = weights(pair)
    pair._all(OtherLayoutRank.layout, FIRST)
    alone = pair.grpo_step(trajectories[2:], ADVANTAGES[2:], LR)
    assert (metrics["updates"], metrics["bad_updates"], metrics["bad_in_a_row"]) == (2, 1, 1)
    assert alone["updates"] == 2
    told = {"bad_updates", "bad_in_a_row", "seconds", "loading_seconds"}
    assert {k: v for k, v in metrics.items() if k not in told} == {k: v for k, v in alone.items() if k not in told}
    assert metrics["mismatch_tokens"] > 0, "the first update that is made is measured by the engine's own weights"
    assert same(after, weights(pair))


@pytest.mark.parametrize("layout", [FIRST, {"zero_stage": 3, "offload": "none"}], ids=["stage0", "stage3"])
@pytest.mark.parametrize("old", ["engine", "learner"])
def test_a_picture_that_is_gone_costs_its_trajectory_and_nothing_else(
    pair: RankGroup, trajectories: list[Trajectory], layout: Any, old: str
) -> None:
    """Without a KL the loss that is left is that of an advantage of 0."""
    pair._all(OtherLayoutRank.objective, {"old_logprobs": old, "mini_batches": 1, "prompts_per_step": 3, "kl_coef": 0})
    pair._all(OtherLayoutRank.layout, layout)
    lost = [without_picture(t) if i == 3 else t for i, t in enumerate(trajectories)]
    metrics = pair.grpo_step(lost, ADVANTAGES, LR)
    assert (metrics["unreadable_trajectories"], metrics["updates"]) == (1, 1)
    assert metrics["tokens"] == sum(t.transcript.sampled_tokens for i, t in enumerate(trajectories) if i != 3)
    pair._all(OtherLayoutRank.layout, layout)
    masked = [0.0 if i == 3 else advantage for i, advantage in enumerate(ADVANTAGES)]
    expected = pair.grpo_step(trajectories, masked, LR)
    assert metrics["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-6)
    assert metrics["loss"] == pytest.approx(expected["loss"], rel=1e-6, abs=1e-9)
    kl = pair.reference_kl(lost)
    assert kl[3] == 0.0
    assert all(value > 0 for i, value in enumerate(kl) if i != 3)


def test_a_supervised_update_goes_on_without_them_too(pair: RankGroup, trajectories: list[Trajectory]) -> None:
    pair._all(OtherLayoutRank.layout, FIRST)
    lost = [without_picture(t) if i < 3 else t for i, t in enumerate(trajectories)]
    metrics = pair.sft_step(lost, LR)
    assert (metrics["unreadable_trajectories"], metrics["updates"]) == (3, 1)
    assert metrics["tokens"] == sum(t.transcript.sampled_tokens for t in trajectories[3:])


def test_supervised_training_stops_with_a_sentence_where_nothing_can_be_read(
    model_dir: Path, trajectories: list[Trajectory], tmp_path: Path
) -> None:
    shared_ray()
    rows: list[dict[str, float]] = []
    config = load_config(None, ["sft.steps=4", "sft.batch=3", "sft.max_bad_updates=2"])
    lost = list(map(without_picture, trajectories))
    with pytest.raises(TrainingStopped, match=r"step 2: 2 updates in a row were left out \(sft.max_bad_updates 2\)"):
        run_sft(config, lost, model_dir, tmp_path / "sft", lambda step, metrics: rows.append(metrics))
    assert [row["bad_updates"] for row in rows] == [1, 1]
