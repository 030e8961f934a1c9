"""Calibration of a judge: what is printed, and what it rests on."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from configs import Config
from configs.endpoint import EndpointConfig
from configs.judge import JudgeConfig
from recipes.studies.calibration import calibrate
from tests.servers.chat_server import ChatServer, chat_server


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as made:
        yield made


def test_the_rules_alone_never_give_what_was_not_earned(tmp_path: Path) -> None:
    printed = io.StringIO()
    found = calibrate(Config(runs_dir=str(tmp_path)), None, Console(file=printed, width=120))
    assert found["rules"].pairs == 300
    assert found["rules"].too_high == 0.0
    assert all(kind in printed.getvalue() for kind in ("paraphrase", "injection", "kappa"))


def test_the_model_s_verdicts_stand_beside_the_rules_and_what_it_leaves_out_is_counted(
    server: ChatServer, tmp_path: Path
) -> None:
    file = tmp_path / "pairs.jsonl"
    rows = [("a cup", "a mug", 1), ("a cup", "A cup.", 1), ("a cup", "a plate", 0), ("a cup", "mumble", 0)]
    keys = ("truth", "answer", "label")
    file.write_text("".join(json.dumps({"question": "?", **dict(zip(keys, row, strict=True))}) + "\n" for row in rows))

    def reply(text: str) -> str:
        if "Right answer" in text:
            return json.dumps({"other_answer": "a bowl"})
        if '"mumble"' in text or "An earlier reply" in text:
            return "it is hard to say"
        place = "1" if 'Statement 1: "a cup"' in text else "2"
        agrees = place if '"a mug"' in text or '"A cup."' in text else "neither"
        return json.dumps({"reason": "", "agrees_with": agrees, "wholly": True})

    server.script = reply
    model = EndpointConfig(base_url=server.url, model="m", retries=0, timeout_s=20)
    config = Config(runs_dir=str(tmp_path), judge=JudgeConfig(by="model", model=model))
    found = calibrate(config, file, Console(file=io.StringIO()))
    assert (found["rules"].pairs, found["rules"].agreed) == (4, 0.75)
    assert (found["model"].pairs, found["model"].agreed, found["model"].kappa) == (3, 1.0, 1.0)
    assert found["rules, then model"].pairs == 3, "what has no verdict is no 0"
