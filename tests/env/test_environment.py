"""Episodes on a real video: rounds, errors, rewards and the gymnasium contract."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from configs.episode import EpisodeConfig, RewardConfig
from env.environment import VideoEnv
from env.prompt import system_prompt
from env.task import Task
from env.trajectory import Rewards
from env.turn import ParsedCall, write_turn
from tools.decoding.frame import Frame
from tools.decoding.video import VideoError
from tools.marks.visual_prompt import VisualPrompt

LOOK = write_turn("see the mark", ParsedCall("view_visual_prompt", {}))
CROP = write_turn("look closer", ParsedCall("crop_video", {"start_time": 1.0, "end_time": 2.0}))
RIGHT = write_turn("it is red", "red")
WRONG = write_turn("it is blue", "blue")


def config(**changes: Any) -> EpisodeConfig:
    """Frames of one token row, four coarse ones."""
    small: dict[str, Any] = {
        "prompt_style": "compact",
        "prompt_max_frames": 4,
        "prompt_max_pixels": 32 * 32,
        "tool_max_pixels": 64 * 64,
    }
    return EpisodeConfig(**{**small, **changes})


def started(task: Task, **changes: Any) -> VideoEnv:
    env = VideoEnv(config(**changes))
    env.reset(options={"task": task})
    return env


def words(part: str | Frame) -> str:
    assert isinstance(part, str)
    return part


def test_the_first_look_is_spread_evenly_with_true_times(task: Task) -> None:
    env = VideoEnv(config())
    content, info = env.reset(options={"task": task})
    assert info == {"task_id": "t1"}
    assert [frame.time_s for frame in env.frames] == [0.5, 1.5, 2.5, 3.5]
    assert [part for part in content if isinstance(part, Frame)] == env.frames
    assert [int(frame.pixels.mean()) for frame in env.frames] == pytest.approx([40, 90, 140, 190], abs=6)
    assert {frame.pixels.shape for frame in env.frames} == {(32, 32, 3)}
    assert content[-1] == task.question


@pytest.mark.parametrize(("changes", "frames"), [({"prompt_max_frames": 2}, 2), ({"prompt_fps": 0.01}, 1), ({}, 4)])
def test_the_first_look_is_bounded(task: Task, changes: dict[str, Any], frames: int) -> None:
    assert len(started(task, **changes).frames) == frames


def test_without_the_tool_the_marked_frame_stands_in_the_prompt_at_prompt_size(task: Task) -> None:
    env = VideoEnv(config(tools=["crop_video"]))
    content, _ = env.reset(options={"task": task})
    assert content[-3] == "marked frame at 1.5 s: "
    mark = env.frames[-1]
    assert (mark.ref.path, mark.time_s, mark.pixels.shape) == (task.visual_prompts[0].image, 1.5, (32, 32, 3))
    assert mark.pixels[0, 0].tolist() == [255, 0, 0]


def test_without_the_tool_the_mark_may_go_unshown(task: Task) -> None:
    env = VideoEnv(config(tools=["crop_video"], mark_in_prompt=False))
    content, _ = env.reset(options={"task": task})
    assert not [part for part in content if isinstance(part, str) and "marked frame" in part]
    assert {frame.ref.path for frame in env.frames} == {task.video}
    full = config(tools=["crop_video"], mark_in_prompt=False, prompt_style="full")
    assert "No marked frame is shown." in system_prompt(full)


def test_an_episode_with_both_tools(task: Task) -> None:
    env = started(task)
    seen = len(env.frames)
    content, reward, terminated, truncated, info = env.step(LOOK)
    assert (reward, terminated, truncated, info) == (0.0, False, False, {})
    assert content[0] == "marked frame at 1.5 s: "
    assert isinstance(content[1], Frame)
    assert content[1].pixels.shape == (64, 64, 3)
    content, *_ = env.step(CROP)
    crop = [part for part in content if isinstance(part, Frame)]
    assert crop
    assert all(1.0 <= frame.time_s < 2.0 for frame in crop)
    assert env.rounds_left == 3
    assert env.frames[seen:] == [env.frames[seen], *crop]
    content, reward, terminated, truncated, info = env.step(RIGHT)
    rewards, answer, stop = env.result()
    assert (content, terminated, truncated, answer, stop) == ((), True, False, "red", "answer")
    assert reward == rewards.total == pytest.approx(0.8 + 0.15 + 0.05 * 0.6)
    assert info == {"rewards": rewards, "answer": "red", "stop": "answer"}
    assert [(call.name, call.ok, call.frames) for call in env.calls] == [
        ("view_visual_prompt", True, 1),
        ("crop_video", True, len(crop)),
    ]


def test_turns_are_recorded_for_people(task: Task) -> None:
    env = started(task)
    env.step(LOOK)
    env.step(RIGHT)
    assert env.turns[0].text == LOOK
    assert env.turns[0].observation == "marked frame at 1.5 s: [frame 1.5 s]"
    assert env.turns[0].frames == (env.frames[-1].ref,)
    assert (env.turns[1].text, env.turns[1].observation, env.turns[1].frames) == (RIGHT, "", ())


@pytest.mark.parametrize(
    "call",
    [
        ParsedCall("crop_video", {"start_time": 3.0, "end_time": 1.0}),
        ParsedCall("crop_video", {"start_time": "soon"}),
        ParsedCall("view_visual_prompt", {"frame": "/etc/passwd"}),
        ParsedCall("rm", {"path": "/"}),
    ],
)
def test_a_refused_call_is_an_observation_and_the_episode_goes_on(task: Task, call: ParsedCall) -> None:
    env = started(task)
    content, reward, terminated, *_ = env.step(write_turn("try", call))
    assert words(content[0]).startswith("error: ")
    assert (reward, terminated, env.rounds_left) == (0.0, False, 4)
    assert (env.calls[0].ok, env.calls[0].frames) == (False, 0)
    assert content[0] == f"error: {env.calls[0].error}"
    env.step(RIGHT)
    rewards, *_ = env.result()
    assert (rewards.accuracy, rewards.format, rewards.parsimony) == (1.0, 1.0, pytest.approx(0.8))


def own_reward(*_: object) -> Rewards:
    return Rewards(accuracy=0.5, format=1.0, parsimony=1.0, total=0.25)


@pytest.mark.parametrize(("call", "share"), [(CROP, 1.0), (LOOK, 0.0)])
@pytest.mark.parametrize("answer", [RIGHT, WRONG])
def test_what_it_was_shown_of_the_evidence_is_in_the_rewards(task: Task, call: str, share: float, answer: str) -> None:
    task = dataclasses.replace(task, evidence=((1.4, 1.6),))
    totals = []
    for delta in (0.0, 0.3):
        env = started(task, reward=RewardConfig(delta=delta))
        env.step(call)
        env.step(answer)
        assert env.result()[0].evidence == share
        totals.append(env.result()[0].total)
    assert totals[1] - totals[0] == pytest.approx(0.3 * share)
    env = started(task, reward=RewardConfig(function=f"{__name__}:own_reward"))
    env.step(call)
    env.step(answer)
    assert (env.result()[0].evidence, env.result()[0].total) == (share, 0.25), "a reward of one's own need not tell"


def test_a_tool_that_is_not_on_offer_is_refused(task: Task) -> None:
    env = started(task, tools=["view_visual_prompt"])
    content, *_ = env.step(CROP)
    assert words(content[0]).startswith("error: ")
    assert not env.calls[0].ok


def test_a_turn_that_cannot_be_read_is_told_the_form_and_costs_the_format_reward(task: Task) -> None:
    env = started(task)
    content, _, terminated, *_ = env.step("red, I guess")
    assert not terminated
    assert words(content[0]).startswith("error: ")
    assert all(tag in words(content[0]) for tag in ("<think>", "<tool_call>", "<answer>"))
    assert (env.rounds_left, env.calls) == (4, [])
    env.step(RIGHT)
    rewards, *_ = env.result()
    assert (rewards.accuracy, rewards.format, rewards.parsimony) == (1.0, 0.0, 1.0)


def test_without_tools_the_form_leaves_tools_out(task: Task) -> None:
    env = started(task, tools=[])
    content, *_ = env.step("red")
    assert "<answer>" in words(content[0])
    assert "tool" not in words(content[0])


def test_an_answer_out_of_form_is_taken_without_the_format_reward(task: Task) -> None:
    env = started(task)
    _, reward, terminated, *_ = env.step("<answer>red</answer>")
    assert terminated
    assert reward == pytest.approx(0.85)


def test_after_the_last_round_the_agent_is_told_to_answer_and_may(task: Task) -> None:
    env = started(task, max_tool_rounds=2)
    content, *_ = env.step(LOOK)
    assert "Answer now" not in env.turns[-1].observation
    content, *_ = env.step(LOOK)
    assert words(content[-1]).startswith("\nAnswer now")
    assert env.turns[-1].observation.endswith(words(content[-1]))
    assert env.rounds_left == 0
    assert env.step(RIGHT)[2]
    assert env.result()[2] == "answer"


@pytest.mark.parametrize("last", [LOOK, "red"])
def test_anything_but_an_answer_then_ends_the_episode_without_one(task: Task, last: str) -> None:
    env = started(task, max_tool_rounds=1)
    env.step(LOOK)
    content, reward, terminated, truncated, info = env.step(last)
    assert (content, terminated, truncated) == ((), True, False)
    assert (info["answer"], info["stop"]) == (None, "no_answer")
    assert reward == pytest.approx(0.05 * 0.8)
    assert len(env.calls) == 1
    assert env.turns[-1].text == last


def test_no_rounds_at_all_is_one_turn(task: Task) -> None:
    env = started(task, tools=[], max_tool_rounds=0)
    assert env.step(WRONG)[1] == pytest.approx(0.2)


def test_calls_past_the_limit_of_a_turn_are_refused(task: Task) -> None:
    env = started(task, max_calls_per_turn=2)
    calls = "".join('<tool_call>{"name": "view_visual_prompt", "arguments": {}}</tool_call>' for _ in range(3))
    content, *_ = env.step(f"<think>all at once</think>{calls}")
    assert [call.ok for call in env.calls] == [True, True, False]
    assert content[-1] == f"error: {env.calls[-1].error}"
    assert "at most 2" in content[-1]


@pytest.mark.parametrize("stop", ["length", "timeout"])
def test_the_loop_may_end_an_episode(task: Task, stop: Any) -> None:
    env = started(task)
    env.step(LOOK)
    rewards = env.truncate(stop, text="<think>so lo")
    assert env.result() == (rewards, None, stop)
    assert (rewards.accuracy, rewards.format) == (0.0, 0.0)
    assert env.turns[-1].text == "<think>so lo"


def test_there_is_no_step_and_no_result_out_of_an_episode(task: Task) -> None:
    env = VideoEnv(config())
    with pytest.raises(RuntimeError, match="reset"):
        env.step(RIGHT)
    env.reset(options={"task": task})
    with pytest.raises(RuntimeError, match="not over"):
        env.result()
    env.step(RIGHT)
    with pytest.raises(RuntimeError, match="reset"):
        env.step(RIGHT)
    with pytest.raises(RuntimeError, match="reset"):
        env.truncate("timeout")
    env.reset(options={"task": task})
    assert (env.turns, env.calls, env.rounds_left) == ([], [], 5)
    with pytest.raises(RuntimeError, match="not over"):
        env.result()


def test_a_video_that_cannot_be_opened_is_said_in_one_sentence(task: Task, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"not a video")
    for path in (broken, tmp_path / "missing.mp4"):
        with pytest.raises(VideoError, match=path.name) as raised:
            VideoEnv(config()).reset(options={"task": dataclasses.replace(task, video=str(path))})
        assert "\n" not in str(raised.value)


def test_a_marked_frame_that_is_missing_is_no_fault_of_the_agent(task: Task, tmp_path: Path) -> None:
    lost = dataclasses.replace(task, visual_prompts=(VisualPrompt(str(tmp_path / "lost.png"), 1.0, "point"),))
    with pytest.raises(VideoError, match=r"lost\.png.*t1"):
        VideoEnv(config()).reset(options={"task": lost})


def test_a_failed_reset_leaves_no_episode(task: Task, tmp_path: Path) -> None:
    env = started(task)
    with pytest.raises(VideoError):
        env.reset(options={"task": dataclasses.replace(task, video=str(tmp_path / "missing.mp4"))})
    with pytest.raises(RuntimeError, match="reset"):
        env.step(RIGHT)


def test_it_is_a_gymnasium_environment(task: Task) -> None:
    env = VideoEnv(config(), tasks=[task])
    check_env(env, skip_render_check=True)
    assert isinstance(env, gymnasium.Env)
    content, _ = env.reset(seed=3)
    assert env.observation_space.contains(content)
    for action in (LOOK, CROP, env.action_space.sample(), RIGHT):
        assert env.action_space.contains(action)
        assert env.observation_space.contains(env.step(action)[0])


def test_spaces_tell_contents_from_other_things() -> None:
    space = VideoEnv(config()).observation_space
    space.seed(0)
    sample = space.sample()
    assert space.contains(sample)
    frame = sample[1]
    assert isinstance(frame, Frame)
    assert not space.contains(["a"])
    assert not space.contains((1,))
    assert not space.contains((dataclasses.replace(frame, pixels=np.zeros((8, 8, 3), np.uint8)),))
    assert not VideoEnv(config(pixel_multiple=28)).observation_space.contains(sample)


def test_without_a_task_reset_says_so() -> None:
    with pytest.raises(ValueError, match="task"):
        VideoEnv(config()).reset()


def test_tasks_are_drawn_by_the_seed(task: Task) -> None:
    tasks = [dataclasses.replace(task, id=str(i)) for i in range(50)]
    drawn = [VideoEnv(config(), tasks=tasks).reset(seed=seed)[1]["task_id"] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_links_out_of_the_tasks_folder_are_refused(task: Task, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    link = folder / "film.mp4"
    link.symlink_to(task.video)
    linked = dataclasses.replace(task, video=str(link), root=str(folder))
    with pytest.raises(VideoError, match=r"film\.mp4: is a link out of .*/set; name the file itself"):
        started(linked)
    link.unlink()
    shutil.copy(task.video, link)
    env = started(linked)
    link.unlink()
    link.symlink_to(task.video)
    with pytest.raises(VideoError, match="is a link out of"):
        env.step(CROP)
    started(dataclasses.replace(task, root=str(folder)))


def test_who_answers_directly_is_read_whatever_way_it_says_it(task: Task) -> None:
    choice = dataclasses.replace(task, form="choice", options=("red", "blue"), answer="B")
    for reply, answer, right in (
        ("B", "B", 1.0),
        ("<think>Hm.</think>\n\nThe best choice would be (B), since it is blue.<|im_end|>", None, 1.0),
        ("A", "A", 0.0),
        ("I cannot tell.", "I cannot tell.", 0.0),
        ("  ", None, 0.0),
        ('<tool_call>{"name": "crop_video", "arguments": {"start_time": 1, "end_time": 2}}</tool_call>', None, 0.0),
    ):
        env = started(choice, tools=[], reasoning=False, max_tool_rounds=0)
        _, _, terminated, _, info = env.step(reply)
        assert terminated
        assert info["rewards"].accuracy == right, reply
        assert answer is None or info["answer"] == answer
        assert not env.calls
    assert "<think>" not in env.system
    full = config(prompt_style="full", tools=[], reasoning=False)
    assert "nothing but the answer" in system_prompt(full)


def test_a_question_without_a_mark_is_offered_no_tool_that_is_about_marks(task: Task) -> None:
    bare = dataclasses.replace(task, visual_prompts=())
    env = VideoEnv(config(prompt_style="full", tools=["view_visual_prompt", "crop_video", "track_instance"]))
    env.reset(options={"task": bare})
    assert "mark" not in env.system
    assert "crop_video" in env.system
    observed, *_ = env.step(LOOK)
    assert words(observed[0]).startswith("error: there is no tool 'view_visual_prompt'")
    env.reset(options={"task": task})
    assert "view_visual_prompt" in env.system
    observed, *_ = env.step(LOOK)
    assert words(observed[0]) == "marked frame at 1.5 s: "


def test_a_marked_frame_whose_time_is_not_known_is_shown_without_one(task: Task) -> None:
    mark = VisualPrompt(task.visual_prompts[0].image, None)
    untimed = dataclasses.replace(task, visual_prompts=(mark,))
    env = started(untimed, tools=["view_visual_prompt", "track_instance"])
    observed, *_ = env.step(LOOK)
    assert words(observed[0]) == "marked frame: "
    assert env.turns[-1].observation == "marked frame: [frame]"
    follow = write_turn("follow it", ParsedCall("track_instance", {"start_time": 0, "end_time": 2}))
    observed, *_ = env.step(follow)
    assert words(observed[0]).startswith("error: when frame_1 was taken is not known")
    shown, _ = VideoEnv(config(tools=[])).reset(options={"task": untimed})
    assert "marked frame: " in shown


def test_a_budget_of_frames_is_kept_whatever_is_called(task: Task) -> None:
    env = started(task, max_frames=7, crop_max_frames=8, crop_fps=8.0)
    assert len(env.frames) == 4
    env.step(CROP)
    assert len(env.frames) == 7
    observed, *_ = env.step(CROP)
    assert words(observed[0]) == "error: all 7 frames that may be looked at are spent; answer now"
    call = '<tool_call>{"name": "crop_video", "arguments": {"start_time": 1, "end_time": 2}}</tool_call>'
    direct = started(task, max_frames=4, prompt_max_frames=4, tools=[], reasoning=False)
    assert len(direct.frames) == 4, "the marked frame in the prompt is one of them"
    several = started(task, max_frames=9, crop_max_frames=4, crop_fps=8.0)
    several.step(f"<think>look twice</think>{call}{call}")
    assert len(several.frames) == 9


@pytest.mark.parametrize(
    ("setting", "expected"),
    [("none", None), ("frames", "\nSubtitles:\n1.2 s: two\n"), ("all", "\nSubtitles:\n0.6 s: one\n1.2 s: two\n")],
)
def test_subtitles_are_in_the_prompt_as_asked(setting: str, expected: str | None, task: Task, tmp_path: Path) -> None:
    file = tmp_path / "a.srt"
    file.write_text("1\n00:00:00,600 --> 00:00:00,900\none\n\n2\n00:00:01,200 --> 00:00:01,800\ntwo\n")
    said = dataclasses.replace(task, subtitles=str(file))
    content, _ = VideoEnv(config(subtitles=setting)).reset(options={"task": said})
    found = [part for part in content if isinstance(part, str) and "Subtitles" in part]
    assert found == ([] if expected is None else [expected])
