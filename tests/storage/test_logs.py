"""Logs whose torn tails are no harm."""

import json
from pathlib import Path

import pytest

from storage.logs import AppendLog, LogReader, json_object, machine_log, whole_rows


def test_lines_of_all_logs_are_read_once_with_their_places(tmp_path: Path) -> None:
    logs = [AppendLog(tmp_path / f"{name}.log") for name in "ab"]
    reader = LogReader(tmp_path, ".log")
    logs[0].append(b"one")
    logs[1].append(b"two")
    assert sorted(line for _, _, line in reader.news()) == [b"one", b"two"]
    assert list(reader.news()) == []
    logs[0].append(b"three")
    [(path, at, line)] = reader.news()
    assert line == b"three"
    with open(path, "rb") as file:
        file.seek(at)
        assert file.readline() == b"three\n"


def test_a_torn_line_is_waited_for_and_ended_by_the_next_writer(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b'{"a": 1}\n{"b"')
    reader = LogReader(tmp_path, ".log")
    assert [line for _, _, line in reader.news()] == [b'{"a": 1}']
    AppendLog(path).append(b'{"c": 3}')
    assert [json_object(line) for _, _, line in reader.news()] == [None, {"c": 3}]
    assert list(whole_rows(path)) == [{"a": 1}, {"c": 3}]


def test_a_folder_that_is_not_there_has_no_news(tmp_path: Path) -> None:
    assert list(LogReader(tmp_path / "none", ".log").news()) == []
    assert list(whole_rows(tmp_path / "none.jsonl")) == []


def test_each_machine_has_a_log_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.node", lambda: "a/b c")
    assert machine_log(tmp_path, ".log").name == "a-b-c.log"


def test_a_full_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AppendLog(tmp_path / "a.log")
    monkeypatch.setattr("os.write", lambda file, data: len(data) - 1)
    with pytest.raises(OSError, match="No space left"):
        log.append(json.dumps({"a": 1}).encode())
