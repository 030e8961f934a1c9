"""New weights for a running vLLM engine, by `reload_weights` or by vLLM's own weight transfer.

Invariant: after `reload` and after `finish` the engine computes with nothing but the new weights: what vLLM holds has
the checksums of what the learner sent, and every state that came from the old ones is forgotten. Whatever fails
halfway leaves an engine that is not to be used any more.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from actors.engine.checksum import checksum, differing, exact, grouped
from actors.engine.vllm_setup import LLMEngine, forget_states
from actors.errors import EngineError

LayerHook = Callable[[torch.nn.Module], None]


class WeightUpdate:
    """Updates of one `LLMEngine`, called on the thread that owns it."""

    def __init__(self, engine: LLMEngine, model_dir: str, gpus: int):
        """`model_dir` is the folder that the engine was started from; `gpus` 0 is an engine on the CPU."""
        self._engine, self._model_dir, self._gpus = engine, model_dir, gpus
        self.open = False
        """Between `start` and `finish`: the weights are neither the old nor the new ones."""
        self._witness = Witness(self._model()) if self.verifiable else None

    @property
    def verifiable(self) -> bool:
        """Whether the weights that vLLM holds can be checked: in this process, whole and unquantised. With tensor
        parallelism each worker holds shards, some of them copies, and quantisation changes every bit."""
        return self._gpus <= 1 and self._engine.model_config.quantization is None

    def reload(self, path: str, checksums: Mapping[str, int] | None) -> int:
        """Load the safetensors of a folder in place; how many parameters had their checksums compared.

        Args:
            checksums: of every tensor as the learner sent it, by its Hugging Face name, in the engine's dtype; None
                leaves the check out.

        Raises:
            EngineError: the weights that vLLM holds are not those that were sent, or a cached state could not be
                dropped.
        """
        if self._witness is not None and checksums is not None:
            self._witness.watch()
        self._engine.collective_rpc("reload_weights", kwargs={"weights_path": path})
        # vLLM reads the image processor from the folder that it last loaded; a folder of weights alone has none.
        self._engine.model_config.model = self._model_dir
        return self._conclude(checksums)

    def join(self, backend: str, init_info: Mapping[str, object]) -> None:
        """Meet the trainer; `init_info` is that of vLLM's `backend`. What was joined before is left."""
        self._engine.collective_rpc(open_transfer, args=(backend, init_info))

    def start(self) -> None:
        """Begin an update by vLLM's weight transfer."""
        if self._witness is not None:
            self._witness.watch()
        self.open = True
        self._engine.collective_rpc("start_weight_update")

    def receive(self, update_info: object) -> None:
        """Take what the trainer sends now."""
        self._engine.collective_rpc("update_weights", kwargs={"update_info": update_info})

    def finish(self, checksums: Mapping[str, int] | None) -> int:
        """End the update that `start` began; as `reload`."""
        self._engine.collective_rpc("finish_weight_update")
        checked = self._conclude(checksums)
        self.open = False
        return checked

    def _conclude(self, checksums: Mapping[str, int] | None) -> int:
        checked = 0
        if self._witness is not None:
            held = self._witness.read() if checksums is not None else {}
            self._witness.unwatch()
            checked = require_equal(checksums, held, self._model()) if checksums is not None else 0
        if self._gpus == 0:
            self._engine.apply_model(repack_output_head)
        forget_states(self._engine)
        return checked

    def _model(self) -> torch.nn.Module:
        (model,) = self._engine.apply_model(lambda model: model)
        return model


class Witness:
    """Checksums of what a model computes with. On the CPU vLLM packs the weight of every linear layer for oneDNN and
    drops the weight itself: its checksum is taken as it is handed to the packer."""

    def __init__(self, model: torch.nn.Module):
        self._model = model
        self._packed: dict[str, torch.Tensor] = {}
        self._watched: list[Any] = []

    def watch(self) -> None:
        """From now on, note each weight that vLLM packs."""
        self.unwatch()
        names = {id(layer): name for name, layer in self._model.named_modules()}
        for layer in self._model.modules():
            method = getattr(layer, "quant_method", None)
            weight = getattr(layer, "weight", None)
            # An empty weight is one that was packed away.
            if method is None or weight is None or weight.numel() or method in self._watched:
                continue
            method.process_weights_after_loading = self._noting(method.process_weights_after_loading, names)
            self._watched.append(method)

    def unwatch(self) -> None:
        """Stop noting."""
        for method in self._watched:
            del method.process_weights_after_loading
        self._watched = []
        self._packed = {}

    def read(self) -> dict[str, int]:
        """The checksum of every parameter, by its name in vLLM's model."""
        live = {name: checksum(value) for name, value in self._model.named_parameters() if value.numel()}
        return exact(live | self._packed)

    def _noting(self, process: LayerHook, names: dict[int, str]) -> LayerHook:
        def noted(layer: torch.nn.Module) -> None:
            # With its bias, which some of vLLM's kernels want in another type.
            for name, value in layer.named_parameters(names[id(layer)], recurse=False):
                self._packed[name] = checksum(value)
            process(layer)

        return noted


def require_equal(sent: Mapping[str, int], held: Mapping[str, int], model: torch.nn.Module) -> int:
    """Compare the learner's checksums with those of vLLM's model; how many parameters were compared.

    Raises:
        EngineError: some differ.
    """
    expected = grouped(sent, {name: parameter_of(name, model) for name in sent})
    odd = differing(expected, held)
    if odd:
        raise EngineError(
            f"the engine's weights are not those that the learner sent: {len(odd)} of {len(expected)} parameters have "
            f"another checksum, {odd[0]} among them"
        )
    return len(expected)


def parameter_of(name: str, model: torch.nn.Module) -> str:
    """The parameter of vLLM's model that the Hugging Face tensor of this name is, or is a part of."""
    (name,) = model.hf_to_vllm_mapper.apply_list([name])
    for fused, parts in model.packed_modules_mapping.items():
        for part in parts:
            if f".{part}." in name:
                return str(name.replace(f".{part}.", f".{fused}."))
    return str(name)


def open_transfer(worker: Any, backend: str, init_info: Mapping[str, object]) -> None:
    """Run on a vLLM worker: what it does at its start where a weight transfer is configured, but now, when it is known
    where the trainer is."""
    from vllm.config.weight_transfer import WeightTransferConfig
    from vllm.distributed.weight_transfer import WeightTransferEngineFactory

    # What vLLM calls may be a wrapper, which passes reading on to the worker but keeps what is set.
    worker = getattr(worker, "worker", worker)
    worker.shutdown_weight_transfer_engine()
    config = WeightTransferConfig(backend=backend)
    worker.vllm_config.weight_transfer_config = config
    worker.weight_transfer_engine = WeightTransferEngineFactory.create_engine(
        config, worker.vllm_config, worker.device, worker.get_model()
    )
    worker.init_weight_transfer_engine(init_info)


def repack_output_head(model: torch.nn.Module) -> None:
    """On the CPU vLLM multiplies with a packed copy of the output head, which a reload (0.32) leaves as it was where
    the head is tied to the embeddings; pack it anew."""
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

    for module in model.modules():
        if isinstance(module, ParallelLMHead):
            module.quant_method.process_weights_after_loading(module)
