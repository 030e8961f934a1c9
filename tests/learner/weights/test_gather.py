"""The walk through a model's parameters: its order, and what of it is in memory at once."""

import os
import socket
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from learner.weights.gather import buckets, policy_parts, walk

LIMIT = 40_000
"""Bytes of a bucket; the test's largest parameter has more."""
WIDTHS = (32, 64, 200, 64, 64, 48, 32)


@given(st.lists(st.integers(1, 100), max_size=30), st.integers(1, 150))
def test_buckets_are_whole_in_order_and_bounded(sizes: Any, limit: Any) -> None:
    cuts = buckets(sizes, limit)
    assert [i for run in cuts for i in run] == list(range(len(sizes)))
    assert all(len(run) == 1 or sum(sizes[i] for i in run) <= limit for run in cuts)
    for run, after in pairwise(cuts):
        assert sum(sizes[i] for i in run) + sizes[after[0]] > limit, "a bucket ends only where the next is too much"


def build() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(*(torch.nn.Linear(*widths) for widths in pairwise(WIDTHS)))


def test_unsharded_parameters_are_handed_out_as_they_are() -> None:
    model = build()
    walked = dict(walk(policy_parts(model), sharded=False, bucket_bytes=1))
    assert list(walked) == [part.entry.name for part in policy_parts(model)]
    assert all(walked[name].data_ptr() == value.data_ptr() for name, value in model.named_parameters())


def shard_and_walk(rank: int, port: int, found: Any) -> None:
    """Run in a process of its own: what this rank saw on its way."""
    os.environ |= {
        "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_SIZE": "1", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port), "DS_ACCELERATOR": "cpu",
    }  # fmt: skip
    import deepspeed
    from deepspeed.runtime.zero.partition_parameters import ZeroParamStatus

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed("gloo", verbose=False)
    model = build()
    expected = {name: value.detach().clone() for name, value in model.named_parameters()}
    settings = {
        "train_micro_batch_size_per_gpu": 1,
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {"stage": 3, "stage3_param_persistence_threshold": 0},
    }
    optimizer = torch.optim.AdamW(model.parameters())
    deepspeed.initialize(model=model, optimizer=optimizer, config=settings, dist_init_required=False)
    seen, whole, equal = [], [], []
    for name, tensor in walk(policy_parts(model), sharded=True, bucket_bytes=LIMIT):
        seen.append(name)
        equal.append(torch.equal(tensor, expected[name]))
        whole.append(sum(p.data.nbytes for p in model.parameters() if p.ds_status == ZeroParamStatus.AVAILABLE))
    after = sum(p.data.nbytes for p in model.parameters())
    found.put((seen, [part.entry.name for part in policy_parts(model)], all(equal), max(whole), after))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_sharded_ranks_walk_in_one_order_with_one_bucket_in_memory() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = torch.multiprocessing.get_context("spawn")
    found = context.Queue()
    ranks = [context.Process(target=shard_and_walk, args=(rank, port, found), daemon=True) for rank in range(2)]
    for rank in ranks:
        rank.start()
    try:
        first, second = (found.get(timeout=240) for _ in ranks)
    finally:
        for rank in ranks:
            rank.join(timeout=30)
            rank.kill()
    seen, declared, equal, most, after = first
    largest = max(value.nbytes for value in build().parameters())
    total = sum(value.nbytes for value in build().parameters())
    assert seen == declared == second[0]
    assert equal
    assert second[2]
    assert LIMIT < largest < total / 2
    assert 0 < most <= max(LIMIT, largest), "more than a bucket was whole at once"
    assert after == 0, "something was left whole"
