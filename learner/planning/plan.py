"""What a run will do and whether it fits: memory of every GPU by part, and the work of a step.

Invariant: what `problems` finds is known from the config, the model's sizes and the machine alone, so a run that cannot
fit is refused before anything is started.
"""

from dataclasses import dataclass
from typing import Literal

from configs.run import Config
from learner.model.sizes import ModelShape
from learner.planning.memory import DTYPE_BYTES, GIB, activation_bytes, engine_bytes, state_bytes

Phase = Literal["sft", "grpo"]
"""A phase of a run that trains."""
USABLE = 0.9
"""Share of a GPU that a rank can fill: the rest is CUDA's context, NCCL's buffers and what fragmentation wastes."""
STAMP_TOKENS = 9
"""Tokens around a frame: its stamp, for example `131.0 s `, and the two tokens that hold it."""
PROCESS_BYTES = GIB
"""What a process holds on the CPU once torch and transformers, DeepSpeed or vLLM are imported, roughly."""


@dataclass(frozen=True)
class Machine:
    """The memory that a run has."""

    gpu_bytes: int
    """Memory of each GPU."""
    ram_bytes: int
    """Memory of this machine, for what runs on the CPU."""


@dataclass(frozen=True)
class Role:
    """The processes of one kind, which all need the same."""

    name: str
    count: int
    gpus: int
    """GPUs of one process; 0 where it runs on the CPU."""
    parts: tuple[tuple[str, int], ...]
    """Name and bytes of what is in the memory of each of its GPUs, or of the process, at the moment of its peak."""
    limit: int
    """Bytes that it may use."""
    host: tuple[tuple[str, int], ...]
    """What a process with a GPU holds in the memory of its node."""
    sequences: int | None = None
    """Whole sequences of `engine.max_model_len` that an engine's KV cache holds."""
    guest: bool = False
    """Whether its GPUs are counted as another role's."""

    @property
    def need(self) -> int:
        """Bytes of all its parts."""
        return sum(size for _, size in self.parts)


@dataclass(frozen=True)
class Work:
    """What a phase computes."""

    phase: Phase
    steps: int
    trajectories: int
    """Trajectories of one step."""
    tokens: int
    """Tokens of one step, at most."""
    updates: int
    """Optimizer updates of one step."""
    epochs: float | None
    """Passes over what there is to learn from; None where that is not made yet."""


@dataclass(frozen=True)
class Plan:
    """What one phase of a run does, and whether it fits."""

    shape: ModelShape
    trained: int
    """Parameters that get gradients."""
    roles: tuple[Role, ...]
    work: tuple[Work, ...]
    machine: Machine
    notes: tuple[str, ...]
    """What is allowed, but seldom meant."""

    @property
    def gpus(self) -> int:
        """GPUs of all roles."""
        return sum(role.count * role.gpus for role in self.roles if not role.guest)

    @property
    def ram(self) -> int:
        """Bytes that the processes on this machine's CPU need together."""
        return sum(role.count * role.need for role in self.roles if not role.gpus)

    @property
    def problems(self) -> tuple[str, ...]:
        """What does not fit, each as half a sentence."""
        found = [
            f"{role.name} on a GPU needs {role.need / GIB:.1f} GiB of {role.limit / GIB:.1f} that it may use"
            for role in self.roles
            if role.gpus and role.need > role.limit
        ]
        if self.ram > self.machine.ram_bytes:
            found.append(
                f"what runs on the CPU needs {self.ram / GIB:.1f} GiB of {self.machine.ram_bytes / GIB:.1f} in this "
                "machine"
            )
        found += [
            f"{role.name}'s KV cache holds no sequence of engine.max_model_len"
            for role in self.roles
            if role.sequences == 0 and not (role.gpus and role.need > role.limit)
        ]
        return tuple(found)


