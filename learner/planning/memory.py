"""Bytes that a learner rank and an engine need, from the model's sizes and the config.

Invariant: pure arithmetic on what transformers, DeepSpeed and vLLM keep; each formula says of which tensors it is the
sum, and the tests hold it against what torch really keeps.

Below, b is the bytes of the compute type (4 or 2), H the width of the language model, I that of its MLP, Q and K the
widths of its queries and keys, and H_v and I_v those of the vision tower.
"""

from dataclasses import dataclass

from configs.policy import EngineConfig
from configs.training import RanksConfig
from learner.model.sizes import ModelShape
from learner.objective.logprobs import LOGITS_PER_CHUNK

GIB = 2**30
DTYPE_BYTES = {"float32": 4, "float": 4, "bfloat16": 2, "float16": 2, "half": 2, "auto": 2}
"""Bytes of a number, by the name of its type."""
BUCKET = 500_000_000
"""Most gradients that DeepSpeed reduces at once (`reduce_bucket_size`)."""
LIVE = 1_000_000_000
"""Parameters that ZeRO-3 keeps gathered (`max_live_parameters`), and that it updates at once (`sub_group_size`)."""
LARGEST_IMAGE = 16_384
"""Tokens of the largest image that the released processors take, on which vLLM tries itself out when it starts."""
CUDA_GRAPHS = GIB
"""What vLLM's captured graphs take, roughly."""


@dataclass(frozen=True)
class StateBytes:
    """What a rank keeps from step to step."""

    weights: int
    gradients: int
    optimizer: int
    buffers: int
    """DeepSpeed's own, for as long as a pass lasts: the bucket that is reduced, ZeRO-3's gathered parameters, and the
    largest parameter's gradient on its way to the host."""
    passing: int
    """What the end of a backward pass and the update need besides, when the activations are gone: gradients as they
    come, as they are reduced, and as the optimizer takes them."""
    host: int
    """What `ranks.offload` keeps in the memory of the host; the other fields are without it."""


@dataclass(frozen=True)
class ActivationBytes:
    """What one forward and backward pass needs at once."""

    stored: int
    """Kept from the forward pass for the backward pass."""
    layer: int
    """Bytes of the layer that the backward pass is in: what is recomputed, and the gradients that flow through it."""
    logits: int
    """Bytes of one chunk of the output head's logits."""


def state_bytes(shape: ModelShape, ranks: RanksConfig) -> StateBytes:
    """Count the bytes of one rank, with P parameters of which T train, on n ranks (ZeRO: arXiv 1910.02054, 3).

    stage   weights   gradients    optimizer                    buffers      passing
    0       b P       b T          8 T, and for b = 2 4 T of    none         the larger of b B, and for b = 2 4 T
                                   a master copy in float32
    1       b P       4 T, and     12 T / n: DeepSpeed has a    none         4 B, and 4 T / n;
                      b = 4: 4 T   master copy in any case                   for b = 2 6 B, and 2 T
    2       b P       4 T / n      12 T / n                     b B          b T + 4 T / n
    3       b P / n   4 T / n      12 T / n                     b (B + G)    the larger of b (B + A), and 4 of as many
                                                                             as are updated at once, less b G

    B are the gradients of a bucket, G the parameters that are gathered at once, A those of them that train. Offload
    takes the optimizer to the host and with it the gradients, of which stage 1 alone keeps 4 T; in the buffers is then
    the largest parameter's, and as they come there are b T at stage 1 and 2 b T at stage 2. On the host the master copy
    has gradients of its own, and they are summed up: 20 T / n, and b T / n more below stage 3. `all` adds the weights,
    b P / n.
    """
    b, n, stage = DTYPE_BYTES[ranks.dtype], ranks.ranks, ranks.zero_stage
    half, trained, share = b == 2, shape.trained(ranks), shape.trained(ranks) // n
    bucket = min(BUCKET, trained)
    weights, optimizer, buffers, host = b * shape.parameters, 12 * share, 0, 0
    match stage:
        case 0:
            gradients, optimizer = b * trained, (8 + 4 * half) * trained
            passing = max(b * bucket, 4 * half * trained)
        case 1:
            gradients = (4 if half else 8) * trained
            passing = 6 * bucket + 2 * trained if half else 4 * (bucket + share)
        case 2:
            gradients, buffers, passing = 4 * share, b * bucket, b * trained + 4 * share
        case _:
            gathered, updated = b * min(LIVE, shape.parameters), 4 * min(LIVE, share)
            weights, gradients, buffers = weights // n, 4 * share, b * bucket + gathered
            passing = max(b * (bucket + min(LIVE, trained)), updated - gathered)
    if ranks.offload != "none":
        host = (20 + (b if stage < 3 else 0)) * share
        gradients, optimizer = 4 * trained if stage == 1 else 0, 0
        buffers += b * min(shape.text.vocab_size * shape.text.hidden_size, trained) if stage < 3 else 0
        passing = {1: b * trained + (6 if half else 4) * bucket, 2: 2 * b * trained}.get(stage, passing)
    if ranks.offload == "all":
        weights, host = 0, host + weights
    return StateBytes(weights, gradients, optimizer, buffers, passing, host)


