"""The DeepSpeed ranks as Ray actors, called as one.

A call names a method of the rank or of a part as its class has it, `Updates.grpo_step`, so that its arguments and its
result are checked as those of any other.

Invariant: no call waits for ever. A rank that dies, raises or misses its deadline ends the group with one
`RanksError`; the others, which may hang in a collective, are killed.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeAlias, TypeVar

import ray
from ray.actor import ActorHandle
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.engine.handle import EngineHandle
from actors.engine.request import EngineInfo
from actors.engine.supervision import COLOCATED
from actors.errors import root_cause
from configs.rules import check
from configs.run import Config
from configs.training import NATIVE, OptimizerName, Transport
from env.trajectory import Trajectory
from learner.checkpoints.folder import CheckpointError
from learner.checkpoints.layout import Layout
from learner.objective import losses
from learner.ranks.rank import Rank
from learner.ranks.state import RankState
from learner.ranks.updates import Updates
from learner.weights.engines import PublishError, collect, publish
from learner.weights.sender import WeightSender
from learner.weights.transport import choose

Part = TypeVar("Part", bound=Rank | Updates | RankState | WeightSender)
P = ParamSpec("P")
R = TypeVar("R")
Stored: TypeAlias = "Sequence[Trajectory] | ray.ObjectRef[list[Trajectory]]"
"""Trajectories, or what stands for them in Ray's object store."""
TIMES = ("seconds", "loading_seconds")
"""Figures of a step of which the slowest rank's counts."""
CONVERTED = "universal-"
"""Folders within a saved state, in which it is converted for other ranks."""
DISK = "disk"
"""Calls that a rank serves beside its steps."""


class RanksError(RuntimeError):
    """The group of ranks has ended: a rank died, raised, or missed its deadline."""

    def __init__(self, sentence: str, *, refused: bool = False) -> None:
        super().__init__(sentence)
        self.refused = refused
        """A rank refused its arguments, or what they led to: other ranks would do the same."""


