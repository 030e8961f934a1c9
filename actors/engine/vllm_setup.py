"""How vLLM is set up: its environment, its arguments, the weights that fit it.

Invariant: a folder whose tensors are not this model's is refused before anything is overwritten
(`require_same_model`).
"""

import os
from pathlib import Path
from typing import Any

from actors.errors import EngineError, sentence
from configs.policy import EngineConfig

LLMEngine = Any
"""vLLM's engine; its module must not be imported before the environment of the process is set."""
LoRARequest = Any
"""vLLM's name for an adapter; as above."""
VLLM_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Set in the engine's process before vLLM is imported."""
CPU_ENVIRONMENT = {"TORCHDYNAMO_DISABLE": "1"}
"""On the CPU as well: the little that vLLM would compile costs seconds at the first request and gains nothing."""
LOCAL_ENVIRONMENT = {"HF_HUB_OFFLINE": "1"}
"""Where the model is a local folder as well: nothing is looked up on the network."""
OUTPUT_HEAD = "lm_head.weight"
"""Left out of a folder where it is tied to the embeddings."""
ADAPTER_CONFIG = "adapter_config.json"
"""In a folder of weights: they are a LoRA adapter, in PEFT's format."""


def start_vllm(config: EngineConfig, model_dir: str, seed: int) -> LLMEngine:
    """An `LLMEngine` in this process, which must not have imported vLLM before."""
    os.environ.update(VLLM_ENVIRONMENT)
    os.environ.update(CPU_ENVIRONMENT if config.gpus_per_engine == 0 else {})
    os.environ.update(LOCAL_ENVIRONMENT if Path(model_dir).is_dir() else {})
    from vllm import EngineArgs
    from vllm.v1.engine.llm_engine import LLMEngine

    return LLMEngine.from_engine_args(EngineArgs(**engine_args(config, model_dir, seed)))


def forget_states(engine: LLMEngine) -> None:
    """Drop what was computed with the weights: the states of prompts and the features of frames.

    Raises:
        EngineError: they were not dropped.
    """
    if not engine.reset_prefix_cache():
        raise EngineError("vLLM kept its prefix cache, which holds states of the old weights")
    engine.reset_encoder_cache()


def engine_args(config: EngineConfig, model_dir: str, seed: int) -> dict[str, object]:
    """The keyword arguments of vLLM's `EngineArgs`."""
    common = {
        "model": model_dir,
        "seed": seed,
        "dtype": config.dtype,
        "max_model_len": config.max_model_len,
        "max_num_seqs": config.max_num_seqs,
        "max_num_batched_tokens": config.max_num_batched_tokens,
        "enable_prefix_caching": True,
        "logprobs_mode": "processed_logprobs",
        "generation_config": "vllm",
        # A frame takes at least three tokens: start, one placeholder, end.
        "limit_mm_per_prompt": {"image": config.max_model_len // 3, "video": 0},
        "mm_processor_cache_gb": config.frame_cache_gib,
        "disable_log_stats": True,
        **lora_args(config.lora_rank),
    }
    if config.gpus_per_engine == 0:
        return common | {
            "enforce_eager": True,
            "skip_mm_profiling": True,
            "kv_cache_memory_bytes": round(config.kv_cache_gib * 2**30),
            # A seeded request whose prompt is cut in chunks kills vLLM 0.32 on the CPU: it rewinds the request's
            # generator by an offset, which CPU generators do not have.
            "enable_chunked_prefill": False,
            "max_num_batched_tokens": max(config.max_num_batched_tokens, config.max_model_len),
        }
    return common | {
        "tensor_parallel_size": config.gpus_per_engine,
        "distributed_executor_backend": "mp" if config.gpus_per_engine > 1 else "uni",
        "gpu_memory_utilization": config.gpu_memory_utilization,
    }


def lora_args(rank: int) -> dict[str, object]:
    """Room for one adapter of at most `rank`, in the sizes that vLLM has (`MaxLoRARanks`); none where it is 0.

    Raises:
        EngineError: vLLM has none that large.
    """
    if not rank:
        return {}
    room = next((size for size in (1, 8, 16, 32, 64, 128, 256, 320, 512) if size >= rank), None)
    if room is None:
        raise EngineError(f"engine.lora_rank must be at most 512, vLLM's largest, not {rank}")
    return {"enable_lora": True, "max_lora_rank": room, "max_loras": 1}


def load_adapter(engine: LLMEngine, path: str, number: int) -> LoRARequest:
    """Load an adapter's folder beside the weights, which stay as they are; vLLM has room for one (`lora_args`), and
    drops the one before it. Every request that is to use it carries the `LoRARequest` that is returned.

    Args:
        number: from 1, never used before: vLLM keys what it caches, prefixes included, by it.

    Raises:
        EngineError: the folder holds no adapter for this model.
    """
    from vllm.lora.request import LoRARequest

    request = LoRARequest(f"adapter-{number}", number, path)
    try:
        loaded = engine.add_lora(request)
    except (ValueError, RuntimeError, OSError) as error:
        raise EngineError(f"{path}: not an adapter for this model ({sentence(error)})") from None
    if not loaded:
        raise EngineError(f"{path}: vLLM did not take this adapter")
    return request


def require_same_model(path: str, tensors: dict[str, tuple[int, ...]]) -> None:
    """Check that a folder's weights are those of the model whose `tensors` are given.

    Raises:
        EngineError: torn or unreadable files, or a tensor that is missing, unknown, or of another shape.
    """
    try:
        found = tensor_shapes(path)
    except OSError as error:
        raise EngineError(f"{path}: cannot be loaded ({sentence(error)})") from None
    tied = {OUTPUT_HEAD} - found.keys()
    odd = sorted(name for name in found.keys() | tensors.keys() - tied if found.get(name) != tensors.get(name))
    if odd:
        raise EngineError(f"{path}: not weights of this model ({len(odd)} tensors differ, {odd[0]} among them)")


def tensor_shapes(model_dir: str) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor in the safetensors of a folder, or of a downloaded hub model.

    Raises:
        OSError: there are none.
    """
    from safetensors import SafetensorError, safe_open

    folder = Path(model_dir)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(model_dir, local_files_only=True))
    shapes: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, "pt") as file:
                shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise OSError(f"{path.name} is not a whole safetensors file: {error}") from None
    if not shapes:
        raise OSError("no safetensors in it")
    return shapes
