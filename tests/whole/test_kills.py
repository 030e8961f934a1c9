"""A run that SIGKILL ends goes on: a step of training is done again bit for bit, and what was measured is kept.

`python -m benchmarks.resume` kills training at twenty random moments, against a run that nothing ends.
"""

import dataclasses
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from benchmarks.resume import Run, prepare
from configs import Config, to_yaml
from env.trajectory import load_trajectories
from recipes.difficulty import run_difficulty
from recipes.folder import RunFolder
from recipes.phases import run_eval
from storage.logs import whole_rows
from tests.servers.processes import Family, family

MEASURE = """
import sys
from configs import load_config
from recipes.difficulty import run_difficulty
from recipes.phases import run_eval
config = load_config(sys.argv[1])
run_difficulty(config, config.model.path)
run_eval(config, config.model.path)
"""


@pytest.fixture(autouse=True)
def no_ray() -> None:
    """A Ray that other tests of this process have left is not for these, which start their own."""
    ray.shutdown()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_run_does_its_lost_steps_again_bit_for_bit(tmp_path: Path) -> None:
    config = prepare(tmp_path, steps=5)
    config.grpo.checkpoint_every = 3
    first = Run(config, tmp_path / "runs")
    for _ in range(5):
        assert first.wait_for("update")
    assert first.kill().activity == "update"
    lost = first.rows()
    assert sorted(lost) == [1, 2, 3, 4]
    again = Run(config, tmp_path / "runs")
    assert again.wait_for(None)
    done = again.rows()
    assert sorted(done) == [1, 2, 3, 4, 5]
    assert done[4] == lost[4], "the checkpoint was that of step 3"
    assert done[4]["loss"] != done[3]["loss"]
    assert done[4]["grad_norm"] > 0


@pytest.fixture
def members() -> Iterator[Family]:
    # Ray's socket paths must be short, shorter than pytest's folders are.
    with tempfile.TemporaryDirectory(prefix="vs-", ignore_cleanup_errors=True) as place, family(Path(place)) as made:
        yield made


def _measured(config: Config) -> tuple[list[tuple[str, list[float]]], list[tuple[str, list[int]]]]:
    """What a run has found out: accuracies by task, and the tokens of the held-out episodes."""
    folder = RunFolder.of(config, make=False)
    rows = whole_rows(folder.arm / "difficulty.jsonl")
    episodes = load_trajectories(folder.episodes("eval"))
    return sorted((row["task_id"], row["accuracies"]) for row in rows), [
        (e.task_id, e.transcript.ids) for e in episodes
    ]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_killed_measurement_goes_on_and_finds_what_an_undisturbed_one_does(members: Family, tmp_path: Path) -> None:
    config = prepare(tmp_path, steps=0)
    config.eval.questions, config.eval.episodes_in_flight, config.difficulty.attempts = 0, 4, 4
    whole = dataclasses.replace(config, runs_dir=str(tmp_path / "undisturbed"))
    model = str(config.model.path)
    try:
        run_difficulty(whole, model)
        run_eval(whole, model)
    finally:
        ray.shutdown()
    config.runs_dir = str(tmp_path / "killed")
    settings = tmp_path / "config.yaml"
    settings.write_text(to_yaml(config))
    folder = RunFolder.of(config)
    episodes_folder = folder.episodes("eval").parent

    def kept(name: str) -> int:
        logs = [folder.arm / name] if name == "difficulty.jsonl" else episodes_folder.glob(name)
        return sum(len(list(whole_rows(log))) for log in logs)

    for name in ("difficulty.jsonl", "eval.jsonl.*.log"):
        process = members.start("-c", MEASURE, str(settings))
        deadline = time.monotonic() + 300
        while not kept(name):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.01)
        members.end()
        process.communicate()
        assert members.gone() == {}
        assert 0 < kept(name) < 5
    done = members.run("-c", MEASURE, str(settings))
    assert done.returncode == 0, done.stdout + done.stderr
    accuracies, episodes = _measured(config)
    assert (accuracies, episodes) == _measured(whole)
    assert len(accuracies) == len(episodes) == 5
    assert len({accuracy for _, tries in accuracies for accuracy in tries}) == 2, "it is right now and then"
    assert not kept("eval.jsonl.*.log")