class RankGroup:
    """The learner. After a `RanksError` it is closed; start another and `load` a checkpoint."""

    def __init__(
        self,
        config: Config,
        model_dir: str,
        reference_dir: str | None = None,
        *,
        max_grad_norm: float | None = None,
        optimizer: OptimizerName = "adamw",
    ) -> None:
        """Start the ranks and load the model on each, with a clip at `max_grad_norm`, else at
        `config.grpo.max_grad_norm`. `reference_dir` is that of the KL term; None leaves it out. Raises ValueError for
        settings of the ranks that do not go together, RanksError where the cluster has no room or a rank did not come
        up."""
        check(config, "ranks")
        if config.ranks.lora.rank and reference_dir is not None and Path(reference_dir) != Path(model_dir):
            raise ValueError(
                f"with ranks.lora the reference policy is the model without its adapter, {model_dir}; it can't be "
                f"{reference_dir}"
            )
        self.config = config
        self.version = 0
        """Policy version last published."""
        self._timeout_s = config.ranks.step_timeout_s
        self._model_dir = str(model_dir)
        self._ranks: list[ActorHandle] = []
        self._gpus = 1 - COLOCATED if config.engine.colocate else config.ranks.gpus_per_rank
        self._group = self._reserve()
        ranks = config.ranks
        norm = config.grpo.max_grad_norm if max_grad_norm is None else max_grad_norm
        for rank in range(ranks.ranks):
            actor = ray.remote(concurrency_groups={DISK: 1})(Rank).options(
                num_cpus=ranks.cpus_per_rank,
                num_gpus=self._gpus,
                max_restarts=0,
                scheduling_strategy=PlacementGroupSchedulingStrategy(self._group, rank),
                runtime_env={"env_vars": {"OMP_NUM_THREADS": str(ranks.cpus_per_rank)}},
            )
            reference = None if reference_dir is None else str(reference_dir)
            self._ranks.append(actor.remote(config, self._model_dir, reference, rank, norm, optimizer))
        self._all(Rank.start, *self._all(Rank.address)[0])

    def sft_step(self, trajectories: Stored, lr: float, upcoming: Stored = ()) -> dict[str, float]:
        """Make one supervised update on the trajectories' sampled tokens; the frames of the `upcoming` ones, which the
        next step will eat, are decoded meanwhile. Returns loss (mean NLL), nll_thought, nll_call, nll_answer, entropy,
        grad_norm, tokens, seconds, loading_seconds, and what `grpo_step` says of its updates."""
        return self._metrics(self._all(Updates.sft_step, _stored(trajectories), lr, _stored(upcoming)))

    def grpo_step(self, trajectories: Sequence[Trajectory], advantages: Sequence[float], lr: float) -> dict[str, float]:
        """Make the updates of one GRPO step, `config.grpo.mini_batches` of them if it has all its groups, which lie one
        after the other; fewer if groups are lacking.

        Returns:
            loss, kl, entropy, clip_fraction, ratio, ratio_max, grad_norm, mismatch_kl (0 with mismatch_tokens 0 where
            no token was sampled by version `self.version`), tokens, seconds, loading_seconds (those in which frames and
            ids become tensors); and where the config has them correction (mean weight), correction_zero, gap_masked
            and certain (shares of the tokens); all over the updates that were made. Beside them `updates`, how many
            those are, `bad_updates`, how many were left out as their loss or gradient was not finite or nothing of
            their batch could be read, `bad_in_a_row`, the most of these with none made between them, and
            `unreadable_trajectories`, which had no weight as a picture of theirs was gone. Without an update only these
            four and seconds.
        """
        if len(advantages) != len(trajectories) or not trajectories:
            raise ValueError(f"{len(advantages)} advantages for {len(trajectories)} trajectories")
        args = ray.put(list(trajectories)), list(map(float, advantages)), lr, self.version
        return self._metrics(self._all(Updates.grpo_step, *args))

    def reference_kl(self, trajectories: Sequence[Trajectory]) -> list[float]:
        """Return for each trajectory the estimate of KL(pi_old || pi_ref), nats, summed over its sampled tokens."""
        if not trajectories:
            return []
        found: dict[int, float] = {}
        for share in self._all(Updates.reference_kl, ray.put(list(trajectories))):
            found |= share
        return [found[i] for i in range(len(trajectories))]

    def export(self, path: str | Path) -> Path:
        """Write the policy as a Hugging Face folder: weights, config, tokenizer, processor."""
        path = Path(path).absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._all(WeightSender.export, str(path))
        return path

    def export_adapter(self, path: str | Path) -> Path:
        """Write the LoRA adapter alone: a folder for `peft.PeftModel.from_pretrained` beside the first weights. Raises
        ValueError where the policy has none."""
        if not self.config.ranks.lora.rank:
            raise ValueError("the policy has no adapter to export; ranks.lora.rank is 0")
        path = Path(path).absolute()
        self._all(WeightSender.export_adapter, str(path))
        return path

    def publish(self, engines: Sequence[EngineHandle], version: int) -> dict[str, float]:
        """Give the weights to every engine actor as policy version `version`. Returns seconds, in all, and the number
        of parameters whose checksums every engine found to be those that were sent, which is 0 by vLLM's own weight
        transfer, where each engine compares and says nothing. Raises PublishError with the engines that failed or
        missed the deadline; the others have the version."""
        started = time.monotonic()
        self.version = version
        if not engines:
            return {"seconds": 0.0, "parameters": 0.0}
        transport, infos = self._transport(engines)
        checked = 0
        if transport in NATIVE:
            failed = self._all(WeightSender.send, transport, list(engines), infos, version)[0]
            if failed:
                raise PublishError(version, failed)
        else:
            written = self._all(WeightSender.write, transport)[0]
            assert written is not None, "rank 0 writes"
            try:
                checked = publish(written, engines, version, self._timeout_s)
            finally:
                self._all(WeightSender.remove, written.path)
        return {"seconds": time.monotonic() - started, "parameters": float(checked)}

    def _transport(self, engines: Sequence[EngineHandle]) -> tuple[Transport, list[EngineInfo]]:
        """Choose the way to these engines, and ask them for their `EngineInfo` where that matters: between GPUs."""
        config = self.config
        on_gpus = config.ranks.gpus_per_rank and config.engine.gpus_per_engine
        if not on_gpus or config.engine.lora_rank or not engines:
            return choose(config.ranks, (), ()), []
        infos, failed = collect([engine.ready() for engine in engines], self._timeout_s)
        if failed:
            raise PublishError(self.version, failed)
        gpus = [uuid for uuid in self._all(Rank.gpu) if uuid is not None]
        ready = [info for info in infos if info is not None]
        return choose(config.ranks, gpus, [info.devices for info in ready]), ready

    def save(self, folder: str | Path) -> None:
        """Write model, optimizer, random state and version, for an exact resume; see `start_save`."""
        self.start_save(folder)()

    def start_save(self, folder: str | Path) -> Callable[[], None]:
        """Copy the state of this moment to host memory, and write it while the ranks go on. Returns what waits, in any
        thread, until all is on disk, at most `ranks.step_timeout_s`; it raises CheckpointError where a rank could not
        write, and the ranks live on."""
        folder = Path(folder).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        layout = self._layout()
        self._all(RankState.host_snapshot, str(folder))
        calls = [actor.call.options(concurrency_group=DISK).remote(RankState.write) for actor in self._ranks]
        deadline = time.monotonic() + self._timeout_s

        def finish() -> None:
            for rank, call in enumerate(calls):
                try:
                    ray.get(call, timeout=max(0.0, deadline - time.monotonic()))
                except ray.exceptions.GetTimeoutError:
                    reason = f"missed the deadline of {self._timeout_s:.0f} s"
                    raise CheckpointError(f"{folder}: was not written, rank {rank} {reason}") from None
                except ray.exceptions.RayError as error:
                    raise CheckpointError(f"{folder}: was not written, rank {rank} {_cause(error)}") from error
            layout.write(folder)

        return finish

    def load(self, folder: str | Path) -> None:
        """Load what `save` wrote, also with another number of ranks, and from one ZeRO stage of 1 to 3 to another.
        Raises ValueError where it was saved with another dtype, adapter or other trained parts, or at ZeRO stage 0
        where these ranks are not, or the other way round; CheckpointError where it is no saved state; RanksError where
        the ranks failed at it."""
        folder = Path(folder).absolute()
        saved = Layout.read(folder)
        try:
            as_it_is = saved.loads_as_it_is(self._layout())
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from None
        if as_it_is:
            self._all(RankState.load, str(folder))
        else:
            self._load_converted(folder)
        self.version = saved.version

    def _load_converted(self, folder: Path) -> None:
        for left in folder.glob(f"{CONVERTED}*"):
            shutil.rmtree(left, ignore_errors=True)
        converted = Path(tempfile.mkdtemp(prefix=CONVERTED, dir=folder))
        try:
            self._all(RankState.convert, str(folder), str(converted))
            self._all(RankState.load_universal, str(folder), str(converted))
        finally:
            shutil.rmtree(converted, ignore_errors=True)

    @property
    def alive(self) -> bool:
        """Return whether no call has ended the group."""
        return bool(self._ranks)

    def close(self) -> None:
        """End the ranks and give their resources back."""
        for actor in self._ranks:
            ray.kill(actor)
        self._ranks = []
        remove_placement_group(self._group)

    def _layout(self) -> Layout:
        return Layout.of(self.config, self._model_dir, self.version)

    def _reserve(self) -> PlacementGroup:
        ranks = self.config.ranks
        bundle = {"CPU": ranks.cpus_per_rank, **({"GPU": self._gpus} if self._gpus else {})}
        group = placement_group([bundle] * ranks.ranks, strategy="PACK")
        if not group.wait(self._timeout_s):
            remove_placement_group(group)
            raise RanksError(f"the cluster had no room for {ranks.ranks} x {bundle} within {self._timeout_s:.0f} s")
        return group

    def _all(self, method: Callable[Concatenate[Part, P], R], *args: P.args, **kwargs: P.kwargs) -> list[R]:
        """Call a method on all ranks at once; the results by rank. An argument may stand in Ray's object store."""
        if not self._ranks:
            raise RanksError(f"{method.__name__}: the ranks are closed")
        return self._wait([actor.call.remote(method, *args, **kwargs) for actor in self._ranks], method.__name__)

    def _wait(self, calls: list[ray.ObjectRef], method: str) -> list[R]:
        """Wait for the results by rank. The first failure counts: who waits for a dead rank would only time out."""
        deadline = time.monotonic() + self._timeout_s
        waiting = list(calls)
        while waiting:
            done, waiting = ray.wait(waiting, num_returns=1, timeout=max(0.0, deadline - time.monotonic()))
            if not done:
                late = ", ".join(str(calls.index(call)) for call in waiting)
                self.close()
                raise RanksError(f"{method}: rank {late} missed the deadline of {self._timeout_s:.0f} s")
            try:
                ray.get(done[0])
            except ray.exceptions.RayError as error:
                self.close()
                sentence = f"{method}: rank {calls.index(done[0])} {_cause(error)}"
                raise RanksError(sentence, refused=_refused(error)) from error
        return ray.get(calls)

    def _metrics(self, parts: list[dict[str, float]]) -> dict[str, float]:
        sums = losses.merge(parts)
        alike = parts[0]  # what all ranks say alike is taken from the first
        told = {key: alike[key] for key in ("updates", "bad_updates")}
        told |= {"bad_in_a_row": alike["bad_in_a_row_max"], "unreadable_trajectories": sums["unreadable_trajectories"]}
        told |= {name: sums[f"{name}_max"] for name in TIMES}
        if told["updates"]:
            told["grad_norm"] = alike["grad_norm"] / told["updates"]
        counts = (*told, "bad_in_a_row_max", *(f"{name}_max" for name in TIMES))
        metrics = losses.means({key: value for key, value in sums.items() if key not in counts})
        if "loss" in metrics:
            metrics["loss"] /= told["updates"]
        return {**metrics, **told}


def _stored(trajectories: Stored) -> "ray.ObjectRef[list[Trajectory]]":
    return trajectories if isinstance(trajectories, ray.ObjectRef) else ray.put(list(trajectories))


def _refused(error: Exception) -> bool:
    """Return whether our own code raised it. As a rank dies, the others' communication raises a RuntimeError."""
    return isinstance(root_cause(error), ValueError | ArithmeticError | LookupError | TypeError)


def _cause(error: Exception) -> str:
    cause = root_cause(error)
    if cause is not error:
        return f"raised {type(cause).__name__}: {cause}"
    return f"died ({str(error).splitlines()[0]})"
