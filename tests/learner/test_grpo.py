"""The losses against Eq. 8 written out token by token in double precision."""

import math

import numpy as np
import pytest
import torch

from learner import grpo
from learner.grpo import LossInputs, group_advantages, grpo_loss, means, merge, sft_loss, token_logprobs

LENGTHS = (3, 1, 4)
ADVANTAGES = (1.2, -0.7, 0.0)
CLIP, BETA = 0.2, 0.05


def tokens(seed: int = 0, reference: bool = True, dtype=torch.float64) -> LossInputs:
    """Three trajectories; the ratios spread well past the clip on both sides."""
    rng = torch.Generator().manual_seed(seed)
    count = sum(LENGTHS)
    draw = lambda spread: -2 + spread * torch.randn(count, generator=rng, dtype=dtype)  # noqa: E731
    each = torch.tensor(LENGTHS)
    return LossInputs(
        logprobs=draw(0.4).requires_grad_(),
        sampler_logprobs=draw(0.1),
        reference_logprobs=draw(0.3) if reference else None,
        entropy=torch.rand(count, generator=rng, dtype=dtype),
        advantages=torch.tensor(ADVANTAGES, dtype=dtype).repeat_interleave(each),
        lengths=torch.tensor(LENGTHS, dtype=dtype).repeat_interleave(each),
        fresh=torch.arange(count) < 5,
        trajectories=len(LENGTHS),
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
def test_grpo_loss_is_equation_8(reference):
    for seed in range(5):
        inputs = tokens(seed, reference)
        loss, sums = grpo_loss(inputs, CLIP, BETA)
        assert float(loss.detach()) == pytest.approx(equation_8(inputs, BETA), rel=1e-12)
        assert sums["loss"] == loss


def test_grpo_gradient_is_that_of_equation_8():
    inputs = tokens(1)
    grpo_loss(inputs, CLIP, BETA)[0].backward()
    step = 1e-6
    for t in range(sum(LENGTHS)):
        values = []
        for sign in (1, -1):
            moved = inputs.logprobs.detach().clone()
            moved[t] += sign * step
            values.append(equation_8(LossInputs(**{**vars(inputs), "logprobs": moved}), BETA))
        assert float(inputs.logprobs.grad[t]) == pytest.approx((values[0] - values[1]) / (2 * step), abs=1e-7)


def test_parts_of_a_batch_add_up():
    inputs = tokens(2)
    whole, sums = grpo_loss(inputs, CLIP, BETA)
    cuts = [part(inputs, slice(0, 3)), part(inputs, slice(3, 3)), part(inputs, slice(3, None))]
    parts = [grpo_loss(cut, CLIP, BETA) for cut in cuts]
    assert sum(float(loss.detach()) for loss, _ in parts) == pytest.approx(float(whole.detach()), rel=1e-12)
    metrics = means({key: float(value) for key, value in sums.items()})
    merged = means(merge({key: float(value) for key, value in part.items()} for _, part in parts))
    assert merged == pytest.approx(metrics, rel=1e-12)


def test_clip_fraction_counts_only_where_the_clip_stops_the_gradient():
    inputs = tokens(3)
    loss, sums = grpo_loss(inputs, CLIP, kl_coef=0.0)
    loss.backward()
    stopped = (inputs.logprobs.grad == 0) & (inputs.advantages != 0)
    assert float(sums["clip_fraction"]) == int(stopped.sum()) > 0


def test_mismatch_is_measured_on_fresh_tokens_alone():
    inputs = tokens(4)
    _, sums = grpo_loss(inputs, CLIP, BETA)
    gaps = (inputs.logprobs - inputs.sampler_logprobs)[:5].detach().numpy()
    metrics = means({key: float(value) for key, value in sums.items()})
    assert metrics["mismatch_kl"] == pytest.approx(np.mean(np.exp(gaps) - gaps - 1), rel=1e-12)
    stale = LossInputs(**{**vars(inputs), "fresh": torch.zeros(sum(LENGTHS), dtype=torch.bool)})
    _, sums = grpo_loss(stale, CLIP, BETA)
    assert means({key: float(value) for key, value in sums.items()})["mismatch_kl"] == 0.0


def test_advantages_are_standard_scores_of_each_group():
    rewards = np.random.default_rng(0).random((5, 8))
    expected = (rewards - rewards.mean(1, keepdims=True)) / (rewards.std(1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(group_advantages(torch.from_numpy(rewards)), expected, rtol=1e-12)
    assert group_advantages(torch.from_numpy(rewards).float()).dtype == torch.float32


@pytest.mark.parametrize("value", [0.0, 0.95, 1 / 3])
def test_a_group_of_equal_rewards_teaches_nothing(value):
    assert torch.equal(group_advantages(torch.full((2, 7), value)), torch.zeros(2, 7))
    assert torch.equal(group_advantages(torch.full((3, 1), value)), torch.zeros(3, 1))


def test_advantages_of_no_group():
    assert group_advantages(torch.zeros(0, 8)).shape == (0, 8)


@pytest.mark.parametrize("rows_per_chunk", [2, 100])
def test_logprobs_are_those_of_what_can_be_sampled(monkeypatch, rows_per_chunk):
    monkeypatch.setattr(grpo, "LOGITS_PER_CHUNK", rows_per_chunk * 11)
    rng = np.random.default_rng(0)
    hidden, weight, targets = rng.normal(size=(7, 5)), rng.normal(size=(11, 5)), rng.integers(0, 8, 7)
    banned = torch.arange(11) >= 8
    leaf = torch.tensor(hidden, dtype=torch.float32, requires_grad=True)
    head = torch.tensor(weight, dtype=torch.float32, requires_grad=True)
    logprobs, entropy = token_logprobs(leaf, torch.from_numpy(targets), lambda h: h @ head.T, banned, 0.7)
    logits = (hidden @ weight.T / 0.7)[:, :8]
    expected = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    np.testing.assert_allclose(logprobs.detach(), expected[np.arange(7), targets], rtol=1e-5)
    np.testing.assert_allclose(entropy, -(np.exp(expected) * expected).sum(1), rtol=1e-5)
    assert not entropy.requires_grad
    logprobs.sum().backward()
    slope = (np.eye(8)[targets] - np.exp(expected)) / 0.7
    np.testing.assert_allclose(head.grad[:8], slope.T @ hidden, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(head.grad[8:], 0)
    np.testing.assert_allclose(leaf.grad, slope @ weight[:8], rtol=1e-4, atol=1e-5)


def test_sft_loss_is_the_mean_over_the_whole_batch_and_by_kind():
    logprobs = torch.tensor([-1.0, -2.0, -4.0, -8.0], requires_grad=True)
    loss, sums = sft_loss(logprobs, torch.ones(4), torch.tensor([0, 0, 2, 2]), tokens=10)
    loss.backward()
    assert float(loss.detach()) == 1.5
    assert torch.equal(logprobs.grad, torch.full((4,), -0.1))
    metrics = means({key: float(value) for key, value in sums.items()})
    assert (metrics["nll_thought"], metrics["nll_call"], metrics["nll_answer"]) == (1.5, 0.0, 6.0)
    assert (metrics["entropy"], metrics["tokens"], metrics["tokens_call"]) == (1.0, 4.0, 0.0)
