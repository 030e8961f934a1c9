"""The policy engine: real vLLM on a tiny model, against transformers' own forward pass."""

import asyncio
import dataclasses
import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.engine.engine import PolicyEngine
from actors.engine.request import GenerationRequest
from actors.errors import EngineError, MissingFrames
from actors.rollout.engine_policy import EnginePolicy
from actors.rollout.loop import play
from configs.policy import EngineConfig, SamplingConfig
from env.chat import ChatFormat
from env.task import Task
from env.transcript import Transcript
from tools.decoding.frame import Frame, FrameRef

pytestmark = pytest.mark.slow
CACHE_BLOCK = 128
"""Tokens of a block of vLLM's prefix cache on the CPU; shorter prompts are not cached."""


def prompt_of(chat: ChatFormat, frames: int = 3, salt: int = 0) -> tuple[Transcript, list[Frame]]:
    """A prompt that shows several frames of different sizes."""
    rng = np.random.default_rng(salt)
    shown = []
    for i in range(frames):
        height, width = (64, 96) if i % 2 else (96, 64)
        pixels = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
        shown.append(Frame(FrameRef(f"/frame-{salt}-{i}", float(i), width, height), pixels, float(i)))
    content = [part for frame in shown for part in (f"{frame.time_s:.1f} s ", frame)]
    transcript = Transcript()
    transcript.append_prompt(chat.prompt("Answer.", (*content, "What colour is the red square?")))
    return transcript, shown


def request_of(
    chat: ChatFormat,
    seed: int = 0,
    max_tokens: int = 24,
    temperature: Any = 1.0,
    frames: Any = 3,
    salt: Any = 0,
    **changes: Any,
) -> GenerationRequest:
    transcript, shown = prompt_of(chat, frames, salt)
    request = GenerationRequest(
        ids=np.asarray(transcript.ids, np.int32),
        media=tuple(transcript.media),
        frames=tuple(frame.pixels for frame in shown),
        frame_ids=tuple(frame.ref.path for frame in shown),
        max_tokens=max_tokens,
        temperature=temperature,
        seed=seed,
    )
    return dataclasses.replace(request, **changes)


def text_request(ids: np.ndarray) -> GenerationRequest:
    return GenerationRequest(ids, (), (), (), max_tokens=24, temperature=0.0)


def generate(engine: PolicyEngine, *requests: Any) -> Any:
    async def all_at_once() -> Any:
        return await asyncio.gather(*(engine.generate(request) for request in requests))

    return asyncio.run(all_at_once())


def learner_logprobs(model_dir: Path, chat: ChatFormat, request: GenerationRequest, ids: Sequence[int]) -> np.ndarray:
    """Log-softmax of transformers' forward pass with the banned ids at minus infinity, at the sampled tokens."""
    import torch
    from PIL import Image
    from transformers import AutoImageProcessor, Qwen3VLForConditionalGeneration

    model = Qwen3VLForConditionalGeneration.from_pretrained(model_dir, dtype=torch.float32).eval()
    frames: Any = request.frames
    images = AutoImageProcessor.from_pretrained(model_dir)(
        [Image.fromarray(frame) for frame in frames], return_tensors="pt"
    )
    tokens = torch.tensor([[*request.ids.tolist(), *ids]])
    with torch.no_grad():
        logits = model(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            mm_token_type_ids=(tokens == chat.image_token_id).int(),
            **images,
        ).logits[0, len(request.ids) - 1 : -1]
    logits[:, list(chat.banned_ids)] = -torch.inf
    return logits.log_softmax(-1)[range(len(ids)), list(ids)].numpy()


def test_logprobs_are_those_of_the_learner(engine: PolicyEngine, model_dir: Path, chat: ChatFormat) -> None:
    request = request_of(chat, max_tokens=64)
    (turn,) = generate(engine, request)
    assert len(turn.ids) > 4
    np.testing.assert_allclose(turn.logprobs, learner_logprobs(model_dir, chat, request, turn.ids), atol=1e-4)


