"""The policy engine, real vLLM in its actor's process, and the policy that samples its turns from one.

Invariant: every wait has a deadline, and what a dead or stalled engine leaves unanswered fails with the cause.
"""

import asyncio
import itertools
import time
import uuid
from collections.abc import Awaitable, Mapping
from typing import Any, Literal

import numpy as np

from actors.engine.request import EngineError, EngineInfo, GenerationRequest, MissingFrames, WeightReport, frame_id
from actors.engine.vllm_thread import Abort, Close, Job, Load, Transfer, VllmThread
from configs.policy import EngineConfig, SamplingConfig
from env.environment import VideoEnv
from env.transcript import Transcript, Turn

__all__ = ["EngineError", "EngineInfo", "EnginePolicy", "GenerationRequest", "PolicyEngine", "WeightReport"]

GRACE = 1.25
"""A caller waits this much longer than the engine's own deadline, so that the engine's error comes first."""


class PolicyEngine:
    """One vLLM engine, on the CPU or on `engine.gpus_per_engine` GPUs. A plain class; `Engines` makes it an actor."""

    def __init__(self, config: EngineConfig, model_dir: str, version: int = 0, seed: int = 0):
        self._config = config
        self._model_dir = model_dir
        self._life = uuid.uuid4().hex
        self._numbers = itertools.count()
        self._vllm = VllmThread(config, model_dir, version, seed)

    async def ready(self) -> EngineInfo:
        """What the engine holds, once it serves.

        Raises:
            EngineError: it is not up after `engine.start_timeout_s`, has died, or makes no progress.
        """
        deadline = time.monotonic() + self._config.start_timeout_s
        while not self._vllm.started.is_set():
            if time.monotonic() > deadline:
                raise EngineError(f"engine: not up after engine.start_timeout_s = {self._config.start_timeout_s:g} s")
            await asyncio.sleep(0.05)
        self._require_alive()
        return EngineInfo(
            self._vllm.version,
            self._config.max_model_len,
            self._model_dir,
            round(self._vllm.start_seconds, 3),
            self._life,
            self._vllm.devices,
        )

    async def generate(self, request: GenerationRequest) -> Turn:
        """Sample one turn. Where no token fits any more it is empty, with stop `length`.

        Raises:
            EngineError: the engine died, refused the request, or missed `engine.request_timeout_s`.
            MissingFrames: frames came without pixels and are not in the cache.
        """
        await self.ready()
        if min(self._config.max_model_len - len(request.ids), request.max_tokens) <= 0:
            return Turn((), (), "", "length", self._vllm.version)
        job = Job(str(next(self._numbers)), request, asyncio.get_running_loop().create_future())
        try:
            turn: Turn = await self._finish(job, f"a turn of {request.max_tokens} tokens")
            return turn
        except BaseException:
            self._vllm.queue.put(Abort(job.id))
            raise

    async def load_weights(self, path: str, version: int, checksums: Mapping[str, int] | None = None) -> WeightReport:
        """Let the running turns finish, load the safetensors of a Hugging Face folder, forget every cached state. A
        folder that holds a LoRA adapter is loaded beside the weights that the engine was started with.

        Args:
            checksums: of every tensor (`actors.engine.checksum`), in the engine's dtype; None leaves the check out, and
                so does an adapter.

        Raises:
            EngineError: the folder holds other tensors than this model's, or the load missed its deadline; or, and
                then the engine is dead, the weights that vLLM holds are not those of the checksums.
        """
        await self.ready()
        load = Load(str(path), version, asyncio.get_running_loop().create_future(), checksums)
        report: WeightReport = await self._finish(load, f"loading policy version {version}")
        return report

    async def transfer_weights(
        self, step: Literal["join", "start", "receive", "finish"], version: int, *arguments: Any
    ) -> WeightReport:
        """One step of vLLM's own weight transfer (`actors.engine.weight_update`), by which policy `version` comes.

        `start` lets the running turns finish, and requests wait until `finish`.

        Raises:
            EngineError: the step failed or missed its deadline; the engine is dead.
        """
        await self.ready()
        transfer = Transfer(step, arguments, version, asyncio.get_running_loop().create_future())
        report: WeightReport = await self._finish(transfer, f"the {step} of policy version {version}")
        return report

    async def stats(self) -> dict[str, Any]:
        """Counters since the start, what runs and waits now, and whether the engine is alive."""
        vllm = self._vllm
        return {
            **vars(vllm.counts),
            "version": vllm.version,
            "running": len(vllm.running),
            "waiting": vllm.queue.qsize(),
            "alive": vllm.death is None,
            "error": None if vllm.death is None else str(vllm.death),
        }

    def close(self) -> None:
        """Stop; requests that wait fail."""
        self._vllm.queue.put(Close())
        self._vllm.thread.join(timeout=30)

    async def _finish(self, item: Job | Load | Transfer, what: str) -> Any:
        self._vllm.queue.put(item)
        self._require_alive()
        timeout_s = self._config.request_timeout_s
        try:
            return await asyncio.wait_for(item.future, timeout_s)
        except TimeoutError:
            raise EngineError(f"engine: {what} missed engine.request_timeout_s = {timeout_s:g} s") from None

    def _require_alive(self) -> None:
        vllm = self._vllm
        if vllm.death is not None:
            raise vllm.death
        stalled_s = time.monotonic() - vllm.beat
        if vllm.updating and stalled_s > self._config.request_timeout_s:
            raise EngineError(f"engine: a weight update has not gone on for {stalled_s:.0f} s")
        if vllm.running and stalled_s > self._config.request_timeout_s:
            raise EngineError(f"engine: no step finished for {stalled_s:.0f} s with {len(vllm.running)} requests")


