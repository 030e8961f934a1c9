"""A tiny policy that answers red or blue, one as often as the other and sometimes after a look: GRPO learns from it."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from actors.rollout.loop import play
from configs import Config
from configs.policy import TinyModelConfig
from env.chat import ChatFormat
from env.environment import VideoEnv
from env.task import Task, load_tasks, save_tasks
from env.transcript import Transcript, Turn
from learner.model.tiny import build_tiny_model
from learner.sft import run_sft
from tests.films.sample_episode import MARK_S, write_media
from tools.marks.visual_prompt import VisualPrompt

SIZES = TinyModelConfig(hidden_size=64, layers=2, intermediate_size=96, vision_hidden_size=64, vision_layers=1)
LOOK = '<think>Look.</think><tool_call>{"name": "view_visual_prompt", "arguments": {"frame": "frame_1"}}</tool_call>'
RED, BLUE = "<think>Seen.</think><answer>red</answer>", "<think>Seen.</think><answer>blue</answer>"
SCRIPTS = ([RED], [BLUE], [RED], [BLUE], [LOOK, RED], [LOOK, BLUE])
TASKS = 5


class Script:
    """Writes given turns, one after the other."""

    def __init__(self, chat: ChatFormat, turns: Iterable[str]) -> None:
        self._chat, self._turns = chat, iter(turns)

    async def act(self, transcript: Transcript, env: VideoEnv, max_tokens: int) -> Turn:
        text = next(self._turns)
        ids = self._chat.encode(text)
        return Turn(ids, (0.0,) * len(ids), text, "stop")


def shorten(config: Config) -> None:
    """Set the config for short episodes on small frames, and for an engine whose samples repeat bit for bit."""
    episode, engine, sft = config.episode, config.engine, config.sft
    episode.prompt_style, episode.prompt_max_frames, episode.crop_max_frames = "compact", 3, 2
    episode.prompt_max_pixels = episode.tool_max_pixels = 64 * 64
    episode.max_tool_rounds, episode.max_turn_tokens, episode.max_tokens = 2, 40, 400
    engine.max_model_len, engine.max_num_batched_tokens, engine.max_num_seqs = 512, 1024, 16
    engine.kv_cache_gib, engine.deterministic = 0.05, True
    sft.steps, sft.batch, sft.lr = 110, 8, 3e-3


def write_tasks(path: Path) -> Path:
    """Write tasks whose answer is red, and their media beside them."""
    write_media(path.parent)
    task = Task("", "video.mp4", "Colour?", "red", "OA", (VisualPrompt("mark.png", MARK_S, "rectangle"),))
    save_tasks(path, [replace(task, id=f"task-{i}") for i in range(TASKS)])
    return path


def teach(config: Config, tasks_file: Path, folder: Path) -> Path:
    """Make the policy by supervised training on scripted episodes; needs Ray. Returns its model folder."""
    blank = build_tiny_model(SIZES, [LOOK, RED, BLUE] * 20, folder / "blank", seed=0)
    chat, task = ChatFormat.from_pretrained(blank), load_tasks(tasks_file)[0]
    lessons = [asyncio.run(play(task, Script(chat, turns), chat, config.episode)) for turns in SCRIPTS]
    return run_sft(config, lessons, blank, folder / "taught", lambda step, metrics: None)
