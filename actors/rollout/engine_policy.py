"""The policy that samples its turns from an engine.

Invariant: the frames that it sends are those of the transcript, in their order, and a turn has a deadline.
"""

import asyncio
import itertools
from dataclasses import replace

import numpy as np

from actors.engine.handle import Engine
from actors.engine.request import GenerationRequest, frame_id
from actors.errors import EngineError, MissingFrames, root_cause
from configs.policy import EngineConfig, SamplingConfig
from env.environment import VideoEnv
from env.transcript import Transcript, Turn

GRACE = 1.25
"""A caller waits this much longer than the engine's own deadline, so that the engine's error comes first."""


class EnginePolicy:
    """Turns of one episode, sampled by an engine. Frames travel with their pixels once an engine: `sent` remembers
    which, and is shared by all episodes on it."""

    def __init__(
        self,
        engine: Engine,
        sampling: SamplingConfig,
        *,
        seed: int | None = None,
        min_version: int = 0,
        timeout_s: float | None = None,
        sent: set[str] | None = None,
    ):
        """Take an engine, and `timeout_s` as the deadline of one turn. With a `seed` the i-th turn samples with a seed
        made of it and i, so that the episode can be played again."""
        self._engine = engine
        self._sampling = sampling
        self._seed = seed
        self._min_version = min_version
        self._timeout_s = EngineConfig().request_timeout_s * GRACE if timeout_s is None else timeout_s
        self._sent = set() if sent is None else sent
        self._turns = itertools.count()

    async def act(self, transcript: Transcript, env: VideoEnv, max_tokens: int) -> Turn:
        """The next turn.

        Raises:
            EngineError: the environment's frames are not the transcript's, or the engine did not answer.
        """
        if [frame.ref for frame in env.frames] != transcript.frames:
            raise EngineError(f"task {env.task.id}: the frames of the environment are not those of the transcript")
        names = tuple(frame_id(frame.ref) for frame in env.frames)
        pixels = tuple(frame.pixels for frame in env.frames)
        request = GenerationRequest(
            ids=np.asarray(transcript.ids, dtype=np.int32),
            media=tuple(transcript.media),
            frames=tuple(None if name in self._sent else image for name, image in zip(names, pixels, strict=True)),
            frame_ids=names,
            max_tokens=max_tokens,
            temperature=self._sampling.temperature,
            top_p=self._sampling.top_p,
            seed=None if self._seed is None else turn_seed(self._seed, next(self._turns)),
            min_version=self._min_version,
        )
        # Others of this engine count on them from now on; should the engine not get them, it asks for them alone.
        new = set(names) - self._sent
        self._sent |= new
        try:
            return await self._generate(request)
        except MissingFrames as error:
            missing = set(getattr(root_cause(error), "names", names))
        except BaseException:
            self._sent -= new
            raise
        again = tuple(p if n in missing or n in new else None for n, p in zip(names, pixels, strict=True))
        try:
            return await self._generate(replace(request, frames=again))
        except MissingFrames:  # what it held was dropped in between
            return await self._generate(replace(request, frames=pixels))

    async def _generate(self, request: GenerationRequest) -> Turn:
        try:
            return await asyncio.wait_for(self._engine.generate(request), self._timeout_s)
        except TimeoutError:
            raise EngineError(f"engine: gave no turn within {self._timeout_s:g} s") from None


def turn_seed(seed: int, turn: int) -> int:
    """The seed of an episode's i-th turn, 0 to 2^31 - 1."""
    return int(np.random.SeedSequence((seed, turn)).generate_state(1)[0] >> 1)
