"""The agent loop on a real video, with a scripted policy."""

import asyncio
import time
from collections.abc import Awaitable
from types import SimpleNamespace
from typing import Any

import pytest

from actors.errors import EpisodeError
from actors.rollout.loop import FirstLook, Observed, TurnTaken, _Clock, play
from configs.episode import EpisodeConfig
from env.chat import ChatFormat
from env.environment import VideoEnv
from env.task import Task
from tests.actors.conftest import ANSWER, VIEW, Script
from tools.decoding import waiting
from tools.decoding.frame import Frame
from tools.decoding.waiting import Waits


def test_an_episode_ends_with_the_answer(task: Task, chat: ChatFormat, episode: EpisodeConfig) -> None:
    trajectory = asyncio.run(play(task, Script(chat, [VIEW, ANSWER]), chat, episode))
    assert (trajectory.answer, trajectory.stop, trajectory.rewards.accuracy) == ("red", "answer", 1.0)
    assert [call.name for call in trajectory.calls] == ["view_visual_prompt"]
    assert len(trajectory.turns) == 2
    assert len(trajectory.prompt_frames) == 4


def test_exactly_the_sampled_ids_are_marked_and_none_is_changed(
    task: Task, chat: ChatFormat, episode: EpisodeConfig
) -> None:
    transcript = asyncio.run(play(task, Script(chat, [VIEW, ANSWER]), chat, episode)).transcript
    sampled = [i for i, mask in zip(transcript.ids, transcript.sampled, strict=True) if mask]
    assert sampled == [*chat.encode(VIEW), *chat.encode(ANSWER)]
    assert all(version == -1 for version, mask in zip(transcript.versions, transcript.sampled, strict=True) if not mask)


def test_every_frame_has_its_placeholders_in_the_transcript(
    task: Task, chat: ChatFormat, episode: EpisodeConfig
) -> None:
    transcript = asyncio.run(play(task, Script(chat, [VIEW, ANSWER]), chat, episode)).transcript
    assert len(transcript.media) == 5
    for media in transcript.media:
        assert set(transcript.ids[media.start : media.start + media.tokens]) == {chat.image_token_id}
    assert transcript.ids.count(chat.image_token_id) == sum(media.tokens for media in transcript.media)


def test_events_tell_the_episode_in_order(task: Task, chat: ChatFormat, episode: EpisodeConfig) -> None:
    events = []

    async def hear(event: Any) -> None:
        events.append(event)

    trajectory = asyncio.run(play(task, Script(chat, [VIEW, ANSWER]), chat, episode, hear))
    assert [type(event) for event in events] == [FirstLook, TurnTaken, Observed, TurnTaken]
    assert [part.ref.path for part in events[2].content if isinstance(part, Frame)] == [task.visual_prompts[0].image]
    assert events[-1].turn.answer == trajectory.answer == "red"


def test_without_an_answer_the_rounds_run_out(task: Task, chat: ChatFormat, episode: EpisodeConfig) -> None:
    trajectory = asyncio.run(play(task, Script(chat, [VIEW] * 3), chat, episode))
    assert (trajectory.answer, trajectory.stop, trajectory.rewards.accuracy) == (None, "no_answer", 0.0)
    assert len(trajectory.calls) == episode.max_tool_rounds


def test_an_observation_that_does_not_fit_ends_the_episode_within_the_budget(
    task: Task, chat: ChatFormat, episode: EpisodeConfig
) -> None:
    prompt = asyncio.run(play(task, Script(chat, [ANSWER]), chat, episode)).transcript.sampled.index(True)
    episode.max_tokens = prompt + len(chat.encode(VIEW)) + 5
    trajectory = asyncio.run(play(task, Script(chat, [VIEW, ANSWER]), chat, episode))
    assert trajectory.stop == "length"
    assert len(trajectory.transcript.ids) <= episode.max_tokens


def test_a_policy_that_never_answers_ends_in_a_timeout(task: Task, chat: ChatFormat, episode: EpisodeConfig) -> None:
    class Asleep:
        async def act(self, transcript: Any, env: Any, max_tokens: Any) -> Any:
            await asyncio.sleep(60)

    episode.timeout_s = 2.0
    trajectory = asyncio.run(play(task, Asleep(), chat, episode))
    assert (trajectory.stop, trajectory.answer) == ("timeout", None)
    assert not any(trajectory.transcript.sampled)


def test_a_first_look_that_hangs_is_an_error_that_names_the_task(
    task: Task, chat: ChatFormat, episode: EpisodeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VideoEnv, "reset", lambda self, **_: time.sleep(1.0))
    episode.timeout_s = 0.2
    with pytest.raises(EpisodeError, match="task square"):
        asyncio.run(play(task, Script(chat, []), chat, episode))


def test_the_clock_of_an_episode_stands_still_while_it_waits_for_others() -> None:
    async def clocked() -> list[float]:
        waited, seen = Waits(1e9), []
        async with asyncio.timeout(1000.0) as timeout:
            start = timeout.when()
            assert start is not None

            async def work() -> str:
                seen.append((timeout.when() or 0.0) - start)
                waited.waited_s += 70.0
                return "done"

            assert await _Clock(timeout, waited).stand_still(work(), 100.0) == "done"
            seen.append((timeout.when() or 0.0) - start)
        return seen

    assert asyncio.run(clocked()) == [pytest.approx(100.0), pytest.approx(70.0)]


def test_what_first_look_and_tools_wait_is_known_to_the_clock(
    task: Task, chat: ChatFormat, episode: EpisodeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    seen: list[float] = []

    def busy(method: Any) -> Any:
        def after_a_wait(self: VideoEnv, *args: Any, **options: Any) -> Any:
            nonlocal now
            with waiting.waiting(1e9):
                now += 500.0
            return method(self, *args, **options)

        return after_a_wait

    class Seen(_Clock):
        async def stand_still(self, work: Awaitable[Any], most_s: float) -> Any:
            done = await super().stand_still(work, most_s)
            seen.append(self.waited.waited_s)
            return done

    monkeypatch.setattr(waiting, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(VideoEnv, "reset", busy(VideoEnv.reset))
    monkeypatch.setattr(VideoEnv, "take", busy(VideoEnv.take))
    monkeypatch.setattr("actors.rollout.loop._Clock", Seen)
    trajectory = asyncio.run(play(task, Script(chat, [VIEW, ANSWER]), chat, episode))
    assert trajectory.stop == "answer"
    assert seen == [500.0, 1000.0, 1500.0]
