"""New weights in a running engine: each part reaches the logprobs, by either way, and what vLLM holds is checked."""

import asyncio
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from actors.engine.checksum import checksum, exact
from actors.engine.engine import PolicyEngine
from actors.errors import EngineError
from env.chat import ChatFormat
from tests.actors.engine.test_engine import generate, learner_logprobs, request_of

pytestmark = pytest.mark.slow
VISION = (
    *("patch_embed.proj", "pos_embed", "blocks.0.norm1", "blocks.0.attn.qkv", "blocks.0.attn.proj"),
    *("blocks.0.norm2", "blocks.0.mlp.linear_fc1", "blocks.0.mlp.linear_fc2"),
    *("merger.norm", "merger.linear_fc1", "merger.linear_fc2", "deepstack_merger_list.0.norm"),
    *("deepstack_merger_list.0.linear_fc1", "deepstack_merger_list.0.linear_fc2"),
)
ATTENTION = (f"layers.0.self_attn.{part}" for part in ("q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm"))
LANGUAGE = (
    *("embed_tokens", "layers.0.input_layernorm", *ATTENTION, "layers.0.post_attention_layernorm"),
    *("layers.1.mlp.gate_proj", "layers.1.mlp.up_proj", "layers.1.mlp.down_proj", "norm"),
)
PARTS = [f"model.visual.{part}." for part in VISION] + [f"model.language_model.{part}." for part in LANGUAGE]


@pytest.fixture(scope="module")
def transfer() -> Iterator[Any]:
    """A backend of vLLM's weight transfer that reads what the trainer wrote, in place of NCCL and CUDA IPC."""
    from vllm.distributed.weight_transfer import WeightTransferEngineFactory
    from vllm.distributed.weight_transfer.nccl_engine import NCCLWeightTransferEngine

    class FromFile(NCCLWeightTransferEngine):
        def init_transfer_engine(self, init_info: Any) -> None:
            self.path = init_info.master_address

        def update_weights(self, update_info: Any) -> None:
            tensors = load_file(self.path)
            self.model.load_weights((name, tensors[name]) for name in self.parse_update_info(update_info).names)

    WeightTransferEngineFactory.register_engine("file", FromFile)
    yield "file"
    del WeightTransferEngineFactory._registry["file"]


def sums(folder: Path) -> dict[str, int]:
    return exact({name: checksum(tensor) for name, tensor in load_file(folder / "model.safetensors").items()})


def perturbed(model_dir: Path, folder: Path, *parts: str) -> Path:
    """A copy of the model whose tensors of these parts have noise on them."""
    shutil.copytree(model_dir, folder)
    torch.manual_seed(1)
    tensors = load_file(folder / "model.safetensors")
    chosen = {name for name in tensors if any(name.startswith(part) for part in parts)}
    assert chosen
    changed = {
        n: t + 0.3 * (t.std() if t.ndim > 1 else 1) * torch.randn_like(t) if n in chosen else t
        for n, t in tensors.items()
    }
    save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def before(engine: PolicyEngine, model_dir: Path, chat: ChatFormat) -> Iterator[Any]:
    """A greedy turn of the first weights, after frames that every later one has seen too."""
    asyncio.run(engine.load_weights(str(model_dir), 0))
    (turn,) = generate(engine, request_of(chat, temperature=0.0, frames=24, max_tokens=4, salt=200))
    yield turn
    asyncio.run(engine.load_weights(str(model_dir), 0))


@pytest.mark.parametrize("part", PARTS)
def test_each_part_of_new_weights_reaches_frames_and_prompts_seen_before(
    engine: PolicyEngine, model_dir: Path, chat: ChatFormat, before: Any, tmp_path: Path, part: Any
) -> None:
    folder = perturbed(model_dir, tmp_path / "new", part)
    report = asyncio.run(engine.load_weights(str(folder), 5, sums(folder)))
    (after,) = generate(engine, request_of(chat, temperature=0.0, frames=24, max_tokens=4, salt=200))
    assert report.checked > 20
    assert after.version == 5
    assert abs(after.logprobs[0] - before.logprobs[0]) > 1e-5


