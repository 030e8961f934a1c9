"""A GRPO step of two sharded ranks whose pi_old is the learner's own, against the same step in plain PyTorch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from configs import load_config
from env.chat import ChatFormat
from env.trajectory import Trajectory
from learner.model.batch import collate
from learner.model.frame_patches import FramePatches, Normalise
from learner.model.micro_batches import mini_batches
from learner.model.scorer import Scorer
from learner.objective.losses import LossInputs, means, merge, policy_loss
from learner.ranks.group import RankGroup
from tests.servers.ray_session import shared_ray

pytestmark = pytest.mark.slow
LR = 1e-3
ADVANTAGES = (1.0, -1.0, 0.5, -0.5, 0.0, 2.0)
CONFIG = load_config(
    None,
    [
        "ranks.ranks=2",
        "ranks.zero_stage=3",
        "ranks.micro_batch_tokens=250",
        "ranks.step_timeout_s=240",
        "grpo.mini_batches=2",
        "grpo.prompts_per_step=4",
        "grpo.surrogate=gspo",
        "grpo.aggregation=token_mean",
        "grpo.entropy_coef=0.05",
        "grpo.old_logprobs=learner",
        "grpo.correction=token",
        "grpo.kl_in=reward",
        "grpo.kl_estimator=k1",
    ],
)


@pytest.fixture
def scorer(model_dir: Path, processor: Any, chat: ChatFormat) -> Scorer:
    return Scorer.from_pretrained(str(model_dir), torch.float32, Normalise(processor.image_processor), chat.banned_ids)


@pytest.fixture(scope="module")
def group(model_dir: Path) -> Iterator[RankGroup]:
    shared_ray()
    group = RankGroup(CONFIG, str(model_dir), str(model_dir))
    yield group
    group.close()


def plain_step(
    scorer: Scorer, trajectories: list[Trajectory], patches: FramePatches, chat: ChatFormat
) -> dict[str, float]:
    """Each mini-batch in one pass, with the logprobs of the weights at the start of the step."""
    cuts = mini_batches([trajectory.task_id for trajectory in trajectories], 2)
    optimizer = torch.optim.AdamW(scorer.parameters(), lr=LR, betas=(0.9, CONFIG.ranks.beta2), weight_decay=0.0)
    batches = [collate([trajectories[i] for i in cut], [ADVANTAGES[i] for i in cut], patches, chat) for cut in cuts]
    with torch.no_grad():
        old = [scorer(batch)[0] for batch in batches]
    parts: list[dict[str, float]] = []
    norms: list[float] = []
    for cut, batch, pi_old in zip(cuts, batches, old, strict=True):
        logprobs, entropy = scorer(batch, 1.0, True)
        inputs = LossInputs(
            logprobs=logprobs,
            old_logprobs=pi_old,
            sampler_logprobs=batch.sampler_logprobs,
            reference_logprobs=None,
            entropy=entropy,
            advantages=batch.advantages,
            lengths=batch.lengths,
            sequences=batch.rows,
            fresh=torch.full_like(batch.rows, not parts, dtype=torch.bool),
            trajectories=len(cut),
            tokens=len(logprobs),
        )
        loss, sums = policy_loss(inputs, CONFIG.grpo)
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(scorer.parameters(), CONFIG.grpo.max_grad_norm)))
        optimizer.step()
        parts.append({key: float(value) for key, value in sums.items()})
    metrics = means(merge(parts))
    return {**metrics, "loss": metrics["loss"] / 2, "grad_norm": sum(norms) / 2}


def test_a_step_of_the_ranks_is_the_step_of_plain_pytorch(
    group: RankGroup,
    scorer: Scorer,
    trajectories: list[Trajectory],
    patches: FramePatches,
    chat: ChatFormat,
    tmp_path: Path,
) -> None:
    still = group.reference_kl(trajectories)
    found = group.grpo_step(trajectories, ADVANTAGES, LR)
    weights = load_file(group.export(tmp_path / "policy") / "model.safetensors")
    moved = group.reference_kl(trajectories)
    batch = collate(trajectories, None, patches, chat)
    before = scorer(batch)[0].detach()
    expected = plain_step(scorer, trajectories, patches, chat)
    after = scorer(batch)[0].detach()
    assert {key: found[key] for key in expected} == pytest.approx(expected, rel=2e-3, abs=1e-5)
    named = dict(scorer.model.named_parameters())
    gaps = torch.cat([(weights[name] - named[name].detach()).abs().flatten() for name in named])
    assert float((gaps > 0.05 * LR).float().mean()) < 0.02
    assert float(gaps.median()) < 1e-3 * LR
    drift = [float((after - before)[batch.rows == i].sum()) for i in range(len(trajectories))]
    assert still == pytest.approx([0.0] * len(trajectories), abs=1e-4), "the policy still is the reference"
    assert moved == pytest.approx(drift, rel=0.05, abs=0.02), "k1 of the trajectory's tokens"
    assert max(map(abs, moved)) > 0.1
    assert group.reference_kl([]) == []
