"""A judge that the run serves itself: a real server of vLLM on the run's Ray, killed and gone."""

import asyncio
import dataclasses
import os
import signal
import time
from contextlib import nullcontext, suppress
from pathlib import Path

import httpx
import pytest

from actors.engine.chat_server import command
from actors.errors import EngineError
from configs import Config, ConfigError, load_config
from configs.judge import ServedModelConfig
from configs.rules import Phase, check
from env.judging import model_judge
from env.judging.of_config import judge_of
from env.task import Task
from recipes.judging import require_judge, served_judge
from tests.models.parrot import build_parrot
from tests.servers.ray_session import own_ray

TASK = Task("t", "v.mp4", "What does he do with the cup?", "He puts the cup on the table.", "HA", ())
PHASES: tuple[Phase, ...] = ("judge", "eval", "grpo", "ablation")
REPLIES = ('{"reason":"so it is","agrees_with":"1","wholly":true}', '{"other_answer":"He drinks from it."}')
SETTINGS = (
    *("judge.by=model", "judge.model.max_tokens=400", "judge.model.timeout_s=60", "judge.pause_s=240"),
    *("judge.serve.max_model_len=4096", "judge.serve.max_num_seqs=8", "judge.serve.kv_cache_gib=0.2"),
)


def verdict(config: Config, answer: str) -> float:
    judge = judge_of(config)
    assert judge is not None

    async def ask() -> float:
        try:
            return await judge.verdict(TASK, answer)
        finally:
            await judge.close()

    return asyncio.run(ask())


def servers(model: Path) -> list[int]:
    """Process ids of the servers of a model."""
    found = []
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            line = (process / "cmdline").read_bytes().decode(errors="replace")
            found += [int(process.name)] if "api_server" in line and str(model) in line else []
    return found


@pytest.mark.slow
def test_a_judge_is_served_comes_back_when_it_is_killed_and_is_gone_with_the_run(tmp_path: Path) -> None:
    model = tmp_path / "model"
    build_parrot(model, REPLIES, [Path(model_judge.__file__).read_text()])
    config = load_config(None, [*SETTINGS, f"judge.serve.model={model}", f"runs_dir={tmp_path}"])
    check(config, "judge")
    with own_ray():
        with served_judge(config) as served:
            require_judge(served)
            assert verdict(served, "The man sets it down.") == 0.0, "it names the same place in both orders"
            [pid] = servers(model)
            os.kill(pid, signal.SIGKILL)
            assert verdict(served, "He holds it over the table.") == 0.0, "waited for, then asked"
            assert servers(model) != [pid]
            url = served.judge.model.base_url
        deadline = time.monotonic() + 30
        while servers(model):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"{url}/models", timeout=5)
        nowhere = dataclasses.replace(config.judge.serve, model=str(tmp_path / "nowhere"))
        lost = dataclasses.replace(config, judge=dataclasses.replace(config.judge, serve=nowhere))
        with pytest.raises(EngineError, match="nowhere: its server ended while it started"), served_judge(lost):
            pass


def test_what_a_command_checks_again_is_still_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipes check the config that they are given, which has the judge's address by then."""
    config = load_config(None, ["judge.by=model", "judge.serve.model=Qwen/Qwen3-8B"])
    check(config, "judge")
    monkeypatch.setattr("recipes.judging.start_ray", lambda _: None)
    monkeypatch.setattr("actors.engine.chat_server.served", lambda _: nullcontext("http://10.0.0.7:1234/v1"))
    with served_judge(config) as served:
        for phase in PHASES:
            check(served, phase)
        assert served.judge.model.base_url == "http://10.0.0.7:1234/v1"
        assert served.judge.model.model == "Qwen/Qwen3-8B"
        with served_judge(served) as same:
            assert same is served, "it is not served twice"


def test_a_config_that_has_none_served_is_left_as_it_is() -> None:
    config = Config()
    with served_judge(config) as same:
        assert same is config


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["judge.serve.model=m"], "nobody would ask it; set judge.by=model"),
        (["judge.by=model", "judge.serve.model=m", "judge.model.model=other"], "set one of them"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        check(load_config(None, settings), "judge")


def test_on_gpus_the_server_takes_as_many_as_it_was_given() -> None:
    line = command(ServedModelConfig(model="m", gpus=4))
    assert line[line.index("--tensor-parallel-size") + 1] == "4"
    assert "--enforce-eager" not in line
    assert "--enforce-eager" in command(ServedModelConfig(model="m"))
