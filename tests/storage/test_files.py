"""Files and folders that are whole or not there."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from storage.files import (
    begin_folder,
    commit_folder,
    numbered_rows,
    read_rows,
    whole_file,
    whole_folder,
    write_rows,
    write_text,
)


@pytest.mark.parametrize("durable", [False, True])
def test_a_block_that_raises_leaves_what_was_there(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), whole_file(path, durable=durable) as partial:
        partial.write_text(f"half {1 / 0}")
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]
    with whole_file(path, durable=durable) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.process
def test_a_killed_writer_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    program = (
        "import os, signal\nfrom storage.files import whole_file\n"
        f"with whole_file({str(path)!r}) as partial:\n"
        "    partial.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == -signal.SIGKILL
    assert path.read_text() == "old"


@pytest.mark.parametrize("text", ['\ufeff{"a": 1}', '\ufeff{"a": 1}\r\n', '\ufeff\n\n{"a": 1}\n'])
def test_a_byte_order_mark_is_no_part_of_a_row(tmp_path: Path, text: str) -> None:
    (tmp_path / "rows.jsonl").write_text(text, encoding="utf-8")
    assert list(read_rows(tmp_path / "rows.jsonl")) == [{"a": 1}]


def test_rows_come_back_and_a_line_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows: list[dict[str, Any]] = [{"a": 1}, {"b": "é\n"}]
    write_rows(path, rows)
    assert list(read_rows(path)) == rows
    path.write_text('{"a": 1}\n{"b"')
    with pytest.raises(ValueError, match=r"rows\.jsonl: line 2 is not JSON"):
        list(read_rows(path))
    path.write_bytes(b"\xff\n")
    with pytest.raises(ValueError, match=r"rows\.jsonl: is not UTF-8 text"):
        list(read_rows(path))


def test_empty_lines_are_passed_over_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('\n{"a": 1}\n\n{"b": 2}\n')
    assert list(numbered_rows(path)) == [(2, {"a": 1}), (4, {"b": 2})]


@pytest.mark.parametrize("durable", [False, True])
def test_a_folder_takes_the_place_of_the_old_one_whole(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "folder"
    for content in ("old", "new"):
        with whole_folder(path, durable=durable) as partial:
            (partial / "deep").mkdir()
            (partial / "deep" / "file").write_text(content)
        assert (path / "deep" / "file").read_text() == content
    with pytest.raises(RuntimeError), whole_folder(path):
        raise RuntimeError
    assert (path / "deep" / "file").read_text() == "new"


def test_what_an_earlier_writer_left_is_not_taken_along(tmp_path: Path) -> None:
    (begin_folder(tmp_path / "a") / "stale").touch()
    partial = begin_folder(tmp_path / "a")
    (partial / "fresh").touch()
    assert [item.name for item in commit_folder(partial).iterdir()] == ["fresh"]
