import asyncio
import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from actors.rollout.loop import play
from configs.run import Config
from configs.world import TeacherConfig
from env.chat import ChatFormat
from env.task import Task
from env.trajectory import Trajectory
from env.turn import parse_turn
from synth.teachers.captions import captions
from synth.teachers.scripted import TeacherPolicy, corpus, question_of
from synth.world.tasks import as_choice
from tests.models.tiny import build_tiny_model

FAULTLESS = TeacherConfig(hasty={}, wander=0.0, recheck=0.0)


@pytest.fixture(scope="module")
def chat(small_data: tuple[Path, list[Task]], config: Config, tmp_path_factory: pytest.TempPathFactory) -> ChatFormat:
    _, tasks = small_data
    folder = tmp_path_factory.mktemp("model")
    return ChatFormat.from_pretrained(build_tiny_model(config.model.tiny, corpus(tasks, config.world), folder, 0))


def played(
    tasks: list[Task],
    chat: ChatFormat,
    config: Config,
    teacher: TeacherConfig,
    tools: tuple[str, ...] = ("view_visual_prompt", "crop_video"),
) -> list[Trajectory]:
    episode = dataclasses.replace(config.episode, tools=list(tools))
    policy = TeacherPolicy(chat, teacher, config.world, seed=0)

    async def all_of_them() -> list[Trajectory]:
        return await asyncio.gather(*(play(task, policy, chat, episode) for task in tasks))

    return asyncio.run(all_of_them())


def test_a_faultless_teacher_is_always_right_and_never_misuses_a_tool(
    small_data: tuple[Path, list[Task]], chat: ChatFormat, config: Config
) -> None:
    _, tasks = small_data
    for task, trajectory in zip(tasks, played(tasks, chat, config, FAULTLESS), strict=True):
        assert trajectory.rewards.accuracy == 1.0, (task.question, [turn.text for turn in trajectory.turns])
        assert trajectory.rewards.format == 1.0
        assert all(call.ok for call in trajectory.calls)
        assert len(trajectory.calls) == (2 if task.facts["window"] else 1)


def test_of_options_it_names_the_right_one_by_its_text_and_guesses_among_them(
    small_data: tuple[Path, list[Task]], chat: ChatFormat, config: Config
) -> None:
    _, tasks = small_data
    rng = np.random.default_rng(0)
    asked = [as_choice(task, question_of(task)[1], rng) for task in tasks]
    assert all(trajectory.rewards.accuracy == 1.0 for trajectory in played(asked, chat, config, FAULTLESS))
    hasty = TeacherConfig(hasty=dict.fromkeys(config.world.prompt_kinds, 1.0), wander=0.0, recheck=0.0)
    for task, trajectory in zip(asked, played(asked, chat, config, hasty), strict=True):
        assert trajectory.answer in (task.options or ())


def test_its_thoughts_say_what_is_in_every_frame_it_fetched(
    small_data: tuple[Path, list[Task]], chat: ChatFormat, config: Config
) -> None:
    _, tasks = small_data
    for task, trajectory in zip(tasks, played(tasks, chat, config, FAULTLESS), strict=True):
        if task.facts["window"] and task.facts["kind"] != "spatial":
            thought = parse_turn(trajectory.turns[-1].text).thought
            assert thought is not None
            readings = thought.rsplit(". ", 1)[0]
            assert len(readings.split(",")) == len(trajectory.turns[-2].frames)


def test_its_habits_show_hasty_guesses_and_needless_calls(
    small_data: tuple[Path, list[Task]], chat: ChatFormat, config: Config
) -> None:
    _, tasks = small_data
    hasty = TeacherConfig(hasty=dict.fromkeys(config.world.prompt_kinds, 1.0), wander=0.0, recheck=0.0)
    guesses = played(tasks, chat, config, hasty)
    assert all([call.name for call in trajectory.calls] == ["view_visual_prompt"] for trajectory in guesses)
    assert 0 < sum(trajectory.rewards.accuracy for trajectory in guesses) < len(guesses)
    busy = played(tasks, chat, config, TeacherConfig(hasty={}, wander=1.0, recheck=1.0))
    calls = Counter(tuple(call.name for call in trajectory.calls) for trajectory in busy)
    assert set(calls) == {("view_visual_prompt",) * 2, ("view_visual_prompt", "crop_video", "crop_video")}
    assert all(trajectory.rewards.accuracy == 1.0 for trajectory in busy)


@pytest.mark.parametrize("tools", [(), ("crop_video",), ("view_visual_prompt",)])
def test_it_plays_every_arm_with_the_tools_on_offer_only(
    tools: tuple[str, ...], small_data: tuple[Path, list[Task]], chat: ChatFormat, config: Config
) -> None:
    _, tasks = small_data
    for trajectory in played(tasks, chat, config, FAULTLESS, tools):
        assert trajectory.answer is not None
        assert {call.name for call in trajectory.calls} <= set(tools)


def test_an_episode_is_a_function_of_seed_and_task(
    small_data: tuple[Path, list[Task]], chat: ChatFormat, config: Config
) -> None:
    _, tasks = small_data
    first, second = (played(tasks, chat, config, config.teacher) for _ in range(2))
    assert [t.transcript.ids for t in first] == [t.transcript.ids for t in second]


def test_captions_teach_the_words_of_the_thoughts(
    small_data: tuple[Path, list[Task]], chat: ChatFormat, config: Config
) -> None:
    _, tasks = small_data
    made = [trajectory for task in tasks for trajectory in captions(task, chat, config)]
    marked = [t for t in made if t.turns[0].text.startswith("<think>The mark is on ")]
    plain = [t for t in made if t.turns[0].text.startswith("<think>There is no mark.")]
    assert len(marked) == len(tasks) > len(plain) == len(made) - len(marked) > 0
    for trajectory in made:
        assert trajectory.transcript.sampled_tokens > 10
        assert len(trajectory.transcript.media) == len(trajectory.prompt_frames) == 1
