"""Every objective, loss and gradient, against the formulas written out in `objective_reference`; cuts; extremes."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.training import GrpoConfig
from learner.objective.losses import LossInputs, means, merge, policy_loss
from tests.learner.objective.objective_reference import Episode, objective

SURROGATES: tuple[Any, ...] = ("clip", "gspo", "cispo", "reinforce")
AGGREGATIONS = ("sequence_mean", "token_mean", "token_sum_norm")
CONFIGS = st.builds(
    GrpoConfig,
    surrogate=st.sampled_from(SURROGATES),
    aggregation=st.sampled_from(AGGREGATIONS),
    norm_tokens=st.sampled_from([1, 7, 4096]),
    clip=st.sampled_from([3e-4, 0.2, 1.0]),
    clip_high=st.sampled_from([None, 0.28, 4.0]),
    dual_clip=st.sampled_from([None, 1.5, 3.0]),
    kl_coef=st.sampled_from([0.0, 0.05]),
    kl_estimator=st.sampled_from(["k1", "k2", "k3"]),
    entropy_coef=st.sampled_from([0.0, 0.01]),
    min_entropy=st.sampled_from([0.0, 0.3, 2.0]),
    correction=st.sampled_from(["none", "token", "sequence"]),
    correction_max=st.sampled_from([1.1, 2.0]),
    correction_min=st.sampled_from([0.0, 0.8]),
    correction_beyond=st.sampled_from(["truncate", "mask"]),
    max_sequence_gap=st.sampled_from([None, 0.1]),
)
"""Whatever their sense together: each choice must hold beside every other."""
LENGTHS = st.lists(st.integers(0, 6), max_size=6)
"""Sampled tokens of each trajectory; some have none, and a batch may be empty."""


def draw(seed: int, lengths: list[int], spread: float = 0.4) -> list[Episode]:
    """Trajectories whose ratios spread past every bound on both sides; one in four has advantage 0."""
    rng = np.random.default_rng(seed)
    return [
        Episode(  # type: ignore[misc]
            *((-2 + spread * rng.standard_normal((4, n))).tolist()),
            entropy=rng.random(n).tolist(),
            advantage=float(rng.standard_normal() * (rng.random() > 0.25)),
        )
        for n in lengths
    ]


def inputs_of(
    chosen: list[Episode], whole: list[Episode], with_kl: bool = True, dtype: Any = torch.float64
) -> LossInputs:
    """What a pass over some trajectories of a batch gives the loss."""
    counts = torch.tensor([len(episode.logp) for episode in chosen], dtype=torch.long)
    of_tokens = lambda values: torch.tensor([x for row in values for x in row], dtype=dtype)  # noqa: E731
    return LossInputs(
        logprobs=of_tokens(episode.logp for episode in chosen).requires_grad_(),
        old_logprobs=of_tokens(episode.old for episode in chosen),
        sampler_logprobs=of_tokens(episode.engine for episode in chosen),
        reference_logprobs=of_tokens(episode.ref for episode in chosen) if with_kl else None,
        entropy=of_tokens(episode.entropy for episode in chosen).requires_grad_(),
        advantages=torch.tensor([e.advantage for e in chosen], dtype=dtype).repeat_interleave(counts),
        lengths=counts.to(dtype).repeat_interleave(counts),
        sequences=torch.arange(len(chosen)).repeat_interleave(counts),
        fresh=torch.ones(int(counts.sum()), dtype=torch.bool),
        trajectories=len(whole),
        tokens=sum(len(episode.logp) for episode in whole),
    )


def gradients(inputs: LossInputs, config: GrpoConfig) -> tuple[float, np.ndarray, np.ndarray]:
    loss, _ = policy_loss(inputs, config)
    loss.backward()
    slopes = (
        leaf.grad if leaf.grad is not None else torch.zeros_like(leaf) for leaf in (inputs.logprobs, inputs.entropy)
    )
    return float(loss.detach()), *(slope.numpy() for slope in slopes)


def check(episodes: list[Episode], config: GrpoConfig, with_kl: bool = True) -> None:
    loss, slopes, entropy_slopes = objective(episodes, config, with_kl)
    found = gradients(inputs_of(episodes, episodes, with_kl), config)
    assert found[0] == pytest.approx(loss, rel=1e-6, abs=1e-12)
    np.testing.assert_allclose(found[1], slopes, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(found[2], entropy_slopes, rtol=1e-6, atol=1e-12)


@settings(max_examples=150)
@given(config=CONFIGS, lengths=LENGTHS, seed=st.integers(0, 10**6), with_kl=st.booleans())
def test_loss_and_gradient_are_those_of_the_formula(
    config: GrpoConfig, lengths: list[int], seed: int, with_kl: bool
) -> None:
    check(draw(seed, lengths), config, with_kl)


@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_each_objective_alone_is_that_of_the_formula(surrogate: Any, aggregation: Any) -> None:
    config = GrpoConfig(surrogate=surrogate, aggregation=aggregation, clip_high=0.28)
    for seed in range(10):
        check(draw(seed, [4, 1, 0, 9, 30]), config)


@settings(max_examples=50)
@given(config=CONFIGS, lengths=LENGTHS, seed=st.integers(0, 10**6), cut=st.lists(st.integers(0, 3), min_size=6))
def test_any_cut_into_passes_gives_the_loss_and_the_gradients_of_the_whole(
    config: GrpoConfig, lengths: list[int], seed: int, cut: list[int]
) -> None:
    episodes = draw(seed, lengths)
    whole = inputs_of(episodes, episodes)
    loss, slopes, entropy_slopes = gradients(whole, config)
    total, places = 0.0, np.cumsum([0, *lengths])
    parts = []
    for part in range(4):
        indices = [i for i in range(len(lengths)) if cut[i] == part]
        inputs = inputs_of([episodes[i] for i in indices], episodes)
        mine = np.concatenate([np.arange(0), *(np.arange(places[i], places[i + 1]) for i in indices)]).astype(int)
        found = gradients(inputs, config)
        total += found[0]
        np.testing.assert_allclose(found[1], slopes[mine], rtol=1e-9, atol=1e-15)
        np.testing.assert_allclose(found[2], entropy_slopes[mine], rtol=1e-9, atol=1e-15)
        parts.append({key: float(value) for key, value in policy_loss(inputs, config)[1].items()})
    assert total == pytest.approx(loss, rel=1e-9, abs=1e-14)
    sums = {key: float(value) for key, value in policy_loss(whole, config)[1].items()}
    assert means(merge(parts)) == pytest.approx(means(sums), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("surrogate", ["clip", "gspo", "reinforce"])
def test_where_nothing_is_held_fixed_the_gradient_is_the_losss_slope(surrogate: Any) -> None:
    config = GrpoConfig(surrogate=surrogate, kl_coef=0.05)
    episodes = draw(3, [3, 5], spread=0.1)
    _, slopes, _ = gradients(inputs_of(episodes, episodes), config)
    inputs, step = inputs_of(episodes, episodes), 1e-6
    for t in range(8):
        ends = []
        for sign in (1, -1):
            moved = inputs.logprobs.detach().clone()
            moved[t] += sign * step
            ends.append(float(policy_loss(replace(inputs, logprobs=moved), config)[0]))
        assert slopes[t] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5, abs=1e-9)


def test_within_its_bounds_cispo_moves_the_policy_as_unclipped_importance_sampling_does() -> None:
    episodes = draw(4, [3, 5])
    wide = GrpoConfig(surrogate="cispo", clip=1.0, clip_high=100.0, kl_coef=0.0)
    free = replace(wide, surrogate="reinforce")
    assert gradients(inputs_of(episodes, episodes), wide)[0] != gradients(inputs_of(episodes, episodes), free)[0]
    np.testing.assert_allclose(
        gradients(inputs_of(episodes, episodes), wide)[1], gradients(inputs_of(episodes, episodes), free)[1], rtol=1e-12
    )


def test_on_policy_all_objectives_move_the_policy_alike() -> None:
    episodes = [replace(episode, old=episode.logp) for episode in draw(5, [3, 1, 6])]
    slopes = [gradients(inputs_of(episodes, episodes), GrpoConfig(surrogate=surrogate))[1] for surrogate in SURROGATES]
    for other in slopes[1:]:
        np.testing.assert_allclose(other, slopes[0], rtol=1e-12)


@pytest.mark.parametrize("correction", ["token", "sequence"])
def test_the_correction_carries_no_gradient(correction: Any) -> None:
    config = GrpoConfig(correction=correction, max_sequence_gap=1.0, surrogate="reinforce")
    inputs = inputs_of(draw(6, [3, 4]), draw(6, [3, 4]))
    engine = inputs.sampler_logprobs.clone().requires_grad_()
    policy_loss(replace(inputs, sampler_logprobs=engine), config)[0].backward()
    assert engine.grad is None
    assert inputs.logprobs.grad.abs().max() > 0


@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
@pytest.mark.parametrize("correction", ["token", "sequence"])
def test_no_gap_however_wide_gives_a_loss_or_a_gradient_that_is_not_finite(
    surrogate: Any, estimator: Any, correction: Any
) -> None:
    config = GrpoConfig(
        surrogate=surrogate, kl_estimator=estimator, kl_coef=0.1, correction=correction, correction_beyond="mask"
    )
    wide = [-1e4, -200.0, -90.0, -1e-3]
    episodes = [Episode(wide, wide[::-1], wide, wide[::-1], [0.0] * 4, advantage) for advantage in (-1.0, 0.0, 1.0)]
    inputs = inputs_of(episodes, episodes, dtype=torch.float32)
    loss, slopes, _ = gradients(inputs, config)
    assert np.isfinite(loss)
    assert np.isfinite(slopes).all()


def test_what_the_policy_is_certain_of_has_the_kl_alone() -> None:
    episodes = [Episode([-1.0] * 3, [-1.0] * 3, [-1.0] * 3, [-2.0] * 3, [0.0, 0.19, 0.2], 1.0)]
    config = GrpoConfig(min_entropy=0.2, kl_coef=0.5, aggregation="token_mean")
    _, slopes, _ = gradients(inputs_of(episodes, episodes), config)
    of_kl = 0.5 * (1 - np.exp(-1.0)) / 3
    np.testing.assert_allclose(slopes, [of_kl, of_kl, of_kl - 1 / 3])
    _, sums = policy_loss(inputs_of(episodes, episodes), config)
    assert means({key: float(value) for key, value in sums.items()})["certain"] == pytest.approx(2 / 3)


def test_metrics_say_what_the_correction_did() -> None:
    episodes = [
        Episode([-1.0] * 2, [-1.0] * 2, [-1.0, -3.0], [-1.0] * 2, [0.0] * 2, 1.0),
        Episode([-1.0] * 2, [-1.0] * 2, [-1.0, -1.0], [-1.0] * 2, [0.0] * 2, 1.0),
    ]
    config = GrpoConfig(correction="token", correction_beyond="mask", max_sequence_gap=0.5)
    _, sums = policy_loss(inputs_of(episodes, episodes), config)
    metrics = means({key: float(value) for key, value in sums.items()})
    assert (metrics["correction"], metrics["correction_zero"], metrics["gap_masked"]) == (0.75, 0.25, 0.5)