class EnginePolicy:
    """Turns of one episode, sampled by an engine.

    Frames travel with their pixels once an engine: `sent` remembers which, and is shared by all episodes on it.
    """

    def __init__(
        self,
        engine: Any,
        sampling: SamplingConfig,
        *,
        seed: int | None = None,
        min_version: int = 0,
        timeout_s: float | None = None,
        sent: set[str] | None = None,
    ):
        """`engine` is a `PolicyEngine` or the handle of one; `timeout_s` is the deadline of one turn.

        With a `seed` the i-th turn samples with a seed made of it and i, so that the episode can be played again.
        """
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
        seed = None if self._seed is None else turn_seed(self._seed, next(self._turns))
        pixels = tuple(frame.pixels for frame in env.frames)
        unsent = tuple(None if name in self._sent else image for name, image in zip(names, pixels, strict=True))
        self._sent.update(names)
        try:
            return await self._generate(transcript, unsent, names, max_tokens, seed)
        except MissingFrames:
            return await self._generate(transcript, pixels, names, max_tokens, seed)

    async def _generate(
        self,
        transcript: Transcript,
        frames: tuple[np.ndarray | None, ...],
        names: tuple[str, ...],
        max_tokens: int,
        seed: int | None,
    ) -> Turn:
        request = GenerationRequest(
            ids=np.asarray(transcript.ids, dtype=np.int32),
            media=tuple(transcript.media),
            frames=frames,
            frame_ids=names,
            max_tokens=max_tokens,
            temperature=self._sampling.temperature,
            top_p=self._sampling.top_p,
            seed=seed,
            min_version=self._min_version,
        )
        method = self._engine.generate
        answer: Awaitable[Turn] = method.remote(request) if hasattr(method, "remote") else method(request)
        try:
            return await asyncio.wait_for(answer, self._timeout_s)
        except TimeoutError:
            raise EngineError(f"engine: gave no turn within {self._timeout_s:g} s") from None


def turn_seed(seed: int, turn: int) -> int:
    """The seed of an episode's i-th turn, 0 to 2^31 - 1."""
    return int(np.random.SeedSequence((seed, turn)).generate_state(1)[0] >> 1)
