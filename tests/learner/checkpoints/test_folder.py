"""A checkpoint is whole or it is not there."""

from pathlib import Path

import pytest

from learner.checkpoints.folder import CheckpointError, best, latest, prune, read_manifest, writing


def write(directory: Path, step: int, text: str = "weights", **metrics: float) -> None:
    with writing(directory, step, {"version": step, "metrics": metrics}) as partial:
        (partial / "ranks").mkdir()
        (partial / "ranks" / "state.pt").write_text(text)


def test_the_latest_is_the_highest_step(tmp_path: Path) -> None:
    for step in (2, 10, 9):
        write(tmp_path, step)
    assert latest(tmp_path) == tmp_path / "step-000010"
    manifest = read_manifest(tmp_path / "step-000010")
    assert (manifest["step"], manifest["version"], manifest["files"]) == (10, 10, {"ranks/state.pt": 7})


def test_a_write_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    write(tmp_path, 1)

    def fails() -> None:
        with writing(tmp_path, 2) as partial:
            (partial / "state.pt").write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fails()
    assert latest(tmp_path) == tmp_path / "step-000001"


@pytest.mark.parametrize("damage", ["cut", "gone", "manifest"])
def test_a_torn_checkpoint_is_passed_over(tmp_path: Path, damage: str) -> None:
    write(tmp_path, 1)
    write(tmp_path, 2)
    torn = tmp_path / "step-000002"
    if damage == "cut":
        (torn / "ranks" / "state.pt").write_text("weig")
    else:
        (torn / ("manifest.json" if damage == "manifest" else "ranks/state.pt")).unlink()
    assert latest(tmp_path) == tmp_path / "step-000001"
    with pytest.raises(CheckpointError, match="not a whole checkpoint"):
        read_manifest(torn)


def test_no_checkpoint(tmp_path: Path) -> None:
    assert latest(tmp_path) is None
    assert latest(tmp_path / "nowhere") is None


def test_a_step_can_be_written_again(tmp_path: Path) -> None:
    write(tmp_path, 3, "old")
    write(tmp_path, 3, "newer")
    newest = latest(tmp_path)
    assert newest is not None
    assert (newest / "ranks" / "state.pt").read_text() == "newer"


def test_prune_keeps_the_newest_and_sweeps_up(tmp_path: Path) -> None:
    for step in range(1, 5):
        write(tmp_path, step)
    (tmp_path / "step-000005.partial").mkdir()
    prune(tmp_path, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000003", "step-000004"]


@pytest.mark.parametrize(("metric", "kept"), [("accuracy", 3), ("-loss", 1), ("", None), ("unheard", None)])
def test_prune_keeps_the_best_besides_the_newest(tmp_path: Path, metric: str, kept: int | None) -> None:
    for step, accuracy, loss in ((1, 0.2, 0.1), (2, 0.7, 0.5), (3, 0.7, 0.4), (4, 0.5, 0.3), (5, 0.6, 0.2)):
        write(tmp_path, step, accuracy=accuracy, loss=loss)
    prune(tmp_path, keep=2, metric=metric)
    steps = sorted(int(path.name[-6:]) for path in tmp_path.iterdir())
    assert steps == ([kept] if kept else []) + [4, 5]
    assert latest(tmp_path) == tmp_path / "step-000005"


def test_a_torn_checkpoint_is_never_the_best(tmp_path: Path) -> None:
    write(tmp_path, 1, accuracy=0.5)
    write(tmp_path, 2, accuracy=0.9)
    (tmp_path / "step-000002" / "ranks" / "state.pt").unlink()
    assert best(tmp_path, "accuracy") == tmp_path / "step-000001"


@pytest.mark.parametrize("metric", ["score", "-score"])
@pytest.mark.parametrize("scores", [[None, 0.9, 0.9], [0.9, None, 0.9], [None, None, 0.9], [0.9, None, None]])
def test_not_a_number_is_never_the_best(tmp_path: Path, scores: list[float | None], metric: str) -> None:
    for step, score in enumerate(scores, 1):
        write(tmp_path, step, score=float("nan") if score is None else score)
    champion = max(step for step, score in enumerate(scores, 1) if score is not None)
    assert best(tmp_path, metric) == tmp_path / f"step-{champion:06d}"
    prune(tmp_path, 1, metric)
    assert (tmp_path / f"step-{champion:06d}").is_dir()


def test_where_no_score_is_a_number_none_is_best(tmp_path: Path) -> None:
    write(tmp_path, 1, score=float("nan"))
    assert best(tmp_path, "score") is None
