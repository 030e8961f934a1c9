"""What `videoseeker score` prints."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from configs import Config
from evals.responses import ResponseError
from recipes.studies.saved_responses import print_scores


def test_what_is_printed_has_the_published_scripts_beside_it(tmp_path: Path) -> None:
    rows = [{"id": i, "response": said, "answer": "B", "options": ["a", "b"]} for i, said in enumerate("B?")]
    file, printed = tmp_path / "responses.jsonl", io.StringIO()
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    print_scores(Config(), str(file), None, ["all"], Console(file=printed, width=200))
    assert "accuracy 50.0 % of 2 questions" in printed.getvalue()
    assert "names no option, or several: 1, counted as wrong" in printed.getvalue()
    assert "inst_it_bench" in printed.getvalue()
    with pytest.raises(ResponseError, match="no rule 'mine'; there are video_mme"):
        print_scores(Config(), str(file), None, ["mine"], Console(quiet=True))
