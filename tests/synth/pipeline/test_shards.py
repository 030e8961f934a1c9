"""A stage's work survives any death of its worker."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from synth.pipeline.shards import Journal, read_records, shard_file, write_records
from synth.record import Marked, Mask, Record, Target

RECORDS = [Record(f"r{i}", "test", "v.mp4", f"What {i}?", "yes") for i in range(4)]


def test_a_record_and_its_json_are_the_same_thing() -> None:
    full = dataclasses.replace(
        RECORDS[0],
        options=("a", "b"),
        target=Target("the dog", "small brown dog", 0.5, 2.0, "What does <vp> do?", ("a", "<vp>"), "point"),
        masks=(Mask(1.0, {"size": [4, 4], "counts": "04"}, (0.0, 1.0, 2.0, 3.0)),),
        marked=Marked("m.png", 1.0, "point", {"points": [[1, 2]]}, "What does it do?", ("a", "it")),
    )
    for record in (RECORDS[0], full, full.rejected("mask", "too small")):
        assert Record.from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_the_shard_s_file_has_the_input_s_order_whatever_ended_first(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 3, "run")
    for record in reversed(RECORDS):
        journal.begin(record)
        journal.end(record, [record] if record.id != "r1" else [record, dataclasses.replace(record, id="r1b")])
    assert not shard_file(tmp_path, 3).exists()
    journal.finish(RECORDS)
    assert [record.id for record in read_records(shard_file(tmp_path, 3))] == ["r0", "r1", "r1b", "r2", "r3"]
    assert [path.name for path in tmp_path.iterdir()] == ["000003.jsonl"]


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_a_line_that_a_kill_cut_short_is_as_if_it_had_not_been_written(tmp_path: Path, cut: int) -> None:
    journal = Journal(tmp_path, 0, "run")
    for record in RECORDS[:2]:
        journal.begin(record)
        journal.end(record, [record])
    journal.close()
    path = tmp_path / "000000.journal"
    path.write_bytes(path.read_bytes()[:-cut])
    again = Journal(tmp_path, 0, "run")
    assert list(again.done) == (["r0", "r1"] if cut == 1 else ["r0"])
    again.end(RECORDS[2], [RECORDS[2]])
    again.close()
    assert "r2" in Journal(tmp_path, 0, "run").done


def test_who_was_there_at_deaths_is_tried_alone_and_given_up_when_it_alone_was(tmp_path: Path) -> None:
    guilty, bystander = RECORDS[:2]
    for death in range(2):
        journal = Journal(tmp_path, 0, "run")
        assert not journal.suspected(guilty), death
        journal.begin(guilty)
        journal.begin(bystander)
    journal = Journal(tmp_path, 0, "run")
    assert journal.suspected(guilty)
    assert journal.suspected(bystander)
    journal.begin(bystander)
    journal.end(bystander, [bystander])
    for _ in range(2):
        journal.begin(guilty, alone=True)
        journal = Journal(tmp_path, 0, "run")
    assert journal.hopeless(guilty)
    assert not journal.hopeless(bystander)
    assert bystander.id in journal.done


def test_a_run_that_is_stopped_again_and_again_blames_no_record(tmp_path: Path) -> None:
    for run in range(9):
        journal = Journal(tmp_path, 0, f"run {run}")
        assert not journal.suspected(RECORDS[0])
        assert not journal.hopeless(RECORDS[0])
        journal.begin(RECORDS[0], alone=run % 2 == 0)


def test_records_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    def broken() -> Iterator[Record]:
        yield RECORDS[0]
        raise RuntimeError("gone")

    with pytest.raises(RuntimeError, match="gone"):
        write_records(tmp_path / "a.jsonl", broken())
    assert not (tmp_path / "a.jsonl").exists()
