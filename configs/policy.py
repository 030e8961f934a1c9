"""The policy: its weights, the engine that serves it, how it is sampled."""

from dataclasses import dataclass, field


@dataclass
class TinyModelConfig:
    """A small model of the real Qwen3-VL architecture with random weights."""

    hidden_size: int = 128
    """Width of the language model, in heads of 32."""
    layers: int = 4
    """Text layers."""
    intermediate_size: int = 256
    """Width of the language model's MLP."""
    vision_hidden_size: int = 64
    """Width of the vision tower."""
    vision_layers: int = 2
    """Vision layers; the first also feeds a deepstack merger."""
    vision_heads: int = 4
    """Attention heads of the vision tower."""
    vision_intermediate_size: int = 128
    """Width of the vision tower's MLP."""
    tied_embeddings: bool = False
    """Whether the output head is the embeddings' own matrix, as in the released 2B and 4B, and unlike in the 8B."""
    patch_size: int = 16
    """Vision patch, pixels; 2x2 patches make one token."""
    initializer_range: float = 0.09
    """Standard deviation of the first weights; at the architecture's own 0.02 a narrow model learns far slower."""
    embedding_range: float = 1.0
    """Standard deviation of the first embeddings of text, where the head is not theirs: about that of what the first
    layers add to them, so that which word a token is, is not drowned."""
    shared_range: float = 1.0
    """Standard deviation of a vector that all first embeddings share. The architecture's linear layers have no bias, so
    without it attention can follow what a token is, and not where it stands: to the one before, for instance."""
    residual_gain: float = 0.1
    """Factor of the first weights that write into the language model's residual stream, but for the embeddings."""
    position_range: float = 2.0
    """Standard deviation of the vision tower's first position embeddings. It is of the size of the patches' own
    embeddings, so that where something is can be told as early as what it is."""
    vocab_size: int = 1024
    """Tokens of the byte-level BPE vocabulary, the Qwen special tokens included."""
    max_position_embeddings: int = 4096
    """Longest sequence, tokens."""


@dataclass
class ModelConfig:
    """Where the weights come from."""

    path: str | None = None
    """A Hugging Face model folder or hub id. None builds the tiny model."""
    tiny: TinyModelConfig = field(default_factory=TinyModelConfig)


@dataclass
class EngineConfig:
    """The vLLM engines that sample the policy."""

    engines: int = 1
    """Engine actors."""
    gpus_per_engine: int = 0
    """GPUs of one engine (its tensor-parallel size); 0 runs on the CPU."""
    colocate: bool = False
    """Put each engine on the GPU of a rank, of which it takes `gpu_memory_utilization`; the ranks have the rest. Takes
    one GPU for each engine and each rank, and no more engines than ranks."""
    cpu_threads: int = 1
    """Threads of an engine on the CPU. More than the idle cores make it many times slower."""
    dtype: str = "float32"
    """Compute type of the engine."""
    max_model_len: int = 1024
    """Longest sequence an engine accepts, tokens."""
    max_num_seqs: int = 64
    """Sequences decoded at once."""
    max_num_batched_tokens: int = 4096
    """Tokens of one engine step."""
    kv_cache_gib: float = 1.0
    """KV cache on the CPU, GiB."""
    frame_cache_gib: float = 0.5
    """Processed frames that an engine keeps, GiB: frames seen again on later turns and in the other rollouts of a
    group are neither sent nor processed again."""
    lora_rank: int = 0
    """Highest rank of the LoRA adapters that the learner publishes instead of whole weights, which must be on the
    language model alone; 0 takes whole weights, into which the learner has merged its adapter, if it has one."""
    gpu_memory_utilization: float = 0.85
    """Share of a GPU that an engine may take."""
    start_timeout_s: float = 300.0
    """Deadline for an engine to come up, seconds."""
    request_timeout_s: float = 120.0
    """Deadline of one generation, seconds."""
    deterministic: bool = False
    """Sample one turn at a time, with empty caches, so that its bits depend on nothing but the weights and the request:
    a batch's other members and what was sampled before change the last bits of a sum. Many times slower, and a turn
    that waits for others has no more than `request_timeout_s` either."""


@dataclass
class SamplingConfig:
    """How training rollouts are sampled. Evaluation is greedy."""

    temperature: float = 1.0
    """Sampling temperature, above 0. The learner scores at the same one."""
    top_p: float = 1.0
    """Nucleus of the sampling; training needs 1, as the ratios assume it."""
