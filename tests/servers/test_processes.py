"""Who waits for a server that has ended already hears of it at once."""

import re
from pathlib import Path

import pytest

from tests.servers.processes import family, wait_for_line

pytestmark = pytest.mark.process


def test_a_line_is_found_and_the_rest_is_still_to_be_read(tmp_path: Path) -> None:
    with family(tmp_path) as members:
        process = members.start("-c", r"print('one\ntwo at 3\nfour')")
        assert wait_for_line(process, "two") == "two at 3"
        assert process.stdout is not None
        assert process.stdout.read() == "four\n"


def test_one_that_ended_is_told_with_its_output_though_its_child_holds_the_pipe(tmp_path: Path) -> None:
    child = "import subprocess as s; s.Popen(['sleep', '60']); print('no room'); exit(3)"
    with family(tmp_path) as members:
        process = members.start("-c", child)
        with pytest.raises(AssertionError, match=re.escape("'up' never came: the process ended with 3:\nno room")):
            wait_for_line(process, "up", within_s=50)


def test_one_that_is_late_is_told(tmp_path: Path) -> None:
    with family(tmp_path) as members:
        process = members.start("-uc", "import time; print('loading'); time.sleep(60)")
        with pytest.raises(AssertionError, match="'up' is not there after 1 s"):
            wait_for_line(process, "up", within_s=1)
