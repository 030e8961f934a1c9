"""A served episode as a stream of JSON events.

The events, in order: one `start` (the marked frame), one `look` (the first frames), then by turns `turn` (thought,
calls, or an answer) and `observation` (what the tools gave back), and at last one `answer` or one `error`.

Invariant: the last event is `answer` or `error`, and nothing plays on once the stream is closed.
"""

import asyncio
import logging
import math
from collections.abc import AsyncGenerator
from pathlib import Path

import numpy as np
from PIL import Image

from actors.errors import EngineError, EpisodeError, sentence
from actors.rollout.loop import EpisodeEvent, FirstLook, Observed, OnEvent, Policy, TurnTaken, play
from actors.serving.question import without_folders
from configs.episode import EpisodeConfig
from env.chat import ChatFormat
from env.prompt import readable
from env.task import Task
from pages.rendering import data_uri
from storage.files import JsonObject
from tools.decoding.frame import Content, Frame, VideoError

logger = logging.getLogger(__name__)
Event = JsonObject
"""An event as it goes over the wire."""
THUMBNAIL_PX = 320
"""Longest side of a thumbnail."""
MARKED_PX = 640
"""Longest side of the marked frame's picture."""


async def episode_events(
    task: Task, policy: Policy, chat: ChatFormat, config: EpisodeConfig, timeout_s: float, thumbnails: bool
) -> AsyncGenerator[Event]:
    """Play the task and yield what happens as it happens.

    Args:
        timeout_s: deadline of the whole episode; past it the last event is an `error` of status 504.
        thumbnails: give each frame a small JPEG as a data URI.
    """
    queue: asyncio.Queue[Event] = asyncio.Queue()
    yield _start(task, thumbnails)

    async def on_event(event: EpisodeEvent) -> None:
        await queue.put(await asyncio.to_thread(_wire_event, event, thumbnails))

    async def play_on() -> None:
        await queue.put(await _last_event(task, policy, chat, config, timeout_s, on_event))

    player = asyncio.create_task(play_on())
    try:
        while True:
            event = await queue.get()
            yield event
            if event["type"] in ("answer", "error"):
                return
    finally:
        player.cancel()


def error_event(status: int, text: str) -> Event:
    """The last event of an episode that failed; `status` is the HTTP status it would have had."""
    return {"type": "error", "status": status, "error": text}


async def _last_event(
    task: Task, policy: Policy, chat: ChatFormat, config: EpisodeConfig, timeout_s: float, on_event: OnEvent
) -> Event:
    """Play the task to its end."""
    try:
        async with asyncio.timeout(timeout_s):
            played = await play(task, policy, chat, config, on_event=on_event)
    except (TimeoutError, EpisodeError):
        return error_event(504, "no answer within the deadline of this server")
    except VideoError as error:
        marks = Path(task.visual_prompts[0].image).parent if task.visual_prompts else Path(task.video)
        return error_event(422, "video: " + without_folders(str(error), task.video, marks))
    except EngineError as error:
        return error_event(503, sentence(error))
    except Exception:  # the stream must end with a reason, whatever broke
        logger.exception("task %s failed", task.id)
        return error_event(500, "the episode failed for a reason that is in the server's log")
    sampled = sum(played.transcript.sampled)
    return {
        "type": "answer",
        "answer": played.answer,
        "stop": played.stop,
        "seconds": round(played.seconds, 2),
        "prompt_tokens": len(played.transcript.sampled) - sampled,
        "sampled_tokens": sampled,
    }


def _start(task: Task, thumbnails: bool) -> Event:
    event: Event = {"type": "start", "id": task.id, "question": task.question, "mark": None}
    if not task.visual_prompts:
        return event
    prompt = task.visual_prompts[0]
    time_s = None if prompt.time_s is None else round(prompt.time_s, 3)
    event["mark"] = {"kind": prompt.kind, "time_s": time_s, "geometry": prompt.geometry}
    if thumbnails:
        with Image.open(Path(prompt.image)) as image:
            event["image"] = data_uri(np.asarray(image.convert("RGB")), MARKED_PX)
    return event


def _wire_event(event: EpisodeEvent, thumbnails: bool) -> Event:
    """An event of the agent loop as JSON."""
    match event:
        case FirstLook(frames):
            return {"type": "look", "frames": _frames(frames, thumbnails)}
        case TurnTaken(index, turn):
            return {
                "type": "turn",
                "index": index,
                "thought": turn.thought,
                "calls": [{"name": call.name, "arguments": call.arguments} for call in turn.calls],
                "answer": turn.answer,
                # A turn that is not well formed is shown as it was written.
                **({} if turn.well_formed else {"text": turn.text, "problem": turn.error}),
            }
        case Observed(index, content):
            shown = _frames(content, thumbnails)
            return {"type": "observation", "index": index, "text": readable(content), "frames": shown}


def _frames(content: Content, thumbnails: bool) -> list[Event]:
    return [
        {"time_s": None if math.isnan(part.time_s) else round(part.time_s, 3)}
        | ({"image": data_uri(part.pixels, THUMBNAIL_PX)} if thumbnails else {})
        for part in content
        if isinstance(part, Frame)
    ]
