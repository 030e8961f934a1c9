"""Checkpoints of ranks that train a part of the model: an adapter, or one part of it; other layouts, and export."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from configs import load_config
from env.trajectory import Trajectory
from learner.checkpoints.export import export_checkpoint
from learner.checkpoints.folder import begin, commit
from learner.ranks.group import RankGroup
from tests.servers.ray_session import shared_ray

pytestmark = pytest.mark.slow
PARTS = {"adapter": ("ranks.lora.rank=4",), "projector": ("ranks.train=[projector]",)}


@pytest.fixture(scope="module", autouse=True)
def cluster() -> None:
    shared_ray()


@pytest.mark.parametrize(
    ("part", "saved", "loaded"), [("adapter", (2, 3), (1, 1)), ("projector", (1, 2), (2, 3))], ids=PARTS
)
def test_what_does_not_train_survives_another_layout(
    part: Any, saved: Any, loaded: Any, model_dir: Path, trajectories: list[Trajectory], tmp_path: Path
) -> None:
    source, target = (group(model_dir, *PARTS[part], *layout) for layout in (saved, loaded))
    try:
        source.sft_step(trajectories, 1e-3)
        partial = begin(tmp_path, 1)
        source.save(partial / "ranks")
        commit(partial, 1)
        held = policy(source, tmp_path / "held")
        target.load(tmp_path / "step-000001" / "ranks")
        assert same(policy(target, tmp_path / "loaded"), held)
        exported = export_checkpoint(tmp_path / "step-000001", tmp_path / "exported")
        assert same(load_file(exported / "model.safetensors"), held)
        assert not same(load_file(model_dir / "model.safetensors"), held)
        losses = [ranks.sft_step(trajectories, 1e-3)["loss"] for ranks in (source, target)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)
        after = [policy(ranks, tmp_path / str(i)) for i, ranks in enumerate((source, target))]
        moved = torch.cat([(after[0][name] - after[1][name]).abs().flatten() for name in held])
        assert float(moved.max()) < 1e-4
    finally:
        source.close()
        target.close()


def group(model_dir: Path, override: Any, ranks: Any, zero_stage: Any) -> Any:
    base = [f"ranks.ranks={ranks}", f"ranks.zero_stage={zero_stage}", "ranks.step_timeout_s=240"]
    return RankGroup(load_config(None, [*base, override]), str(model_dir))


def policy(ranks: Any, folder: Any) -> Any:
    return load_file(ranks.export(folder) / "model.safetensors")


def same(left: Any, right: Any) -> Any:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
