"""Before a run starts: its plan, printed or refused.

Invariant: what a dry run prints is what a run is refused by, but for the memory of GPUs that only the cluster knows.
"""

from collections.abc import Iterable
from pathlib import Path

import psutil

from actors.ray_start import start_ray
from configs import Config
from configs.run import for_grpo
from env.lessons import Lessons, is_complete
from learner.model.sizes import shape_of
from learner.planning.advice import require_fit
from learner.planning.memory import GIB
from learner.planning.plan import Machine, Phase, Plan, Role, Work, make_plan
from recipes.folder import RunFolder

GPU_GIB = 80.0
"""Memory of the GPUs of `ray_cluster.yaml`, GiB, taken where there is none to ask."""
PROBE_S = 60.0
"""Deadline of a GPU node's answer, seconds; one that is only being started is not waited for."""


def print_plan(config: Config, phase: Phase) -> None:
    """Print the plan as comments, so that they can follow the config in one YAML file. Raises as `require_room`
    does."""
    plan = _plan(config, phase, _local_gpu())
    print("\n".join(f"# {line}".rstrip() for line in describe(plan)))
    require_fit(config, plan.shape, plan, phase)


def require_room(config: Config, phase: Phase) -> None:
    """Refuse a phase that cannot fit, and print what is only odd; starts Ray to ask for the memory of the GPUs. Raises
    PlanError where it cannot fit, ShapeError where the model's sizes cannot be known."""
    gpu_bytes = None
    if config.ranks.gpu_memory_gib is None and (config.ranks.gpus_per_rank or config.engine.gpus_per_engine):
        start_ray(config)
        gpu_bytes = _cluster_gpu()
    plan = _plan(config, phase, gpu_bytes)
    for note in plan.notes:
        print(f"note: {note}")
    require_fit(config, plan.shape, plan, phase)


def describe(plan: Plan) -> list[str]:
    """Say the plan in lines."""
    shape, machine = plan.shape, plan.machine
    lines = [
        f"model: {shape.name}, {shape.parameters:,} parameters, {plan.trained:,} of them trained",
        f"GPUs: {plan.gpus} of {_gib(machine.gpu_bytes)} GiB, {_split(plan.roles)}"
        if plan.gpus
        else f"CPU: {_gib(plan.ram)} of the {_gib(machine.ram_bytes)} GiB of this machine, {_split(plan.roles)}",
    ]
    for role in plan.roles:
        lines += _role(role)
    lines += [_work(work) for work in plan.work]
    return ["", "plan", *lines, *(f"note: {note}" for note in plan.notes)]


def _plan(config: Config, phase: Phase, gpu_bytes: int | None) -> Plan:
    if phase == "grpo":
        config = for_grpo(config)
    given = config.ranks.gpu_memory_gib
    known = round(given * GIB) if given is not None else gpu_bytes or round(GPU_GIB * GIB)
    machine = Machine(known, psutil.virtual_memory().total)
    folder = RunFolder.of(config, make=False)
    tasks = _lines(folder.rl if folder.rl.exists() else folder.train)
    lessons = len(Lessons(folder.teacher)) if is_complete(folder.teacher) else None
    return make_plan(config, shape_of(config.model), machine, phase, tasks, lessons)


def _local_gpu() -> int | None:
    import torch

    return torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else None


def _cluster_gpu() -> int | None:
    """Memory of a GPU of the cluster; None where no node that has one is up."""
    import ray

    if not ray.cluster_resources().get("GPU"):
        return None
    probe = ray.remote(_local_gpu).options(num_cpus=0, num_gpus=1).remote()
    try:
        return ray.get(probe, timeout=PROBE_S)
    except ray.exceptions.GetTimeoutError:
        ray.cancel(probe, force=True)
        return None


def _lines(path: Path) -> int | None:
    if not path.exists():
        return None
    with path.open(encoding="utf-8") as file:
        return sum(bool(line.strip()) for line in file)


def _split(roles: Iterable[Role]) -> str:
    return " and ".join(f"{role.count} x {role.name}{_place(role)}" for role in roles)


def _place(role: Role) -> str:
    return (" beside a rank" if role.guest else f" on {role.gpus}") if role.gpus else ""


def _role(role: Role) -> list[str]:
    where = "each GPU of " if role.gpus > 1 else ""
    lines = [f"{where}{role.name}, GiB: {_gib(role.need)} of the {_gib(role.limit)} that it may use"]
    width = max(len(name) for name, _ in role.parts)
    lines += [f"  {name:<{width}} {_gib(size):>7}" for name, size in role.parts]
    if role.sequences is not None:
        lines.append(f"  its KV cache holds {role.sequences} whole sequences of engine.max_model_len")
    lines += [f"  and of its node's memory, {name}: {_gib(size)}" for name, size in role.host]
    return lines


def _work(work: Work) -> str:
    epochs = "epochs are known once its data are made" if work.epochs is None else f"{work.epochs:.2f} epochs"
    return (
        f"{work.phase}: {work.steps:,} x {work.trajectories:,} trajectories of at most {work.tokens:,} tokens together"
        f"; optimizer updates a step: {work.updates}; {epochs}"
    )


def _gib(size: int) -> str:
    return f"{size / GIB:.2f}" if size < GIB else f"{size / GIB:.1f}"
