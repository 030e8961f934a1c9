"""Which frames travel to an engine with their pixels."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from actors.engine.request import GenerationRequest
from actors.errors import EngineError, MissingFrames
from actors.rollout.engine_policy import EnginePolicy
from configs.policy import SamplingConfig
from env.transcript import Media, Transcript, Turn
from tools.decoding.frame import Frame, FrameRef

TURN = Turn((1,), (-0.5,), "x", "stop")


class Engine:
    """Holds frames as an engine does, forgets what a test says, and notes what came with pixels."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.sent: list[list[int]] = []
        self.broken = False

    async def generate(self, request: GenerationRequest) -> Turn:
        self.sent.append([i for i, frame in enumerate(request.frames) if frame is not None])
        if self.broken:
            raise EngineError("engine: died")
        with_pixels = {name for name, frame in zip(request.frame_ids, request.frames, strict=True) if frame is not None}
        missing = tuple(name for name in request.frame_ids if name not in self.held | with_pixels)
        self.held |= with_pixels
        if missing:
            raise MissingFrames(missing)
        return TURN


@pytest.fixture(params=["a file", "a folder of frames"])
def frames(request: pytest.FixtureRequest, tmp_path: Path) -> list[Frame]:
    (tmp_path / "0.png").write_bytes(b"x")
    path = str(tmp_path / "0.png") if request.param == "a file" else f"{tmp_path}#fps=6"
    return [Frame(FrameRef(path, float(i), 32, 32), np.zeros((32, 32, 3), np.uint8), float(i)) for i in range(4)]


def act(engine: Engine, frames: Sequence[Frame], sent: set[str]) -> Turn:
    transcript = Transcript([0], [False], [0.0], [-1], [Media(frame.ref, 0, 1) for frame in frames])
    env: Any = SimpleNamespace(frames=list(frames), task=SimpleNamespace(id="t"))
    handle: Any = engine
    return asyncio.run(EnginePolicy(handle, SamplingConfig(), sent=sent).act(transcript, env, 8))


def test_a_frame_travels_once(frames: list[Frame]) -> None:
    engine, sent = Engine(), set[str]()
    act(engine, frames[:3], sent)
    act(engine, frames, sent)
    assert engine.sent == [[0, 1, 2], [3]]


def test_a_frame_that_is_missing_is_sent_alone(frames: list[Frame]) -> None:
    engine, sent = Engine(), set[str]()
    act(engine, frames, sent)
    engine.held.discard(sorted(engine.held)[0])
    assert act(engine, frames, sent) is TURN
    assert engine.sent[1] == []
    assert len(engine.sent[2]) == 1


def test_a_frame_that_the_engine_did_not_get_does_not_count_as_sent(frames: list[Frame]) -> None:
    engine, sent = Engine(), set[str]()
    engine.broken = True
    with pytest.raises(EngineError, match="died"):
        act(engine, frames, sent)
    assert sent == set()
    engine.broken = False
    act(engine, frames, sent)
    assert engine.sent == [[0, 1, 2, 3]] * 2
