"""A run that is interrupted while it makes data, in SFT or in GRPO ends cleanly; started again it goes on."""

import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.processes import Family, family, wait_for_line


@pytest.fixture
def members() -> Iterator[Family]:
    # Ray's socket paths must be short, shorter than pytest's folders are.
    folder = Path(tempfile.mkdtemp(prefix="vs-"))
    with family(folder) as made:
        yield made
    shutil.rmtree(folder, ignore_errors=True)


def _end(members: Family, process: Any, how: signal.Signals) -> None:
    process.send_signal(how)
    said, _ = process.communicate(timeout=90)
    assert process.returncode == 130, said
    assert "videoseeker: interrupted" in said
    assert "Traceback" not in said
    assert members.gone() == {}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_interrupted_run_ends_cleanly_and_goes_on(members: Family, tmp_path: Path) -> None:
    train: tuple[str, ...] = ("videoseeker.py", "train", "configs/smoke.yaml", f"runs_dir={tmp_path}", "--resume")
    train += (f"tracking.uri=sqlite:///{tmp_path}/mlflow.db", "captions.steps=0", "eval.every=1", "grpo.steps=2")
    world = members.start(*train, "world.train_videos=60")
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("smoke/data/videos/*.mp4")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    _end(members, world, signal.SIGTERM)
    assert not list(tmp_path.glob("smoke/data/*.jsonl")), "a folder with its task files would pass for complete"
    for before, how in (("teacher's episodes", signal.SIGINT), ("engines and ranks come up", signal.SIGTERM)):
        process = members.start(*train)
        wait_for_line(process, f"✓ both: {before}")
        _end(members, process, how)
    done = members.run(*train)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "smoke/both/policy/model.safetensors").is_file()
    assert (tmp_path / "smoke/both/episodes/step-000001.jsonl").is_file()