def activation_bytes(shape: ModelShape, ranks: RanksConfig, tokens: int, frame_tokens: int) -> ActivationBytes:
    """Count the bytes of the activations of a micro-batch of so many padded tokens, of which `frame_tokens` stand for
    frames, each frame counted once.

    Without checkpointing each layer stores what `text_layer` and `vision_layer` count; with it only its input, b H or
    b H_v, and the layer at hand is recomputed. The mergers store four times b H_v a patch, each; a tower that trains
    its patch embedding stores the pixels in float32. Nothing is stored before the first part in which something trains.
    What comes after it counts as if its weights trained, of which frozen ones need less; an adapter of rank r adds b r
    a layer that has one.
    """
    b, patches = DTYPE_BYTES[ranks.dtype], frame_tokens * shape.patches_per_token
    hidden, layers = shape.text.hidden_size, shape.text.num_hidden_layers
    changing, width, depth = shape.changing(ranks), shape.tower.hidden_size, shape.tower.depth
    tower = patches if "vision" in changing else 0
    merged = patches if changing & {"vision", "projector"} else 0
    adapters = sum(linears.count for linears in shape.adapted(ranks) if linears.part == "language")
    text = tokens * (text_layer(shape, b, frozen=bool(ranks.lora.rank)) + b * ranks.lora.rank * adapters // layers)
    vision = tower * vision_layer(shape, b)
    if ranks.gradient_checkpointing:
        stored = tokens * b * hidden * layers + tower * b * width * depth
    else:
        stored = text * layers + vision * depth
    stored += merged * (1 + shape.deepstack) * 4 * b * width
    stored += tower * 3 * shape.tower.patch_size**2 * 4
    stored += tokens * (4 if ranks.lora.rank else 4 + 2 * b) * hidden  # the last norm, and the head's input
    flowing = tokens * b * (3 * shape.text.intermediate_size + 2 * hidden)
    chunk = min(LOGITS_PER_CHUNK, tokens * shape.text.vocab_size)
    return ActivationBytes(
        stored=stored,
        layer=flowing + (max(text, vision) if ranks.gradient_checkpointing else 0),
        # As the head gives them, divided by the temperature, their logprobs, and the three terms of the entropy.
        logits=(b + 4 * 5) * chunk,
    )


def text_layer(shape: ModelShape, b: int, *, frozen: bool = False) -> int:
    """Count the bytes that one text layer stores for a token.

    Two RMS norms keep their input in float32, the normalised input unless they are frozen, and their output; those of
    queries and keys the first two. Attention (without its matrix, as the fused kernels do) keeps Q, K, V, its output
    and, in float32, a sum for each head; the gated MLP its four products.
    """
    text, heads = shape.text, shape.text.num_attention_heads
    q, k = heads * text.head_dim, text.num_key_value_heads * text.head_dim
    normalised = 0 if frozen else b
    norms = 2 * (4 + b + normalised) * text.hidden_size + (4 + normalised) * (q + k)
    attention = 2 * b * (q + k) + 4 * heads
    return int(norms + attention + 4 * b * text.intermediate_size)


def vision_layer(shape: ModelShape, b: int) -> int:
    """Count the bytes that one layer of the tower stores for a patch: input and output of two norms, the joint
    projection (3), queries and keys after the rotation, attention's output and the copy that is projected; two of the
    MLP."""
    return int(b * (11 * shape.tower.hidden_size + 2 * shape.tower.intermediate_size))


@dataclass(frozen=True)
class EngineBytes:
    """What an engine needs on each of its GPUs, or in memory."""

    weights: int
    working: int
    """Activations of a step, of the largest image, logits, and captured graphs; on the CPU next to nothing."""
    sequence: int
    """KV cache of one sequence of `engine.max_model_len`."""


def engine_bytes(shape: ModelShape, engine: EngineConfig) -> EngineBytes:
    """Count the bytes of one engine: b P weights and 2 b K a layer of KV cache for each token, divided by its GPUs.

    The working memory is what vLLM finds out for itself at its start; this is an estimate on the safe side.
    """
    b, gpus = DTYPE_BYTES[engine.dtype], max(1, engine.gpus_per_engine)
    text = shape.text
    k = max(1, text.num_key_value_heads // gpus) * text.head_dim
    step = engine.max_num_batched_tokens * b * (4 * text.hidden_size + 3 * text.intermediate_size // gpus)
    logits = engine.max_num_seqs * text.vocab_size * 4 * 3
    working = step + logits
    if engine.gpus_per_engine:
        image = max(engine.max_num_batched_tokens, LARGEST_IMAGE)
        tower = shape.patches_per_token * b * (8 * shape.tower.hidden_size + 2 * shape.tower.intermediate_size)
        working += image * (tower + b * (1 + shape.deepstack) * text.hidden_size) + CUDA_GRAPHS
    sequence = engine.max_model_len * text.num_hidden_layers * 2 * b * k
    return EngineBytes(weights=b * shape.parameters // gpus, working=working, sequence=sequence)
