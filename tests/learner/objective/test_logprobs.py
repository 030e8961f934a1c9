"""Log-probabilities and entropy of sampled tokens against plain arithmetic, in one chunk and in several."""

import numpy as np
import pytest
import torch

from learner.objective import logprobs as module
from learner.objective.logprobs import token_logprobs


@pytest.mark.parametrize("rows_per_chunk", [2, 100])
def test_logprobs_are_those_of_what_can_be_sampled(monkeypatch: pytest.MonkeyPatch, rows_per_chunk: int) -> None:
    monkeypatch.setattr(module, "LOGITS_PER_CHUNK", rows_per_chunk * 11)
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


@pytest.mark.parametrize("rows_per_chunk", [2, 100])
def test_the_entropys_gradient_is_that_of_its_formula(monkeypatch: pytest.MonkeyPatch, rows_per_chunk: int) -> None:
    monkeypatch.setattr(module, "LOGITS_PER_CHUNK", rows_per_chunk * 11)
    rng = np.random.default_rng(1)
    hidden, weight, targets = rng.normal(size=(7, 5)), rng.normal(size=(11, 5)), rng.integers(0, 8, 7)
    banned = torch.arange(11) >= 8
    leaf = torch.tensor(hidden, dtype=torch.float32, requires_grad=True)
    head = torch.tensor(weight, dtype=torch.float32, requires_grad=True)
    _, entropy = token_logprobs(leaf, torch.from_numpy(targets), lambda h: h @ head.T, banned, 0.7, True)
    entropy.sum().backward()
    logits = (hidden @ weight.T / 0.7)[:, :8]
    logp = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    p = np.exp(logp)
    slope = -p * (logp - (p * logp).sum(1, keepdims=True)) / 0.7
    np.testing.assert_allclose(leaf.grad, slope @ weight[:8], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(head.grad[:8], slope.T @ hidden, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(head.grad[8:], 0)


def test_without_gradients_nothing_keeps_a_graph() -> None:
    weight = torch.randn(11, 5, requires_grad=True)
    banned, targets = torch.zeros(11, dtype=torch.bool), torch.arange(3)
    with torch.no_grad():
        found = token_logprobs(torch.randn(3, 5), targets, lambda h: h @ weight.T, banned, entropy_gradient=True)
    assert not any(values.requires_grad for values in found)
