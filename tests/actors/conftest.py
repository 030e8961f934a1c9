"""A real engine on a tiny model, a real video, and scripted policies."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from actors.engine.engine import PolicyEngine
from configs.episode import EpisodeConfig
from configs.policy import EngineConfig, TinyModelConfig
from env.chat import ChatFormat
from env.task import Task
from env.transcript import Transcript, Turn
from tests.films.sample_episode import MARK_S, write_media
from tests.models.tiny import build_tiny_model
from tools.marks.visual_prompt import VisualPrompt

CALL = '<think>Look.</think><tool_call>{"name": "%s", "arguments": %s}</tool_call>'
VIEW = CALL % ("view_visual_prompt", '{"frame": "frame_1"}')
CROP = CALL % ("crop_video", '{"start_time": 2.0, "end_time": 4.5}')
ANSWER = "<think>The mark is on the red square.</think><answer>red</answer>"


class Script:
    """Writes given turns, one after the other."""

    def __init__(self, chat: ChatFormat, turns: Sequence[str]) -> None:
        self._chat, self._turns = chat, iter(turns)

    async def act(self, transcript: Transcript, env: Any, max_tokens: int) -> Turn:
        text = next(self._turns)
        ids = self._chat.encode(text)
        return Turn(ids, (0.0,) * len(ids), text, "stop")


@pytest.fixture(scope="session")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    folder: Path = write_media(tmp_path_factory.mktemp("media"))
    mark = VisualPrompt(str(folder / "mark.png"), MARK_S, "rectangle")
    return Task("square", str(folder / "video.mp4"), "What colour is the marked shape?", "red", "OA", (mark,))


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = TinyModelConfig(hidden_size=64, layers=2, intermediate_size=96, vision_hidden_size=64, vision_layers=1)
    return build_tiny_model(config, [VIEW, CROP, ANSWER] * 20, tmp_path_factory.mktemp("model"), seed=0)


@pytest.fixture(scope="session")
def chat(model_dir: Path) -> ChatFormat:
    return ChatFormat.from_pretrained(model_dir)


@pytest.fixture
def episode() -> EpisodeConfig:
    return EpisodeConfig(
        prompt_style="compact",
        prompt_max_frames=4,
        prompt_max_pixels=64 * 64,
        tool_max_pixels=96 * 96,
        crop_max_frames=3,
        max_tool_rounds=2,
        max_turn_tokens=40,
        max_tokens=900,
        timeout_s=120,
    )


@pytest.fixture(scope="session")
def engine_config() -> EngineConfig:
    return EngineConfig(
        max_model_len=512, max_num_seqs=16, max_num_batched_tokens=1024, kv_cache_gib=0.02, request_timeout_s=60
    )


@pytest.fixture(scope="session")
def engine(engine_config: EngineConfig, model_dir: Path) -> Iterator[PolicyEngine]:
    engine = PolicyEngine(engine_config, str(model_dir))
    asyncio.run(engine.ready())
    yield engine
    engine.close()