def test_greedy_turns_take_the_likeliest_token(engine: PolicyEngine, model_dir: Path, chat: ChatFormat) -> None:
    request = request_of(chat, temperature=0.0, max_tokens=8)
    first, again = generate(engine, request, request)
    assert first == again
    np.testing.assert_allclose(first.logprobs, learner_logprobs(model_dir, chat, request, first.ids), atol=1e-4)


def test_a_seed_makes_a_turn_repeatable_and_seeds_differ(engine: PolicyEngine, chat: ChatFormat) -> None:
    first, again, other = generate(engine, *(request_of(chat, seed) for seed in (1, 1, 2)))
    assert first.ids == again.ids
    assert first.ids != other.ids


def test_a_turn_stops_at_a_stop_string_which_belongs_to_it(engine: PolicyEngine, chat: ChatFormat) -> None:
    turns = generate(engine, *(request_of(chat, seed, max_tokens=200) for seed in range(40)))
    ends = [next((stop for stop in chat.stop_strings if turn.text.endswith(stop)), None) for turn in turns]
    assert any(ends)
    for turn, end in zip(turns, ends, strict=True):
        assert (turn.stop == "stop") == (end is not None or turn.ids[-1] == chat.eos_id)
        assert all(turn.text.count(stop) == (stop == end) for stop in chat.stop_strings)


def test_no_banned_id_is_ever_sampled(engine: PolicyEngine, chat: ChatFormat) -> None:
    turns = generate(engine, *(request_of(chat, seed, max_tokens=200) for seed in range(40)))
    assert not set(chat.banned_ids) & {i for turn in turns for i in turn.ids}


def test_a_request_without_room_ends_with_length(
    engine: PolicyEngine, chat: ChatFormat, engine_config: EngineConfig
) -> None:
    (turn,) = generate(engine, text_request(np.zeros(engine_config.max_model_len, np.int32)))
    assert (turn.ids, turn.stop) == ((), "length")


def test_a_request_that_runs_into_the_limit_ends_with_length(
    engine: PolicyEngine, chat: ChatFormat, engine_config: EngineConfig
) -> None:
    ids = np.full(engine_config.max_model_len - 3, chat.encode("a")[0], np.int32)
    (turn,) = generate(engine, text_request(ids))
    assert (len(turn.ids), turn.stop) == (3, "length")


def test_ids_that_the_engine_expands_otherwise_are_an_error(engine: PolicyEngine, chat: ChatFormat) -> None:
    request = request_of(chat, salt=50)
    wrong = dataclasses.replace(request.media[0], tokens=request.media[0].tokens - 1)
    with pytest.raises(EngineError, match=r"ids"):
        generate(engine, dataclasses.replace(request, media=(wrong, *request.media[1:])))


def test_frames_are_processed_once_and_need_no_pixels_again(engine: PolicyEngine, chat: ChatFormat) -> None:
    before = engine._vllm.frames_processed
    request = request_of(chat, salt=60)
    (first,) = generate(engine, request)
    others = generate(engine, *(dataclasses.replace(request, frames=(None,) * 3) for _ in range(8)))
    after = engine._vllm.frames_processed
    assert all(other.ids == first.ids for other in others)
    assert after - before == 3


def test_unknown_frames_without_pixels_are_asked_for(engine: PolicyEngine, chat: ChatFormat) -> None:
    request = request_of(chat, salt=70)
    with pytest.raises(MissingFrames, match="3 frames were sent without pixels") as raised:
        generate(engine, dataclasses.replace(request, frames=(None,) * 3))
    assert raised.value.names == request.frame_ids
    assert pickle.loads(pickle.dumps(raised.value)).names == request.frame_ids
    generate(engine, dataclasses.replace(request, frames=request.frames))
    one_new = dataclasses.replace(request, frames=(None,) * 3, frame_ids=(*request.frame_ids[:2], "new"))
    with pytest.raises(MissingFrames) as raised:
        generate(engine, one_new)
    assert raised.value.names == ("new",)


