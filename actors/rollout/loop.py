"""The one agent loop (paper, Algorithm 1): teachers, rollouts, evaluation and serving all play episodes with it.

Invariant: the transcript only grows by what the policy sampled, as ids, and by what the environment showed.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from actors.errors import EpisodeError
from actors.sam3.tracker import tracker_of
from configs.episode import EpisodeConfig
from env.environment import VideoEnv
from env.format import Format
from env.task import Task
from env.trajectory import Trajectory
from env.transcript import Transcript, Turn
from env.turn import ParsedTurn, parse_turn
from tools.decoding.frame import Content, Frame, FrameRef
from tools.decoding.waiting import Waits, waits

T = TypeVar("T")
STEP_GRACE_S = 5.0
"""What a step may take beyond the deadlines of its tool calls, seconds."""


@dataclass(frozen=True)
class FirstLook:
    """The frames of the prompt."""

    frames: tuple[Frame, ...]


@dataclass(frozen=True)
class TurnTaken:
    """What the policy wrote, before its tools run."""

    index: int
    turn: ParsedTurn


@dataclass(frozen=True)
class Observed:
    """What came back from the tools."""

    index: int
    content: Content


EpisodeEvent = FirstLook | TurnTaken | Observed
OnEvent = Callable[[EpisodeEvent], Awaitable[None]]
"""Called with each event of an episode as it goes on; the episode waits for it."""


class Policy(Protocol):
    """What the loop asks for turns: a policy engine, a teacher, a chat model, a script."""

    async def act(self, transcript: Transcript, env: VideoEnv, max_tokens: int) -> Turn:
        """The next turn, of at most `max_tokens` tokens, at least 1. The transcript ends with the opening of the
        assistant's turn; `env.frames` holds the pixels of its media, in order."""
        ...


async def play(
    task: Task, policy: Policy, chat: Format, config: EpisodeConfig, on_event: OnEvent | None = None
) -> Trajectory:
    """Play one task to its end.

    Returns:
        The trajectory; its stop is `timeout` where the episode missed its deadline, which what its tools wait for
        others does not count against, and `length` where `episode.max_tokens` or the engine's limit left no room.

    Raises:
        EpisodeError: the first look at the video, or a step of the environment, missed its deadline.
        EngineError: the policy's engine failed.
        VideoError: the video or a marked frame cannot be read.
    """
    started = time.monotonic()
    config = chat.bounded(config)
    env, transcript, emit = VideoEnv(config, tracker=tracker_of(config)), Transcript(), on_event or _unheard
    shown: tuple[FrameRef, ...] = ()
    try:
        with waits() as waited:
            async with asyncio.timeout(config.timeout_s) as timeout:
                clock = _Clock(timeout, waited)
                reset = asyncio.to_thread(env.reset, options={"task": task})
                content, _ = await clock.stand_still(reset, config.timeout_s)
                shown = tuple(frame.ref for frame in env.frames)
                transcript.append_prompt(chat.prompt(env.system, content))
                await emit(FirstLook(tuple(env.frames)))
                await _take_turns(env, policy, chat, transcript, emit, clock)
    except TimeoutError:
        if not transcript.ids:
            raise EpisodeError(f"task {task.id}: no first look within {config.timeout_s:g} s") from None
        _truncate(env, "timeout")
    rewards, answer, stop = env.result()
    return Trajectory(
        task_id=task.id,
        transcript=transcript,
        rewards=rewards,
        answer=answer,
        stop=stop,
        calls=tuple(env.calls),
        prompt_frames=shown,
        turns=tuple(env.turns),
        seconds=time.monotonic() - started,
        question=task.question,
        expected=task.right_answer,
        dimension=task.dimension,
        kind=task.kind,
        evidence=task.evidence,
        video_frames=env.video_frames,
    )


@dataclass(frozen=True)
class _Clock:
    """The time of an episode."""

    timeout: asyncio.Timeout
    waited: Waits
    """What the episode's tools have waited for machinery that others keep busy."""

    async def stand_still(self, work: Awaitable[T], most_s: float) -> T:
        """Await work without counting what it waits for others, which is at most `most_s`."""
        end, before = self.timeout.when(), self.waited.waited_s
        assert end is not None
        self.timeout.reschedule(end + most_s)
        done = await work
        self.timeout.reschedule(end + self.waited.waited_s - before)
        return done


async def _take_turns(
    env: VideoEnv, policy: Policy, chat: Format, transcript: Transcript, emit: OnEvent, clock: _Clock
) -> None:
    """Sample a turn, run its tools, append what they gave, until the environment ends the episode."""
    config = env.config
    # The deadlines of all the calls that a turn may make, each of which may wait as long for others.
    calls_s = config.tool_timeout_s * config.max_calls_per_turn
    step_timeout_s = 2 * calls_s + STEP_GRACE_S
    index, terminated = 0, False
    while not terminated:
        room = config.max_tokens - len(transcript.ids)
        if room <= 0:
            return _truncate(env, "length")
        turn = await policy.act(transcript, env, min(config.max_turn_tokens, room))
        transcript.append_turn(turn)
        parsed = parse_turn(turn.text)
        await emit(TurnTaken(index, parsed))
        if not turn.ids or (turn.stop == "length" and len(turn.ids) < config.max_turn_tokens):
            return _truncate(env, "length", turn.text)
        try:
            step = asyncio.to_thread(env.take, parsed)
            content, _, terminated, _, _ = await clock.stand_still(asyncio.wait_for(step, step_timeout_s), calls_s)
        except TimeoutError:
            raise EpisodeError(f"task {env.task.id}: its tools did not end within {step_timeout_s:g} s") from None
        if not terminated:
            segment = chat.observation(content, after=turn.ids)
            if len(transcript.ids) + len(segment.ids) >= config.max_tokens:
                return _truncate(env, "length")
            transcript.append_prompt(segment)
            await emit(Observed(index, content))
        index += 1
    return None


def _truncate(env: VideoEnv, stop: Literal["length", "timeout"], text: str = "") -> None:
    """End the episode, unless a step that runs on in its thread has just ended it."""
    try:
        env.truncate(stop, text)
    except RuntimeError:
        env.result()


async def _unheard(_: EpisodeEvent) -> None:
    pass
