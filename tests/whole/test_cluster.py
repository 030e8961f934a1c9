"""The Ray cluster launcher file, checked with the launcher's own code and no cloud."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from ray.autoscaler._private.node_provider_availability_tracker import NodeAvailabilitySummary
from ray.autoscaler._private.resource_demand_scheduler import _default_utilization_scorer, get_nodes_for
from ray.autoscaler._private.util import prepare_config, validate_config

from actors.engine.supervision import actor_options
from configs import Config, load_config
from synth.pipeline.run import LOOKING, SEGMENTING
from synth.record import STAGES

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cluster() -> dict[str, Any]:
    return prepare_config(yaml.safe_load((ROOT / "ray_cluster.yaml").read_text()))


def test_the_launcher_accepts_the_file(cluster: dict[str, Any]) -> None:
    validate_config(cluster)


def rented(cluster: dict[str, Any], demands: list[dict[str, float]]) -> dict[str, int]:
    """The nodes that the autoscaler adds to a head alone, by their kind."""
    scorer = partial(_default_utilization_scorer, node_availability_summary=NodeAvailabilitySummary({}))
    head, kinds = cluster["head_node_type"], cluster["available_node_types"]
    added, left = get_nodes_for(kinds, {head: 1}, head, cluster["max_workers"], demands, scorer)
    assert left == []
    return dict(added)


def demands_of(config: Config) -> list[dict[str, float]]:
    """What the actors of a run and of its synthesis ask for."""
    synth, ranks, engine = config.synth, config.ranks, actor_options(config.engine)
    rank: dict[str, float] = {"CPU": ranks.cpus_per_rank, "GPU": ranks.gpus_per_rank}
    asked = {"CPU": cast(float, engine["num_cpus"]), "GPU": cast(float, engine["num_gpus"])}
    stages: list[dict[str, float]] = [
        {
            "CPU": synth.cpus_per_worker if stage in LOOKING else 0.1,
            "GPU": synth.gpus_per_segmenter if stage == SEGMENTING else 0,
        }
        for stage in STAGES
    ]
    demands = stages * synth.workers + [rank] * ranks.ranks + [asked] * config.engine.engines
    demands += [{"CPU": 1}] * config.grpo.env_runners
    return [kept for demand in demands if (kept := {name: count for name, count in demand.items() if count})]


@pytest.mark.parametrize("name", ["smoke", "demo"])
def test_a_job_that_asks_for_no_gpu_rents_none(cluster: dict[str, Any], name: str) -> None:
    config = load_config(ROOT / "configs" / f"{name}.yaml")
    assert rented(cluster, demands_of(config)) == {"cpu_worker": 1}
    config.synth.workers = 16
    assert set(rented(cluster, demands_of(config))) == {"cpu_worker"}


def test_a_job_that_asks_for_gpus_gets_them(cluster: dict[str, Any]) -> None:
    config = load_config(ROOT / "configs" / "paper_4b.yaml")
    training = replace(config, synth=replace(config.synth, workers=0))
    assert rented(cluster, demands_of(training)) == {"gpu_worker": 1}
    masks = [{"CPU": config.synth.cpus_per_worker, "GPU": config.synth.gpus_per_segmenter}] * config.synth.workers
    assert rented(cluster, masks) == {"gpu_worker": 1}
    assert cluster["available_node_types"][cluster["head_node_type"]]["resources"]["GPU"] == 0


def test_nodes_without_a_gpu_do_not_start_as_if_they_had_one(cluster: dict[str, Any]) -> None:
    node = cluster["available_node_types"]["cpu_worker"]
    assert "-gpu" not in node["docker"]["worker_image"]
    assert node["docker"]["worker_run_options"] == []


def test_nodes_are_on_demand(cluster: dict[str, Any]) -> None:
    assert all("InstanceMarketOptions" not in kind["node_config"] for kind in cluster["available_node_types"].values())


def test_only_this_files_own_commands_set_nodes_up(cluster: dict[str, Any]) -> None:
    commands = cluster["head_setup_commands"] + cluster["worker_setup_commands"]
    assert commands
    assert all(command.startswith("pip install -e") for command in commands)


def test_the_upload_leaves_environments_and_runs_behind(cluster: dict[str, Any]) -> None:
    ignored = (ROOT / ".rayignore").read_text().split()
    assert {".venv", "runs", "mlflow.db"} <= set(ignored)
    assert {".venv", "runs", "mlflow.db"} <= set(cluster["rsync_exclude"])