def test_pixels_survive_new_weights(engine: PolicyEngine, model_dir: Path, chat: ChatFormat) -> None:
    request = request_of(chat, salt=75)
    (before,) = generate(engine, request)
    asyncio.run(engine.load_weights(str(model_dir), 0))
    processed = engine._vllm.frames_processed
    (after,) = generate(engine, dataclasses.replace(request, frames=(None,) * 3))
    assert after.ids == before.ids
    assert engine._vllm.frames_processed == processed


def test_an_older_policy_than_asked_for_is_refused(engine: PolicyEngine, chat: ChatFormat) -> None:
    with pytest.raises(EngineError, match="policy version"):
        generate(engine, request_of(chat, min_version=10**6))


def test_the_policy_plays_an_episode_whose_frames_it_sends_once(
    engine: PolicyEngine, chat: ChatFormat, task: Task, episode: Any, tmp_path: Path
) -> None:
    # A film of its own: the engine may hold the frames of the other tests'.
    task = dataclasses.replace(task, video=shutil.copy(task.video, str(tmp_path)))
    before = engine._vllm.frames_processed
    sent: set[str] = set()

    async def group() -> Any:
        policies = [EnginePolicy(engine, SamplingConfig(), seed=seed, sent=sent) for seed in range(6)]
        return await asyncio.gather(*(play(task, policy, chat, episode) for policy in policies))

    trajectories = asyncio.run(group())
    after = engine._vllm.frames_processed
    shown = {ref for trajectory in trajectories for ref in trajectory.transcript.frames}
    assert after - before == len(shown)
    for trajectory in trajectories:
        sampled = trajectory.transcript.sampled
        assert any(sampled)
        assert all(value < 0 for value, mask in zip(trajectory.transcript.logprobs, sampled, strict=True) if mask)


@pytest.fixture
def new_weights(model_dir: Path, tmp_path: Path) -> Any:
    """Copies the model folder and changes every tensor of a part of the model; `bare/` has the weights alone."""
    from safetensors.torch import load_file, save_file

    def change(part: str, factor: float = 1.5) -> Any:
        folder = shutil.copytree(model_dir, tmp_path / part.replace(".", "-"))
        tensors = load_file(folder / "model.safetensors")
        changed = {name: tensor * factor if part in name else tensor for name, tensor in tensors.items()}
        assert any(part in name for name in tensors)
        save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "bare").mkdir()
        shutil.copy(folder / "model.safetensors", folder / "bare")
        return folder

    return change


def test_new_vision_weights_reach_frames_that_were_seen_before(
    engine: PolicyEngine, model_dir: Path, chat: ChatFormat, new_weights: Any
) -> None:
    request = request_of(chat, temperature=0.0, frames=24)
    assert len(request.ids) > 2 * CACHE_BLOCK
    (old,) = generate(engine, request)
    folder = new_weights("visual.merger", 30.0)
    report = asyncio.run(engine.load_weights(str(folder / "bare"), 7))
    (new,) = generate(engine, request)
    unseen = request_of(chat, temperature=0.0, salt=80)
    (other,) = generate(engine, unseen)
    asyncio.run(engine.load_weights(str(model_dir), 0))
    (back,) = generate(engine, request)
    assert (report.version, new.version, back.version) == (7, 7, 0)
    np.testing.assert_allclose(new.logprobs, learner_logprobs(folder, chat, request, new.ids), atol=1e-4)
    np.testing.assert_allclose(other.logprobs, learner_logprobs(folder, chat, unseen, other.ids), atol=1e-4)
    assert abs(new.logprobs[0] - old.logprobs[0]) > 1e-3
    assert back == old


