"""Muon and AdamW as one optimizer: what it does is what PyTorch's two do."""

import copy

import pytest
import torch
from torch import nn

from configs import ConfigError, load_config
from configs.rules import check
from learner.ranks import muon
from learner.ranks.muon import ADAMW, MUON, MuonAdamW, is_for_muon

BETAS = (0.9, 0.95)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed_tokens = nn.Embedding(7, 8)
        self.proj = nn.Linear(8, 16)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 4, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.proj(self.embed_tokens(ids)))).square().mean()  # type: ignore[no-any-return]


def split(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """(Muon's, AdamW's) parameters."""
    named = list(model.named_parameters())
    return [p for n, p in named if is_for_muon(n, p)], [p for n, p in named if not is_for_muon(n, p)]


def both(model: nn.Module) -> MuonAdamW:
    groups: list[dict[str, object]] = [
        {"params": params, "half": half} for half, params in zip((MUON, ADAMW), split(model), strict=True)
    ]
    return MuonAdamW(groups, BETAS)


def train(model: nn.Module, optimizers: list[torch.optim.Optimizer], steps: int) -> None:
    for step in range(steps):
        for optimizer in optimizers:
            optimizer.zero_grad()
            for group in optimizer.param_groups:
                group["lr"], group["weight_decay"] = 0.01 / (step + 1), 0.1
        model(torch.arange(7)).backward()
        for optimizer in optimizers:
            optimizer.step()


def test_muon_takes_the_matrices_of_linear_layers_alone() -> None:
    model = Small()
    assert [name for name, p in model.named_parameters() if is_for_muon(name, p)] == ["proj.weight", "head.weight"]


def test_a_step_is_one_of_each() -> None:
    one, two = Small(), Small()
    matrices, rest = split(two)
    train(one, [both(one)], 5)
    muon = torch.optim.Muon(matrices, adjust_lr_fn="match_rms_adamw")
    train(two, [muon, torch.optim.AdamW(rest, betas=BETAS, fused=True)], 5)
    for name, parameter in one.named_parameters():
        assert torch.equal(parameter, two.get_parameter(name)), name
        assert not torch.equal(parameter, Small().get_parameter(name)), name


@pytest.mark.parametrize("most", [1, 3 * 64, 10**9])
def test_matrices_of_one_shape_are_stepped_together_as_each_alone(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(muon, "STACK", most)
    torch.manual_seed(0)
    shapes = [(8, 8), (4, 8), (8, 8), (8, 4), (8, 8), (4, 8), (8, 8)]
    ours = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [nn.Parameter(parameter.detach().clone()) for parameter in ours]
    optimizers = (
        muon.StackedMuon(ours),
        torch.optim.Muon(theirs, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
    )
    for _ in range(3):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_it_goes_on_from_its_state() -> None:
    whole, first = Small(), Small()
    train(whole, [both(whole)], 6)
    optimizer = both(first)
    train(first, [optimizer], 3)
    state = copy.deepcopy(optimizer.state_dict())
    resumed = both(first)
    resumed.load_state_dict(state)
    for step in range(3, 6):
        resumed.zero_grad()
        for group in resumed.param_groups:
            group["lr"] = 0.01 / (step + 1)
        first(torch.arange(7)).backward()
        resumed.step()
    for name, parameter in whole.named_parameters():
        assert torch.equal(parameter, first.get_parameter(name)), name


def test_a_parameter_without_a_gradient_stays_as_it_is() -> None:
    model = Small()
    optimizer = both(model)
    train(model, [optimizer], 1)
    before, state = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict()["state"])
    optimizer.zero_grad(set_to_none=True)
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    for index, values in optimizer.state_dict()["state"].items():
        assert all(torch.equal(value, state[index][key]) for key, value in values.items())


@pytest.mark.parametrize("layout", [["ranks.zero_stage=1"], ["ranks.dtype=bfloat16"]])
@pytest.mark.parametrize("phase", ["sft", "captions"])
def test_matrices_that_are_cut_are_refused(phase: str, layout: list[str]) -> None:
    config = load_config(None, [f"{phase}.optimizer=muon"])
    check(config, "sft")
    with pytest.raises(ConfigError, match=rf"^{phase}\.optimizer=muon takes whole matrices"):
        check(load_config(None, [f"{phase}.optimizer=muon", *layout]), "sft")
