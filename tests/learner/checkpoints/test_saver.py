"""Checkpoints that are written while the run goes on."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from learner.activity import Activity
from learner.checkpoints.folder import CheckpointError, latest, read_manifest
from learner.checkpoints.saver import Saver
from learner.ranks.host_snapshots import host_copy


@pytest.fixture
def saver(tmp_path: Path) -> Saver:
    return Saver(tmp_path, keep=2, metric="accuracy", timeout_s=20.0)


class State:
    """What a run holds, and how long its disk takes."""

    def __init__(self) -> None:
        self.value = 0
        self.disk = threading.Event()

    def start(self, folder: Path) -> Callable[..., Any]:
        value = self.value

        def finish() -> None:
            assert self.disk.wait(20)
            (folder / "state").write_text(str(value))

        return finish


def test_what_is_written_is_of_the_moment_of_the_save_and_the_run_goes_on(saver: Saver, tmp_path: Path) -> None:
    state = State()
    state.value = 1
    saver.save(1, state.start, block=False)
    state.value = 2
    assert latest(tmp_path) is None
    state.disk.set()
    saver.wait()
    newest = latest(tmp_path)
    assert newest is not None
    assert (newest / "state").read_text() == "1"


def test_the_next_save_waits_for_the_one_before(saver: Saver, tmp_path: Path) -> None:
    state, seen = State(), []

    def start(folder: Any) -> Any:
        seen.append(latest(tmp_path))
        return state.start(folder)

    saver.save(1, start, block=False)
    threading.Timer(0.2, state.disk.set).start()
    saver.save(2, start, block=True)
    assert seen == [None, tmp_path / "step-000001"]
    assert latest(tmp_path) == tmp_path / "step-000002"


def test_a_disk_that_never_answers_costs_later_checkpoints_but_not_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saver, state = Saver(tmp_path, keep=2, metric="", timeout_s=0.1), State()
    saver.save(1, state.start, block=False)
    saver.save(2, state.start, block=False)
    assert saver.failed == 1
    assert "checkpoint of step 2: left out" in caplog.text
    saver.close()
    assert saver.failed == 2
    assert "was not written within 0.1 s" in caplog.text, "the end of the run does not pass over it"
    state.disk.set()


@pytest.mark.parametrize("when", ["copy", "write"])
def test_an_error_is_told_in_one_sentence_and_the_next_checkpoint_is_written(
    saver: Saver, tmp_path: Path, caplog: pytest.LogCaptureFixture, when: str
) -> None:
    def fails(*_: Any) -> Any:
        raise OSError("No space left\non device")

    saver.save(1, fails if when == "copy" else lambda folder: fails, block=False)
    saver.wait()
    saver.observe({"accuracy": 0.5})
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "checkpoint of step 1: No space left on device; the run goes on" in caplog.text
    assert saver.failed == 1
    saver.save(2, lambda folder: lambda: None, block=True)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000002"]


def test_the_best_is_by_the_mean_since_the_checkpoint_before(saver: Saver, tmp_path: Path) -> None:
    for step, accuracy in enumerate((0.2, 0.8, 0.9, 0.3, 0.1, 0.1, 0.0, 0.0), 1):
        saver.observe({"accuracy": accuracy, "loss": 1.0})
        if step % 2 == 0:
            saver.save(step, lambda folder: lambda: None, block=True)
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["step-000004", "step-000006", "step-000008"]
    assert read_manifest(tmp_path / "step-000004")["metrics"] == {"accuracy": pytest.approx(0.6)}


def test_an_unknown_metric_is_refused_at_the_first_step(saver: Saver) -> None:
    with pytest.raises(CheckpointError, match=r"grpo.best_metric: no metric accuracy; there are loss, reward"):
        saver.observe({"reward": 1.0, "loss": 1.0})


def test_a_host_copy_shares_nothing_with_the_state_but_what_was_shared_in_it() -> None:
    weight = torch.arange(6.0)
    state = {"embed": weight, "head": weight, "row": weight[:3], "steps": [(torch.ones(1), "adam")], "lr": 0.1}
    copied = host_copy(state)
    weight.add_(1.0)
    state["steps"][0][0].zero_()
    assert torch.equal(copied["embed"], torch.arange(6.0))
    assert copied["head"] is copied["embed"]
    assert torch.equal(copied["row"], torch.arange(3.0))
    assert torch.equal(copied["steps"][0][0], torch.ones(1))
    assert (copied["steps"][0][1], copied["lr"]) == ("adam", 0.1)


def test_who_watches_is_told_when_a_checkpoint_is_being_written(tmp_path: Path) -> None:
    activities: list[Activity] = []
    saver = Saver(tmp_path, keep=1, metric="", timeout_s=20.0, on_activity=activities.append)
    saver.save(1, lambda folder: lambda: activities.append("between"), block=True)
    assert activities == ["writing", "between", "written"]


def test_a_step_without_the_metric_is_none_that_counts(tmp_path: Path) -> None:
    saver, state = Saver(tmp_path, keep=2, metric="loss", timeout_s=20.0), State()
    state.disk.set()
    for value in (3.0, float("nan"), 1.0):
        saver.observe({"loss": value})
    saver.save(3, state.start, block=True)
    newest = latest(tmp_path)
    assert newest is not None
    assert read_manifest(newest)["metrics"] == {"loss": 2.0}