def test_every_tensor_of_new_weights_reaches_the_logprobs(
    engine: PolicyEngine, model_dir: Path, chat: ChatFormat, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(model_dir, tmp_path / "all")
    torch.manual_seed(1)
    tensors = load_file(folder / "model.safetensors")
    changed = {name: tensor + 0.1 * torch.randn_like(tensor) for name, tensor in tensors.items()}
    save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})
    request = request_of(chat, max_tokens=32)
    (old,) = generate(engine, request)
    asyncio.run(engine.load_weights(str(folder), 1))
    (new,) = generate(engine, request)
    asyncio.run(engine.load_weights(str(model_dir), 0))
    np.testing.assert_allclose(new.logprobs, learner_logprobs(folder, chat, request, new.ids), atol=1e-4)
    assert np.abs(learner_logprobs(folder, chat, request, old.ids) - old.logprobs).max() > 0.1


def test_a_weight_load_waits_for_running_turns(
    engine: PolicyEngine, model_dir: Path, chat: ChatFormat, new_weights: Any
) -> None:
    folder = new_weights("layers.0.mlp")
    request = request_of(chat, max_tokens=100, temperature=0.0)

    async def race() -> Any:
        old = [asyncio.create_task(engine.generate(request)) for _ in range(3)]
        await asyncio.sleep(0.05)
        load = asyncio.create_task(engine.load_weights(str(folder), 3))
        await asyncio.sleep(0)
        new = [asyncio.create_task(engine.generate(request)) for _ in range(3)]
        await load
        return await asyncio.gather(*old), await asyncio.gather(*new)

    old, new = asyncio.run(race())
    asyncio.run(engine.load_weights(str(model_dir), 0))
    assert {turn.version for turn in old} == {0}
    assert {turn.version for turn in new} == {3}
    np.testing.assert_allclose(new[0].logprobs, learner_logprobs(folder, chat, request, new[0].ids), atol=1e-4)


def test_weights_of_another_model_are_refused_and_the_engine_goes_on(
    engine: PolicyEngine, chat: ChatFormat, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"model.other": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(EngineError, match="not weights of this model"):
        asyncio.run(engine.load_weights(str(tmp_path), 9))
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(EngineError, match="not a whole safetensors file"):
        asyncio.run(engine.load_weights(str(tmp_path), 9))
    (turn,) = generate(engine, request_of(chat))
    assert turn.version == 0


def test_a_missed_deadline_is_an_error_and_the_request_is_dropped(
    engine: PolicyEngine, chat: ChatFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_config", dataclasses.replace(engine._config, request_timeout_s=0.05))
    with pytest.raises(EngineError, match="request_timeout_s"):
        generate(engine, request_of(chat, max_tokens=400, temperature=0.0, salt=90))
    monkeypatch.undo()
    generate(engine, request_of(chat))
    assert engine._vllm.running == {}


def test_a_dead_engine_tells_every_waiter_why(
    engine_config: EngineConfig, model_dir: Path, chat: ChatFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = PolicyEngine(engine_config, str(model_dir))
    asyncio.run(engine.ready())

    def broken_step() -> None:
        raise MemoryError("no more memory")

    monkeypatch.setattr(engine._vllm._engine, "step", broken_step)

    async def all_at_once() -> Any:
        return await asyncio.gather(*(engine.generate(request_of(chat, i)) for i in range(4)), return_exceptions=True)

    errors = asyncio.run(all_at_once())
    assert all(isinstance(error, EngineError) and "no more memory" in str(error) for error in errors)
    with pytest.raises(EngineError, match="no more memory"):
        asyncio.run(engine.ready())


def test_a_model_that_cannot_be_loaded_is_told(tmp_path: Path) -> None:
    engine = PolicyEngine(EngineConfig(), str(tmp_path))
    with pytest.raises(EngineError, match="died"):
        asyncio.run(engine.ready())
