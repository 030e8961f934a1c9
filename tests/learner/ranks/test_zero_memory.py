"""The plan's bytes of model, gradients and optimizer against what DeepSpeed really has at once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from configs import load_config
from configs.policy import ModelConfig, TinyModelConfig
from env.chat import ChatFormat
from env.trajectory import Trajectory
from learner.model.sizes import shape_of
from learner.model.tiny import build_tiny_model
from learner.planning.memory import state_bytes
from learner.ranks.group import RankGroup
from tests.learner.ranks.gradient_rank import WatchedRank
from tests.learner.trajectories import make_batch
from tests.servers.ray_session import shared_ray

pytestmark = pytest.mark.slow
LAYOUTS = [
    (0, "none"),
    (1, "none"),
    (1, "optimizer"),
    (2, "none"),
    (2, "optimizer"),
    (3, "none"),
    (3, "optimizer"),
    (3, "all"),
]
SIZES = TinyModelConfig(hidden_size=384, layers=3, intermediate_size=1536)
"""Large enough that a short trajectory's activations are next to nothing beside its 7 million parameters."""
MICRO_BATCHES = 2
"""Of each rank, with a trajectory each: the first makes the gradient's memory, the second adds to it."""
TOLERANCE = 0.13


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(SIZES, ["what is it? look at the frame: 12.0 s"] * 40, tmp_path_factory.mktemp("model"), 0)


@pytest.fixture(scope="module")
def batch(model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Trajectory]:
    return make_batch(ChatFormat.from_pretrained(model), tmp_path_factory.mktemp("frames"))


@pytest.fixture(scope="module", params=[1, 2], ids=["one rank", "two ranks"])
def group(request: pytest.FixtureRequest, model: Path) -> Iterator[RankGroup]:
    shared_ray()
    one_each = ["ranks.micro_batch_tokens=1", "ranks.step_timeout_s=240"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("learner.ranks.group.Rank", WatchedRank)
        group = RankGroup(load_config(None, [f"ranks.ranks={request.param}", *one_each]), str(model))
    yield group
    group.close()


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize(("stage", "offload"), LAYOUTS)
def test_a_step_takes_what_the_plan_says(
    group: RankGroup, model: Path, batch: list[Trajectory], stage: int, offload: str, dtype: str
) -> None:
    layout = {"zero_stage": stage, "offload": offload, "dtype": dtype}
    batch = batch[: MICRO_BATCHES * group.config.ranks.ranks]
    group._all(WatchedRank.layout, layout)
    group.sft_step(batch, 1e-3)  # the optimizer's state begins with it
    taken = group._all(WatchedRank.peak, batch, 1e-3)[0]
    ranks = load_config(None, [f"ranks.{key}={value}" for key, value in layout.items()]).ranks
    ranks.ranks = group.config.ranks.ranks
    told = state_bytes(shape_of(ModelConfig(path=str(model))), ranks)
    assert sum(vars(told).values()) == pytest.approx(taken, rel=TOLERANCE)
