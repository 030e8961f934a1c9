"""How weights get from the ranks to the engines.

Invariant: the choice depends on the config and on where ranks and engines are, never on what a publish met before.
"""

from collections.abc import Sequence

from configs.training import NATIVE, RanksConfig, Transport


def choose(config: RanksConfig, ranks: Sequence[str], engines: Sequence[Sequence[str]]) -> Transport:
    """Choose the way that `ranks.transport` asks for, from the UUIDs of each rank's GPU and of each engine's GPUs; none
    on the CPU. Raises ValueError for one between GPUs where there are none, or CUDA IPC to a GPU that no rank is on."""
    on_gpus = bool(ranks) and bool(engines) and all(engines)
    shared = on_gpus and all(gpu in ranks for engine in engines for gpu in engine)
    wanted = config.transport
    if wanted == "auto":
        if config.weights_dir is not None:
            return "file"
        return ("ipc" if shared else "nccl") if on_gpus else "shared_memory"
    if wanted in NATIVE and not on_gpus:
        raise ValueError(f"ranks.transport {wanted} takes ranks and engines on GPUs; leave it at auto")
    if wanted == "ipc" and not shared:
        raise ValueError("ranks.transport ipc takes engines on the ranks' own GPUs; take nccl, or leave it at auto")
    return wanted
