"""The engine's thread where no vLLM is needed: what it takes from its queue."""

import queue
from collections import deque

from actors.engine.vllm_thread import Abort, Close, VllmThread
from configs.policy import EngineConfig


def test_an_engine_that_had_nothing_to_do_is_not_taken_for_a_stalled_one() -> None:
    thread = object.__new__(VllmThread)
    thread._config, thread.queue, thread.running = EngineConfig(), queue.SimpleQueue(), {}
    thread._head, thread._held, thread.updating, thread.beat = None, deque(), False, -1e6
    for item in (Abort("gone"), Close()):
        thread.queue.put(item)
    assert not thread._admit()
    assert thread.beat > 0
