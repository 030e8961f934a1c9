"""A whole small training run as a Ray job: the checkout travels to a cluster and trains there with no install."""

import json
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.processes import Family, family, free_port

RAY = ("-m", "ray.scripts.scripts")
PORTS = (
    "port",
    "dashboard-port",
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "runtime-env-agent-port",
    "metrics-export-port",
    "node-manager-port",
    "object-manager-port",
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[Family, str]]:
    """A one-node cluster on ports and in a folder of its own, with token authentication; and its job address."""
    # Ray's socket paths must be short, shorter than pytest's folders are.
    folder = Path(tempfile.mkdtemp(prefix="vs-"))
    ports = {name: str(free_port()) for name in PORTS}
    with family(folder) as members:
        members.environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex}
        flags = [flag for name, port in ports.items() for flag in (f"--{name}", port)]
        flags += ["--head", "--num-cpus", "4", "--temp-dir", str(folder), "--node-ip-address", "127.0.0.1"]
        flags += ["--object-store-memory", str(256 * 2**20), "--disable-usage-stats"]
        done = members.run(*RAY, "start", *flags)
        assert done.returncode == 0, done.stdout + done.stderr
        yield members, f"http://127.0.0.1:{ports['dashboard-port']}"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_training_run_succeeds_as_a_job(cluster: tuple[Family, str], tmp_path: Path) -> None:
    members, address = cluster
    train = ["python", "videoseeker.py", "train", "configs/smoke.yaml", f"runs_dir={tmp_path}"]
    train += [f"tracking.uri=sqlite:///{tmp_path}/mlflow.db", "captions.steps=0"]
    submit = [*RAY, "job", "submit", "--address", address, "--working-dir", ".", "--", *train]
    done = members.run(*submit, timeout_s=1100)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    assert "succeeded" in done.stdout
    [metrics] = tmp_path.glob("smoke/**/metrics.jsonl")
    stages = [json.loads(line)["stage"] for line in metrics.read_text().splitlines()]
    assert stages == ["sft", "sft", "grpo"]
    [policy] = tmp_path.glob("smoke/*/policy")
    assert (policy / "model.safetensors").is_file()
    assert list(tmp_path.glob("smoke/*/checkpoints/step-000001/manifest.json"))


@pytest.mark.slow
def test_the_upload_leaves_the_environment_and_the_runs_behind(cluster: tuple[Family, str]) -> None:
    members, _ = cluster
    [package] = Path(members.environment["RAY_TMPDIR"]).glob(
        "session_2*/runtime_resources/working_dir_files/_ray_pkg_*/"
    )
    assert (package / "videoseeker.py").is_file()
    assert not [name for name in (".venv", ".git", "runs") if (package / name).exists()]
