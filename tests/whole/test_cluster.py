"""The Ray cluster launcher file, checked with the launcher's own code and no cloud."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cluster() -> dict[str, Any]:
    return prepare_config(yaml.safe_load((ROOT / "ray_cluster.yaml").read_text()))


def test_the_launcher_accepts_the_file(cluster: dict[str, Any]) -> None:
    validate_config(cluster)


def test_the_head_has_no_gpu_and_the_workers_do(cluster: dict[str, Any]) -> None:
    head = cluster["available_node_types"][cluster["head_node_type"]]
    workers = [kind for name, kind in cluster["available_node_types"].items() if name != cluster["head_node_type"]]
    assert head["resources"]["GPU"] == 0
    assert workers
    assert all(kind["resources"]["GPU"] > 0 and kind["max_workers"] > 0 for kind in workers)


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
