"""What is handed to vLLM's own weight transfer: its arguments, its order, its buckets. No GPU takes part."""

import types
from typing import Any

import pytest
import ray
import torch

from actors.engine.checksum import checksum, exact
from actors.engine.handle import EngineHandle
from learner.weights.engines import PublishError
from learner.weights.gather import policy_parts
from learner.weights.vllm_transfer import EngineClient, ParameterSource, joining, trainer_info
from tests.learner.stand_ins import NotingEngine
from tests.servers.ray_session import shared_ray

BUCKET = 4000


@pytest.fixture(scope="module")
def cluster() -> None:
    shared_ray()


class Source(ParameterSource):
    expected: dict[str, torch.Tensor]


@pytest.fixture
def source() -> Source:
    torch.manual_seed(0)
    model = torch.nn.Sequential(*(torch.nn.Linear(20, 20) for _ in range(6)))
    source = Source(policy_parts(model), sharded=False, bucket_bytes=BUCKET, dtype=torch.float32)
    source.expected = {name: value.detach() for name, value in model.named_parameters()}
    return source


def test_vllms_packing_takes_the_source_as_declared_in_bounded_buckets(source: Source) -> None:
    from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerWeightTransferEngine
    from vllm.distributed.weight_transfer.packed_tensor import pack_tensors, unpack_tensor

    source.renew()
    pairs = NCCLTrainerWeightTransferEngine._checked_iter(source, source.metadata())
    found: dict[str, torch.Tensor] = {}
    largest = max(entry.nbytes for entry in source.metadata())
    while (chunk := pack_tensors(pairs, lambda pair: pair[1], BUCKET)) is not None:
        assert chunk.packed_tensor.nbytes <= BUCKET + largest
        found |= dict(unpack_tensor(chunk.packed_tensor, chunk.names, chunk.shapes, chunk.dtypes, chunk.tensor_sizes))
    assert list(found) == list(source.expected)
    assert all(torch.equal(found[name], value) for name, value in source.expected.items())
    assert source.checksums() == exact({name: checksum(value) for name, value in source.expected.items()})


def test_a_walk_that_a_sender_left_is_walked_to_its_end(source: Source) -> None:
    source.renew()
    pairs = iter(source)
    first = [next(pairs)[0] for _ in range(3)]
    source.drain()
    assert first == list(source.expected)[:3]
    assert next(pairs, None) is None
    source.renew()
    assert [name for name, _ in source] == list(source.expected)


def test_engines_of_several_gpus_get_ranks_of_their_own_behind_the_trainer() -> None:
    infos = joining({"rank_offset": 1, "world_size": 8, "packed": True}, [2, 4, 1])
    assert [info["rank_offset"] for info in infos] == [1, 3, 7]
    assert all(info["world_size"] == 8 and info["packed"] for info in infos)
    assert joining({"packed": True}, [1, 1]) == [{"packed": True}] * 2


@pytest.mark.slow
def test_the_trainer_is_opened_as_vllm_expects(cluster: None) -> None:
    from vllm.distributed.weight_transfer.nccl_common import NCCLWeightTransferInitInfo, worker_init_payload

    info = trainer_info("nccl", 0, 6, BUCKET)
    assert (info.backend, info.is_sender, info.world_size, info.packed) == ("nccl", True, 7, True)
    payload = worker_init_payload(
        NCCLWeightTransferInitInfo(
            master_address=info.master_address,
            master_port=info.master_port,
            rank_offset=1,
            world_size=info.world_size,
            packed=info.packed,
            packed_buffer_size_bytes=info.packed_buffer_size_bytes,
        )
    )
    for given in joining(payload, [2, 4]):
        assert NCCLWeightTransferInitInfo(**given).packed_buffer_size_bytes == BUCKET
    shared = trainer_info("ipc", 1, 2, BUCKET)
    assert (shared.backend, shared.is_sender, shared.packed) == ("ipc", False, True)
    assert shared.packed_buffer_size_bytes == BUCKET


@pytest.mark.slow
def test_every_engine_takes_every_step_and_gets_the_checksums_last(cluster: None, source: Source) -> None:
    from vllm.distributed.weight_transfer import VLLMWeightSyncClient

    engines = [EngineHandle(ray.remote(NotingEngine).options(num_cpus=0).remote()) for _ in range(2)]
    client = EngineClient(engines, [1, 1], "nccl", source, 60.0)
    assert isinstance(client, VLLMWeightSyncClient)
    client.version = 4
    client.init_weight_transfer_engine({"rank_offset": 1, "world_size": 3})
    client.start_weight_update()
    source.renew()
    list(source)
    client.update_weights({"names": []})
    client.finish_weight_update()
    for rank, engine in enumerate(engines):
        steps = ray.get(engine.actor.taken.remote())
        assert [step for step, _, _ in steps] == ["join", "start", "receive", "finish"]
        assert {version for _, version, _ in steps} == {4}
        assert steps[0][2] == ("nccl", {"rank_offset": 1 + rank, "world_size": 3})
        assert steps[3][2] == (source.checksums(),)


@pytest.mark.slow
def test_an_engine_that_fails_a_step_is_named(cluster: None, source: Source) -> None:
    engines = [EngineHandle(ray.remote(NotingEngine).options(num_cpus=0).remote(fails)) for fails in ("", "start")]
    client = EngineClient(engines, [1, 1], "nccl", source, 60.0)
    with pytest.raises(PublishError, match=r"engine 1 failed \(engine: died in start\)") as error:
        client.start_weight_update()
    assert list(error.value.failed) == [1]


def test_ranks_stay_together_when_engines_fail_before_anything_was_sent(source: Source) -> None:
    from learner.weights.vllm_transfer import EngineConnection

    walked: list[int] = []

    def send_weights() -> None:
        raise PublishError(3, {0: "is gone"})

    connection: Any = EngineConnection.__new__(EngineConnection)
    connection._client, connection._source = types.SimpleNamespace(version=0), source
    connection._trainer = types.SimpleNamespace(send_weights=send_weights)
    drain = source.drain
    source.drain = lambda: walked.append(len(list(source._walk))) or drain()  # type: ignore[method-assign, func-returns-value]
    assert connection.send(3) == {0: "is gone"}
    assert walked == [len(source.expected)]
