import asyncio
import dataclasses
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from actors.rollout.loop import play
from configs.run import Config
from configs.world import SEEKING_KINDS, TeacherConfig
from env.chat import ChatFormat
from env.looks import Sought
from env.task import Task
from env.trajectory import Trajectory
from env.turn import parse_turn
from synth.teachers.captions import MARKS, STRIPS, captions
from synth.teachers.readings import closer_look, said_moment
from synth.teachers.scripted import TeacherPolicy
from synth.teachers.turns import GUESS, NOT_HERE
from synth.world.datasheet import fewest_calls
from synth.world.question import WorldQuestion
from synth.world.sampling import make_world
from synth.world.tasks import as_choice, question_of

FAULTLESS = TeacherConfig(hasty={}, wander=0.0, recheck=0.0, give_up=0.0, look_on=0.0)


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
        least, (_, question) = fewest_calls(task), question_of(task)
        most = 1 + 2 * len(task.evidence) + (question.asks == "blink") if question.seeks else least
        assert least <= len(trajectory.calls) <= most


def test_of_options_it_names_the_right_one_by_its_text_and_guesses_among_them(
    small_data: tuple[Path, list[Task]], chat: ChatFormat, config: Config
) -> None:
    _, tasks = small_data
    rng = np.random.default_rng(0)
    asked = [as_choice(task, question_of(task)[1], rng) for task in tasks]
    assert all(trajectory.rewards.accuracy == 1.0 for trajectory in played(asked, chat, config, FAULTLESS))
    hasty = replace(FAULTLESS, hasty=dict.fromkeys(config.world.prompt_kinds, 1.0))
    for task, trajectory in zip(asked, played(asked, chat, config, hasty), strict=True):
        assert trajectory.answer in (task.options or ())


def test_its_thoughts_say_what_is_in_every_frame_it_fetched(
    small_data: tuple[Path, list[Task]], chat: ChatFormat, config: Config
) -> None:
    _, tasks = small_data
    for task, trajectory in zip(tasks, played(tasks, chat, config, FAULTLESS), strict=True):
        if task.evidence and task.kind != "spatial":
            thought = parse_turn(trajectory.turns[-1].text).thought
            assert thought is not None
            readings = thought.rsplit(". ", 1)[0]
            assert len(readings.split(",")) == len(trajectory.turns[-2].frames)


def test_its_habits_show_hasty_guesses_and_needless_calls(
    small_data: tuple[Path, list[Task]], chat: ChatFormat, config: Config
) -> None:
    _, tasks = small_data
    hasty = replace(FAULTLESS, hasty=dict.fromkeys(config.world.prompt_kinds, 1.0))
    guesses = played(tasks, chat, config, hasty)
    assert all([call.name for call in trajectory.calls] == ["view_visual_prompt"] for trajectory in guesses)
    assert 0 < sum(trajectory.rewards.accuracy for trajectory in guesses) < len(guesses)
    short = [task for task in tasks if len(task.evidence) < 2]  # rounds are left for needless ones
    plain, busy = (played(short, chat, config, teacher) for teacher in (FAULTLESS, replace(FAULTLESS, wander=1.0)))
    assert all(t.rewards.accuracy == 1.0 for t in busy)
    assert [len(t.calls) - len(b.calls) for t, b in zip(busy, plain, strict=True)] == [
        int(bool(task.evidence)) for task in short
    ]
    checked = played(short, chat, config, replace(FAULTLESS, recheck=1.0, look_on=1.0))
    for task, t, b in zip(short, checked, plain, strict=True):
        assert len(t.calls) - len(b.calls) == int(task.kind in SEEKING_KINDS or not task.evidence)
        assert t.rewards.accuracy == 1.0


def test_it_says_that_a_look_missed_and_looks_on_or_gives_up(
    small_data: tuple[Path, list[Task]], chat: ChatFormat, config: Config
) -> None:
    _, tasks = small_data
    sought = [task for task in tasks if task.kind in SEEKING_KINDS]
    missed = 0
    for task, patient, hopeless in zip(
        sought,
        played(sought, chat, config, FAULTLESS),
        played(sought, chat, config, replace(FAULTLESS, give_up=1.0)),
        strict=True,
    ):
        assert patient.rewards.accuracy == 1.0
        assert Sought.of(patient).found  # type: ignore[union-attr]
        if NOT_HERE in "".join(turn.text for turn in patient.turns) and len(task.evidence) == 1:
            missed += 1
            assert GUESS in hopeless.turns[-1].text
            assert not Sought.of(hopeless).found  # type: ignore[union-attr]
    assert missed > 0


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
    small_data: tuple[Path, list[Task]], chat: ChatFormat, config: Config, tmp_path: Path
) -> None:
    _, tasks = small_data
    made = [trajectory for task in tasks for trajectory in captions(task, chat, config, tmp_path)]
    marked = [t for t in made if t.turns[0].text.startswith("<think>The mark is on ")]
    plain = [t for t in made if t.turns[0].text.startswith("<think>There is no mark.")]
    strips, lookups, words = ([t for t in made if t.dimension == kind] for kind in ("strip", "lookup", "words"))
    assert len(marked) / (1 + MARKS) == len(tasks) == len(strips) / STRIPS > len(plain) > 0
    assert len(made) == len(marked) + len(plain) + len(strips) + len(lookups) + len(words)
    for trajectory in (*marked, *plain, *strips):
        assert trajectory.transcript.sampled_tokens > 10
        shown = len(trajectory.transcript.media)
        assert shown == len(trajectory.prompt_frames)
        assert shown == 1 or trajectory.dimension == "strip"
    for trajectory in strips:
        followed = trajectory.turns[0].text.split(" Follow ")[1:]
        assert 0 < len(followed) <= config.world.max_instances
        for text in followed:
            colour, readings = text.removesuffix(".").split(". ", 1)
            assert len(readings.split(", ")) == len(trajectory.prompt_frames)
            assert all(reading.split()[1] == colour for reading in readings.split(", "))


def test_a_moment_that_no_two_readings_enclose_is_that_of_the_nearest(config: Config) -> None:
    for seed in range(20):
        world = make_world(seed, config.world)
        for index, instance in enumerate(world.instances):
            if instance.absence is None:
                continue
            question = WorldQuestion("when", index, 0.0, asks="leave")
            away = np.arange(0.0, world.duration_s, 0.1).tolist()
            gone = next(t for t in away if not world.is_known(index, instance.colour, t))
            for times in ([gone - 2.0, gone - 1.0], [gone, gone + 1.0], [gone - 1.0, gone, gone + 1.0]):
                assert said_moment(world, question, times) == f"{min(times, key=lambda t: abs(t - gone)):.1f}"
    assert said_moment(world, question, []) == ""


def test_a_side_is_said_of_one_that_comes_back_and_of_nothing_else(config: Config) -> None:
    said = []
    for seed in range(10):
        world = make_world(seed, config.world)
        for index, instance in enumerate(world.instances):
            question = WorldQuestion("return_side", index, 0.0)
            times = np.arange(0.5, world.duration_s).tolist()
            read = " ".join(map(str, closer_look(world, question, times)))
            said.append(read.count(" from "))
            assert said[-1] == bool(instance.absence)
            if instance.absence:
                assert f" from {instance.exits[1]}" in read
    assert {0, 1} == set(said)
