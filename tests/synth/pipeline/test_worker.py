"""A stage at work: every record ends, and only the run's own troubles stop it."""

import asyncio
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import pytest

from endpoint.endpoint import EndpointError
from synth.pipeline.shards import read_records, shard_file, write_records
from synth.pipeline.worker import ASIDE, GIVEN_UP, ShardRow, StageWorker
from synth.record import Record, Rejected
from tools.decoding.frame import BusyError, DecoderError

ROW: ShardRow = {"shard": 0, "error": ""}
TRIED: list[str] = []
"""Records that found what they need busy."""


async def fussy(record: Record) -> Record | list[Record]:
    """Do with a record what its question says."""
    await asyncio.sleep(0)
    match record.question:
        case "reject":
            raise Rejected("too fussy")
        case "break":
            raise OSError("the file is gone\nand more")
        case "unreachable":
            raise EndpointError("http://nowhere: cannot be reached")
        case "no decoder":
            raise DecoderError("the decode process did not start, or not within 60 s")
        case "busy" if not TRIED:
            TRIED.append(record.id)
            raise BusyError("the decode process was busy for 600 s")
        case "wait":
            await asyncio.sleep(0.5)
        case "die":
            await asyncio.sleep(0.1)  # until the others are in work too
            os._exit(9)
        case "two":
            return [record, Record(f"{record.id}b", "test", "v.mp4", "made", "yes")]
    return record


def records(*questions: str) -> list[Record]:
    return [Record(f"r{i}", "test", "v.mp4", question, "yes") for i, question in enumerate(questions)]


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    def shard(*questions: str) -> Path:
        (tmp_path / "before").mkdir(exist_ok=True)
        write_records(shard_file(tmp_path / "before", 0), records(*questions))
        return tmp_path

    return shard


def work(folder: Path) -> ShardRow:
    return StageWorker(lambda: fussy, folder / "before", folder / "text", "run")(ROW)


def work_on_two(folder: Path) -> None:
    """Shards 0 and 1 at the same time, as Ray Data calls an actor."""
    worker = StageWorker(lambda: fussy, folder / "before", folder / "text", "run")
    with ThreadPoolExecutor() as threads:
        list(threads.map(worker, ({**ROW, "shard": 1}, ROW)))


def deaths_until_done(target: Callable[[Path], object], folder: Path) -> int:
    """Have workers, each in a process of its own, work until one has done it; how many died of it before."""
    for deaths in range(10):
        worker = multiprocessing.get_context("spawn").Process(target=target, args=(folder,))
        worker.start()
        worker.join(60)
        if worker.exitcode == 0:
            return deaths
        assert worker.exitcode == 9
    raise AssertionError("workers die for ever")


def after(folder: Path) -> list[Record]:
    return read_records(shard_file(folder / "text", 0))


def test_records_end_as_let_through_rejected_several_or_set_aside(folder: Callable[..., Path]) -> None:
    where = folder("fine", "reject", "two", "break")
    assert work(where) == ROW
    assert [(r.id, r.rejected_by, r.reason) for r in after(where)] == [
        ("r0", "", ""),
        ("r1", "text", "too fussy"),
        ("r2", "", ""),
        ("r2b", "", ""),
        ("r3", "text", ASIDE + "failed with OSError"),
    ]
    assert after(where)[-1].detail == "OSError: the file is gone"


def test_a_record_whose_decoder_was_busy_gets_its_turn(folder: Callable[..., Path]) -> None:
    TRIED.clear()
    where = folder("fine", "busy")
    assert work(where) == ROW
    assert TRIED == ["r1"]
    assert [(r.id, r.rejected_by) for r in after(where)] == [("r0", ""), ("r1", "")]


def test_what_an_earlier_stage_rejected_is_carried_on_untouched(folder: Callable[..., Path], tmp_path: Path) -> None:
    where = folder()
    gone = records("die")[0].rejected("question", "nothing moves")
    write_records(shard_file(where / "before", 0), [gone])
    assert work(where) == ROW
    assert after(where) == [gone]


def test_the_run_s_own_trouble_is_told_and_what_was_done_is_kept(folder: Callable[..., Path]) -> None:
    assert work(folder("no decoder"))["error"] == "the decode process did not start, or not within 60 s"
    where = folder("fine", "unreachable")
    assert work(where)["error"] == "http://nowhere: cannot be reached"
    assert not shard_file(where / "text", 0).exists()
    write_records(shard_file(where / "before", 0), [*records("die"), Record("r1", "test", "v.mp4", "fine", "yes")])
    assert work(where) == ROW, "r0 had ended, so it is not asked again"
    assert [record.question for record in after(where)] == ["fine", "fine"]


def test_an_error_of_another_stage_and_a_finished_shard_are_passed_by(folder: Callable[..., Path]) -> None:
    where = folder("die")
    worker = StageWorker(lambda: fussy, where / "before", where / "text", "run")
    assert worker({**ROW, "error": "gone"})["error"] == "gone"
    (where / "text").mkdir()
    write_records(shard_file(where / "text", 0), [])
    assert work(where) == ROW


def test_a_stage_that_cannot_be_made_is_one_sentence(folder: Callable[..., Path]) -> None:
    def make() -> NoReturn:
        raise ValueError("synth.text_model.model: is empty")

    row = StageWorker(make, folder("fine") / "before", folder("fine") / "text", "run")(ROW)
    assert row["error"] == "synth.text_model.model: is empty"


@pytest.mark.process
def test_a_record_that_kills_its_worker_is_given_up_and_the_others_end(folder: Callable[..., Path]) -> None:
    where = folder(*["fine"] * 5, "die", *["fine"] * 5)
    assert deaths_until_done(work, where) == 4, "twice in company, twice alone"
    assert [r.reason for r in after(where)] == [""] * 5 + [GIVEN_UP] + [""] * 5


@pytest.mark.process
def test_a_record_alone_in_its_shard_is_not_blamed_for_one_of_another_shard(folder: Callable[..., Path]) -> None:
    where = folder("die")
    write_records(shard_file(where / "before", 1), [Record("slow", "test", "v.mp4", "wait", "yes")])
    assert deaths_until_done(work_on_two, where)
    assert [r.reason for shard in (0, 1) for r in read_records(shard_file(where / "text", shard))] == [GIVEN_UP, ""]