def make_plan(
    config: Config,
    shape: ModelShape,
    machine: Machine,
    phase: Phase,
    tasks: int | None = None,
    lessons: int | None = None,
) -> Plan:
    """Plan a phase with so many training tasks and lessons (the teacher's accepted episodes), None where they are not
    made yet. The plan of GRPO has the work of the cold start before it as well."""
    sft, grpo, most = config.sft, config.grpo, config.episode.max_tokens
    steps, batch = sft.all_steps, round(sft.mean_batch)
    epochs = steps * sft.mean_batch / lessons if lessons else None
    roles = [_rank(config, shape, machine, phase)]
    work = [Work("sft", steps, batch, batch * most, 1, epochs)]
    if phase == "grpo":
        trajectories = grpo.prompts_per_step * grpo.group_size
        epochs = grpo.steps * grpo.prompts_per_step / tasks if tasks else None
        roles.append(_engine(config, shape, machine))
        work.append(Work("grpo", grpo.steps, trajectories, trajectories * most, grpo.mini_batches, epochs))
    return Plan(shape, shape.trained(config.ranks), tuple(roles), tuple(work), machine, _notes(config, phase))


def _rank(config: Config, shape: ModelShape, machine: Machine, phase: Phase) -> Role:
    ranks = config.ranks
    state = state_bytes(shape, ranks)
    tokens = max(ranks.micro_batch_tokens, config.episode.max_tokens)
    active = activation_bytes(shape, ranks, tokens, tokens)
    # The head's logits are gone when the backward pass enters the layers.
    at_hand = max(active.layer, active.logits)
    parts = [
        ("weights", state.weights),
        ("gradients", state.gradients),
        ("optimizer", state.optimizer),
        ("buckets", state.buffers),
    ]
    if phase == "grpo" and not ranks.lora.rank:  # with LoRA the reference is the same model without its adapter
        parts.append(("reference", DTYPE_BYTES[ranks.dtype] * shape.parameters))
    parts += [
        ("activations", active.stored),
        ("layer or logits at hand", at_hand),
        # The activations are gone when the gradients are there.
        ("update, beyond these two", max(0, state.passing - active.stored - at_hand)),
    ]
    host = [("frames", ranks.frame_cache_mib * 2**20)]
    if state.host:
        host.append(("offloaded", state.host))
    shared = config.engine.gpu_memory_utilization if phase == "grpo" and config.engine.colocate else 0.0
    if not ranks.gpus_per_rank:
        parts, host = [*parts, *host, ("process", PROCESS_BYTES)], []
    limit = round((USABLE - shared) * machine.gpu_bytes) if ranks.gpus_per_rank else machine.ram_bytes
    return Role("a learner rank", ranks.ranks, ranks.gpus_per_rank, tuple(parts), limit, tuple(host))


def _engine(config: Config, shape: ModelShape, machine: Machine) -> Role:
    engine = config.engine
    size = engine_bytes(shape, engine)
    parts = [("weights", size.weights), ("working memory", size.working)]
    host = [("frames", round(engine.frame_cache_gib * GIB))]
    if engine.gpus_per_engine:
        limit = round(engine.gpu_memory_utilization * machine.gpu_bytes)
        left = limit - sum(bytes_ for _, bytes_ in parts)
        cache = max(left, size.sequence)  # without room for one sequence vLLM does not start
    else:
        limit, left = machine.ram_bytes, round(engine.kv_cache_gib * GIB)
        cache = left
        parts, host = [*parts, *host, ("process", PROCESS_BYTES)], []
    parts.append(("KV cache", cache))
    count, gpus, sequences = engine.engines, engine.gpus_per_engine, max(0, left) // size.sequence
    return Role("an engine", count, gpus, tuple(parts), limit, tuple(host), sequences, guest=engine.colocate)


def _notes(config: Config, phase: Phase) -> tuple[str, ...]:
    episode, found = config.episode, []
    if phase == "grpo" and config.engine.max_model_len < episode.max_tokens:
        found.append(
            f"episodes end at engine.max_model_len = {config.engine.max_model_len} tokens, before episode.max_tokens = "
            f"{episode.max_tokens}"
        )
    frame = max(1, episode.prompt_max_pixels // episode.pixel_multiple**2) + STAMP_TOKENS
    if episode.prompt_max_frames * frame > episode.max_tokens:
        fits = episode.max_tokens // frame
        found.append(
            f"a first look of more than {fits} frames of the largest size leaves no room to answer in "
            f"episode.max_tokens = {episode.max_tokens}, and episode.prompt_max_frames is {episode.prompt_max_frames}"
        )
    return tuple(found)
