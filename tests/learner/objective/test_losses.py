"""The default loss against Eq. 8 written out token by token in double precision."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from configs.training import GrpoConfig
from learner.objective.losses import LossInputs, means, merge, policy_loss, sft_loss

LENGTHS = (3, 1, 4)
ADVANTAGES = (1.2, -0.7, 0.0)
CLIP, BETA = 0.2, 0.05
CONFIG = GrpoConfig(clip=CLIP, kl_coef=BETA)


def tokens(seed: int = 0, reference: bool = True, dtype: Any = torch.float64) -> LossInputs:
    """Three trajectories; the ratios spread well past the clip on both sides."""
    rng = torch.Generator().manual_seed(seed)
    count = sum(LENGTHS)
    draw = lambda spread: -2 + spread * torch.randn(count, generator=rng, dtype=dtype)  # noqa: E731
    each = torch.tensor(LENGTHS)
    return LossInputs(
        logprobs=draw(0.4).requires_grad_(),
        old_logprobs=(sampler := draw(0.1)),
        sampler_logprobs=sampler,
        reference_logprobs=draw(0.3) if reference else None,
        entropy=torch.rand(count, generator=rng, dtype=dtype),
        advantages=torch.tensor(ADVANTAGES, dtype=dtype).repeat_interleave(each),
        lengths=torch.tensor(LENGTHS, dtype=dtype).repeat_interleave(each),
        sequences=torch.arange(len(LENGTHS)).repeat_interleave(each),
        fresh=torch.arange(count) < 5,
        trajectories=len(LENGTHS),
        tokens=count,
    )


def part(inputs: LossInputs, keep: slice) -> LossInputs:
    cut = {name: value[keep] for name, value in vars(inputs).items() if isinstance(value, torch.Tensor)}
    return LossInputs(**{**vars(inputs), **cut})


def equation_8(inputs: LossInputs, beta: float) -> float:
    logprobs = inputs.logprobs.detach()
    total, place = 0.0, 0
    for length, advantage in zip(LENGTHS, ADVANTAGES, strict=True):
        of_trajectory = 0.0
        for t in range(place, place + length):
            pi, old = (math.exp(float(x[t])) for x in (logprobs, inputs.sampler_logprobs))
            r = pi / old
            value = min(r * advantage, min(max(r, 1 - CLIP), 1 + CLIP) * advantage)
            if inputs.reference_logprobs is not None:
                ref = math.exp(float(inputs.reference_logprobs[t]))
                value -= beta * (ref / pi - math.log(ref / pi) - 1)
            of_trajectory += value
        total += of_trajectory / length
        place += length
    return -total / len(LENGTHS)


@pytest.mark.parametrize("reference", [True, False])
def test_the_default_loss_is_equation_8(reference: bool) -> None:
    for seed in range(5):
        inputs = tokens(seed, reference)
        loss, sums = policy_loss(inputs, CONFIG)
        assert float(loss.detach()) == pytest.approx(equation_8(inputs, BETA), rel=1e-12)
        assert sums["loss"] == loss


def test_its_gradient_is_that_of_equation_8() -> None:
    inputs = tokens(1)
    policy_loss(inputs, CONFIG)[0].backward()
    step = 1e-6
    for t in range(sum(LENGTHS)):
        values = []
        for sign in (1, -1):
            moved = inputs.logprobs.detach().clone()
            moved[t] += sign * step
            values.append(equation_8(LossInputs(**{**vars(inputs), "logprobs": moved}), BETA))
        assert float(inputs.logprobs.grad[t]) == pytest.approx((values[0] - values[1]) / (2 * step), abs=1e-7)


def test_parts_of_a_batch_add_up() -> None:
    inputs = tokens(2)
    whole, sums = policy_loss(inputs, CONFIG)
    cuts = [part(inputs, slice(0, 3)), part(inputs, slice(3, 3)), part(inputs, slice(3, None))]
    parts = [policy_loss(cut, CONFIG) for cut in cuts]
    assert sum(float(loss.detach()) for loss, _ in parts) == pytest.approx(float(whole.detach()), rel=1e-12)
    metrics = means({key: float(value) for key, value in sums.items()})
    merged = means(merge({key: float(value) for key, value in part.items()} for _, part in parts))
    assert merged == pytest.approx(metrics, rel=1e-12)


def test_clip_fraction_counts_only_where_the_clip_stops_the_gradient() -> None:
    inputs = tokens(3)
    loss, sums = policy_loss(inputs, GrpoConfig(clip=CLIP, kl_coef=0.0))
    loss.backward()
    stopped = (inputs.logprobs.grad == 0) & (inputs.advantages != 0)
    assert float(sums["clip_fraction"]) == int(stopped.sum()) > 0


def test_mismatch_is_measured_on_fresh_tokens_alone() -> None:
    inputs = tokens(4)
    _, sums = policy_loss(inputs, CONFIG)
    gaps = (inputs.logprobs - inputs.sampler_logprobs)[:5].detach().numpy()
    metrics = means({key: float(value) for key, value in sums.items()})
    assert metrics["mismatch_kl"] == pytest.approx(np.mean(np.exp(gaps) - gaps - 1), rel=1e-12)
    stale = LossInputs(**{**vars(inputs), "fresh": torch.zeros(sum(LENGTHS), dtype=torch.bool)})
    _, sums = policy_loss(stale, CONFIG)
    assert means({key: float(value) for key, value in sums.items()})["mismatch_kl"] == 0.0


def test_sft_loss_is_the_mean_over_the_whole_batch_and_by_kind() -> None:
    logprobs = torch.tensor([-1.0, -2.0, -4.0, -8.0], requires_grad=True)
    loss, sums = sft_loss(logprobs, torch.ones(4), torch.tensor([0, 0, 2, 2]), tokens=10)
    loss.backward()
    assert float(loss.detach()) == 1.5
    assert torch.equal(logprobs.grad, torch.full((4,), -0.1))
    metrics = means({key: float(value) for key, value in sums.items()})
    assert (metrics["nll_thought"], metrics["nll_call"], metrics["nll_answer"]) == (1.5, 0.0, 6.0)
    assert (metrics["entropy"], metrics["tokens"], metrics["tokens_call"]) == (1.0, 4.0, 0.0)
