"""The environment of one question: a `gymnasium.Env` whose actions are turns of text.

Invariant: an episode always ends. Each turn that is not an answer costs a round; when the rounds are spent the
environment asks for the answer, and whatever the agent writes then is the last turn.
"""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import gymnasium

from configs.episode import EpisodeConfig
from env.judging.replies import judge_reply
from env.judging.rules import judge
from env.looks import share_seen, shown
from env.prompt import MARK_TOOL, readable, system_prompt, user_content
from env.reward import at_end
from env.spaces import AnyText, ContentSpace
from env.subtitles import Line, lines_at, read_subtitles, within
from env.task import Task
from env.trajectory import Rewards, ToolCallRecord, TurnRecord
from env.turn import SPECIAL_TOKEN, ParsedCall, ParsedTurn, parse_turn
from tools.decoding.frame import Content, Frame
from tools.decoding.image import open_image
from tools.decoding.video import VideoError, open_video
from tools.decoding.waiting import waits
from tools.errors import ToolError
from tools.following.tracker import Tracker
from tools.registry import MARK_TOOLS
from tools.registry import call as call_tool
from tools.scene import Limits, Scene

Stop = Literal["answer", "no_answer", "length", "timeout"]
Info = dict[str, Any]
"""What gymnasium passes beside the contents."""