def test_every_parameter_that_vllm_computes_with_is_checked(engine: PolicyEngine, model_dir: Path) -> None:
    report = asyncio.run(engine.load_weights(str(model_dir), 0, sums(model_dir)))
    names = load_file(model_dir / "model.safetensors")
    fused = {
        name.replace("k_proj", "q_proj").replace("v_proj", "q_proj").replace("up_proj", "gate_proj") for name in names
    }
    assert report.checked == len(fused)


def test_vllms_weight_transfer_holds_requests_until_it_ends(
    engine: PolicyEngine, model_dir: Path, chat: ChatFormat, tmp_path: Path, transfer: Any
) -> None:
    folder = perturbed(model_dir, tmp_path / "new", *PARTS)
    tensors = load_file(folder / "model.safetensors")
    join = {"master_address": str(folder / "model.safetensors"), "master_port": 0, "rank_offset": 1, "world_size": 2}
    update = {
        "names": list(tensors),
        "dtype_names": ["float32"] * len(tensors),
        "shapes": [list(tensor.shape) for tensor in tensors.values()],
    }
    request = request_of(chat, max_tokens=32, salt=201)

    async def publish() -> Any:
        running = asyncio.create_task(engine.generate(request))
        await asyncio.sleep(0)
        await engine.transfer_weights("join", 6, transfer, join)
        await engine.transfer_weights("start", 6)
        during = asyncio.create_task(engine.generate(request))
        await asyncio.sleep(0.3)
        assert running.done()
        assert not during.done()
        await engine.transfer_weights("receive", 6, update)
        report = await engine.transfer_weights("finish", 6, sums(folder))
        return await running, await during, report

    generate(engine, request)
    old, new, report = asyncio.run(publish())
    (again,) = generate(engine, request)
    asyncio.run(engine.load_weights(str(model_dir), 0))
    assert (old.version, new.version, report.version) == (0, 6, 6)
    assert report.checked > 20
    np.testing.assert_allclose(new.logprobs, learner_logprobs(folder, chat, request, new.ids), atol=1e-4)
    assert again == new


@pytest.fixture(scope="session")
def graves() -> Any:
    """Keeps engines from being collected: vLLM would end the process groups that all in this process share."""
    return []


@pytest.fixture
def doomed(engine_config: Any, model_dir: Path, graves: Any) -> Any:
    """An engine that may die."""
    engine = PolicyEngine(engine_config, str(model_dir))
    graves.append(engine._vllm)
    asyncio.run(engine.ready())
    graves.append(engine._vllm._engine)
    return engine


def test_weights_that_are_not_those_sent_end_the_engine(doomed: Any, model_dir: Path) -> None:
    wrong = sums(model_dir)
    wrong["model.language_model.layers.1.self_attn.k_proj.weight"] += 1
    reason = r"not those that the learner sent: 1 of \d+ parameters .*language_model.model.layers.1.self_attn.qkv_proj"
    with pytest.raises(EngineError, match=reason):
        asyncio.run(doomed.load_weights(str(model_dir), 1, wrong))
    with pytest.raises(EngineError, match="not those that the learner sent"):
        asyncio.run(doomed.ready())


def test_an_update_that_does_not_go_on_is_told(
    doomed: Any, chat: ChatFormat, transfer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    join = {"master_address": "", "master_port": 0, "rank_offset": 1, "world_size": 2}
    asyncio.run(doomed.transfer_weights("join", 1, transfer, join))
    asyncio.run(doomed.transfer_weights("start", 1))
    doomed._vllm.beat = time.monotonic() - 2 * doomed._config.request_timeout_s
    with pytest.raises(EngineError, match="update has not gone on"):
        generate(doomed, request_of(chat))
