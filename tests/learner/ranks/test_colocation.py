"""Engines beside ranks: each on the GPU of one, no two of a kind on the same; Ray takes these GPUs on trust."""

from collections.abc import Iterator
from typing import Any

import pytest
import ray

from actors.engine.supervision import actor_options
from configs import load_config
from learner.ranks.group import RankGroup
from learner.ranks.rank import Rank
from tests.learner.stand_ins import SeatedEngine
from tests.servers.ray_session import own_ray

TOGETHER = [
    "ranks.ranks=2",
    "ranks.gpus_per_rank=1",
    "engine.engines=2",
    "engine.gpus_per_engine=1",
    "engine.colocate=true",
]


class Seat(Rank):
    """Stands where a rank would, and loads no model."""

    def start(self, host: Any, port: Any) -> None:
        pass

    def gpus(self) -> Any:
        return ray.get_gpu_ids()


@pytest.fixture
def two_gpus() -> Iterator[Any]:
    with own_ray(num_cpus=4, num_gpus=2):
        yield


@pytest.mark.slow
def test_each_engine_has_the_gpu_of_another_rank(two_gpus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("learner.ranks.group.Rank", Seat)
    config = load_config(None, [*TOGETHER, "ranks.step_timeout_s=60"])
    group = RankGroup(config, "model")
    engines = [ray.remote(SeatedEngine).options(**actor_options(config.engine)).remote() for _ in range(2)]
    ranks, beside = group._all(Seat.gpus), ray.get([engine.gpus.remote() for engine in engines], timeout=60)
    assert sorted(ranks) == sorted(beside) == [[0], [1]]
    group.close()
    again = RankGroup(config, "model")
    assert sorted(again._all(Seat.gpus)) == [[0], [1]], "ranks that are replaced come back to their GPUs"
    again.close()


@pytest.mark.parametrize("other", ["engine.engines=3", "ranks.gpus_per_rank=0", "engine.gpus_per_engine=2"])
def test_engines_that_cannot_be_beside_ranks_are_refused(other: str) -> None:
    with pytest.raises(ValueError, match=r"engine.colocate .*ranks.gpus_per_rank=1 engine.gpus_per_engine=1"):
        RankGroup(load_config(None, [*TOGETHER, other]), "model")