class VideoEnv(gymnasium.Env[Content, str]):
    """One question about one marked instance of a video.

    The reward comes with the last step and is `Rewards.total`, with R_acc by the rules (`env.reward.judged` gives a
    language model's); before that it is 0. A tool that refuses a call, and a
    turn that cannot be read, give an observation `error: …` and the episode goes on.
    """

    metadata = {"render_modes": []}  # noqa: RUF012  # as in gymnasium.Env
    task: Task
    contents: list[Content]
    """All that was shown so far: the first look and the question, then what followed each turn."""
    frames: list[Frame]
    """Every frame shown so far, in order."""
    turns: list[TurnRecord]
    calls: list[ToolCallRecord]
    marked: bool = True
    """Whether something is marked in the video. Where nothing is, tools that are about marks are not on offer."""
    video_frames: int
    """Frames of the video."""
    rounds_left: int
    """Turns that may still call tools."""

    def __init__(self, config: EpisodeConfig, tasks: Sequence[Task] = (), tracker: Tracker | None = None) -> None:
        """`tasks` is what `reset` draws from when it is given no task; `tracker` is what follows targets for the tools,
        None for the one that needs no weights."""
        self._tracker = tracker
        self._settings = self.config = config
        self.tasks = tuple(tasks)
        self.action_space = AnyText()
        self.observation_space = ContentSpace(config.pixel_multiple)
        self.limits = Limits.of(config)
        self._over = True
        self._frames_of_turn = 0
        self._result: tuple[Rewards, str | None, Stop] | None = None

    @property
    def system(self) -> str:
        """The system turn of the episode."""
        return system_prompt(self.config, self.marked)

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Content, Info]:
        """Start the episode of `options["task"]`, or of one drawn from `tasks`: the first user turn, and `{"task_id"}`.

        Raises:
            VideoError: the video or a marked frame cannot be read.
            ValueError: there is no task.
        """
        super().reset(seed=seed)
        self._over, self._result = True, None
        task = (options or {}).get("task") or self._drawn_task()
        self.marked = bool(task.visual_prompts)
        self.config = self._settings if self.marked else without_marks(self._settings)
        self.scene = Scene(task.video, task.visual_prompts, task.root, self._tracker)
        self.scene.require_confined()
        with waits(self.config.timeout_s):
            content = self._first_look(task)
        self.task = task
        self.contents, self.frames = [content], _frames(content)
        self.turns, self.calls = [], []
        self.rounds_left = self.config.max_tool_rounds
        self._well_formed = True
        self._over = False
        return content, {"task_id": task.id}

    def step(self, action: str) -> tuple[Content, float, bool, bool, Info]:
        """Take the agent's turn, given as its text; see `take`."""
        return self.take(parse_turn(action))

    def take(self, turn: ParsedTurn) -> tuple[Content, float, bool, bool, Info]:
        """Take the agent's turn.

        Returns:
            The observation (empty after the last turn), the reward, terminated, truncated (never by a step), and
            after the last turn `{"rewards", "answer", "stop"}`.

        Raises:
            RuntimeError: no episode is under way.
            VideoError: the video can no longer be read, which is no fault of the agent's.
        """
        self._require_under_way()
        if not self.config.reasoning:
            turn = direct_answer(turn)
        self._well_formed = self._well_formed and turn.well_formed
        if turn.answer is not None or self.rounds_left == 0:
            self.turns.append(TurnRecord.of(turn))
            stop: Stop = "no_answer" if turn.answer is None else "answer"
            rewards = self._end(turn.answer, stop)
            return (), rewards.total, True, False, {"rewards": rewards, "answer": turn.answer, "stop": stop}
        content = self._respond(turn)
        self.rounds_left -= 1
        if self.rounds_left == 0:
            content = (*content, "\nAnswer now: no calls are left." if self.config.tools else "\nAnswer now.")
        shown = _frames(content)
        self.contents.append(content)
        self.frames += shown
        self.turns.append(TurnRecord.of(turn, readable(content), tuple(frame.ref for frame in shown)))
        return content, 0.0, False, False, {}

    def truncate(self, stop: Literal["length", "timeout"], text: str = "") -> Rewards:
        """End the episode without an answer, for a cause outside of it; `text` is what the agent had written of a turn
        that was not taken, for the record.

        Raises:
            RuntimeError: no episode is under way.
        """
        self._require_under_way()
        if text:
            self.turns.append(TurnRecord(text, ""))
        return self._end(None, stop)

    def result(self) -> tuple[Rewards, str | None, Stop]:
        """Rewards, answer and stop reason of the finished episode. Raises RuntimeError: the episode is not over."""
        if self._result is None:
            raise RuntimeError("the episode is not over: step until it is terminated, or truncate it")
        return self._result

    def _drawn_task(self) -> Task:
        if not self.tasks:
            raise ValueError('no task to play: give reset(options={"task": task}), or tasks to VideoEnv')
        return self.tasks[int(self.np_random.integers(len(self.tasks)))]

    def _first_look(self, task: Task) -> Content:
        for mark in task.visual_prompts:
            if not Path(mark.image).is_file():
                raise VideoError(f"{mark.image}: the marked frame of task {task.id} does not exist")
        config = self.config
        pixels, multiple = config.prompt_max_pixels, config.pixel_multiple
        video = open_video(task.video, config.timeout_s)
        self.video_frames = len(video.times)
        shows_marks = MARK_TOOL not in config.tools and config.mark_in_prompt
        marks = len(task.visual_prompts) if shows_marks else 0
        most = config.prompt_max_frames
        if config.max_frames:
            most = max(1, min(most, config.max_frames - marks))
        limits = config.prompt_fps, most, pixels, multiple, config.timeout_s, config.min_pixels or 0
        coarse = video.clip(0.0, video.duration_s, *limits)
        subtitles = self._subtitles(task, [frame.time_s for frame in coarse])
        if not shows_marks:
            return user_content(task, config, coarse, None, subtitles)
        marked = [open_image(m.image, m.time_s, pixels, multiple, config.min_pixels or 0) for m in task.visual_prompts]
        return user_content(task, config, coarse, marked, subtitles)

    def _subtitles(self, task: Task, times: Sequence[float]) -> list[Line]:
        if self.config.subtitles == "none" or not task.subtitles:
            return []
        lines = read_subtitles(task.subtitles, task.subtitles_from_s)
        shown = lines_at(lines, times) if self.config.subtitles == "frames" else list(lines)
        return within(shown, self.config.subtitles_max_chars)

    def _respond(self, turn: ParsedTurn) -> Content:
        if not turn.calls:
            error = turn.error if self.config.tools else "the turn holds no answer"
            return (f"error: {error}; write {self._turn_form()}",)
        parts: list[str | Frame] = []
        for i, call in enumerate(turn.calls):
            self._frames_of_turn = len(_frames(parts))
            parts += ["\n"] if i else []
            parts += self._call(call, refused=i >= self.config.max_calls_per_turn)
        return tuple(parts)

    def _call(self, call: ParsedCall, refused: bool) -> Content:
        started = time.perf_counter()
        error: str | None = None
        try:
            if refused:
                raise ToolError(f"at most {self.config.max_calls_per_turn} calls a turn")
            limits = self._limits_left()
            content = call_tool(call.name, call.arguments, self.config.tools, self.scene, limits, strict=True)
        except ToolError as refusal:
            error = str(refusal)
            content = (f"error: {error}",)
        seconds = time.perf_counter() - started
        shown = len(_frames(content))
        self.calls.append(ToolCallRecord(call.name, call.arguments, error is None, seconds, shown, error))
        return content

    def _limits_left(self) -> Limits:
        """What a call may cost now. Raises ToolError: no frames are left."""
        if not self.config.max_frames:
            return self.limits
        left = self.config.max_frames - len(self.frames) - self._frames_of_turn
        if left <= 0:
            raise ToolError(f"all {self.config.max_frames} frames that may be looked at are spent; answer now")
        shorter = {name: min(getattr(self.limits, name), left) for name in ("crop_max_frames", "view_max_frames")}
        return dataclasses.replace(self.limits, **shorter)

    def _turn_form(self) -> str:
        call = '<tool_call>{"name": ..., "arguments": {...}}</tool_call> or ' if self.config.tools else ""
        return f"<think>...</think> and then {call}<answer>...</answer>"

    def _end(self, answer: str | None, stop: Stop) -> Rewards:
        format_ok = self._well_formed and answer is not None
        evidence = share_seen(self.task.evidence, shown(self.turns))
        accuracy = judge(self.task, answer) if self.config.reasoning else judge_reply(self.task, answer)
        rewards = at_end(self.config, self.task, answer, accuracy, format_ok, self.calls, evidence)
        self._over, self._result = True, (rewards, answer, stop)
        return rewards

    def _require_under_way(self) -> None:
        if self._over:
            raise RuntimeError("no episode is under way: call reset")


def without_marks(config: EpisodeConfig) -> EpisodeConfig:
    """The settings of an episode in which nothing is marked."""
    return dataclasses.replace(config, tools=[name for name in config.tools if name not in MARK_TOOLS])


def direct_answer(turn: ParsedTurn) -> ParsedTurn:
    """The turn of an agent that is to answer with nothing but the answer: all of it that is no thought or tag. A
    thought that does not end, and a call, are none."""
    if turn.answer is not None:
        return turn
    text = SPECIAL_TOKEN.sub("", turn.text.rpartition("</think>")[2]).strip()
    answer = None if turn.calls or "<think>" in text else text or None
    return dataclasses.replace(turn, calls=(), answer=answer, well_formed=answer is not None, error=None)


def _frames(content: Sequence[str | Frame]) -> list[Frame]:
    return [part for part in content if isinstance(part, Frame)]
