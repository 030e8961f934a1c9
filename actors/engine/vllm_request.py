"""A request in vLLM's terms, and vLLM's answer in ours.

Invariants:
- The ids that vLLM saw are the ids that the caller holds, compared on every request (`turn_of`).
- A banned id is never sampled: its logit is lowered by `BAN_BIAS`, and the reported logprobs are a log-softmax after
  that, which equals one with the banned logits at minus infinity within float32.
"""

from typing import Any

import numpy as np

from actors.engine.request import GenerationRequest
from actors.errors import EngineError, MissingFrames
from env.chat import ChatFormat
from env.transcript import Turn, unexpanded

BAN_BIAS = -100.0
"""The lowest logit bias that vLLM takes; e^-100 is far below the resolution of a float32 probability."""


def prompt_of(request: GenerationRequest, cached: list[bool]) -> dict[str, object]:
    """The prompt with each frame collapsed to one placeholder, as vLLM takes it; `cached` says of each frame whether
    vLLM holds it processed.

    Raises:
        MissingFrames: a frame is neither held nor sent.
    """
    prompt: dict[str, object] = {"prompt_token_ids": unexpanded(request.ids.tolist(), request.media)}
    if request.frames:
        sent = zip(request.frame_ids, request.frames, cached, strict=True)
        if missing := tuple(name for name, frame, hit in sent if frame is None and not hit):
            raise MissingFrames(missing)
        # Arrays that came through Ray's object store are read-only, which torch warns about: hence the copy.
        frames = [None if hit else np.array(frame) for hit, frame in zip(cached, request.frames, strict=True)]
        prompt |= {"multi_modal_data": {"image": frames}, "multi_modal_uuids": {"image": list(request.frame_ids)}}
    return prompt


def sampling_of(request: GenerationRequest, chat: ChatFormat, max_model_len: int) -> Any:
    """vLLM's `SamplingParams`."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        max_tokens=min(request.max_tokens, max_model_len - len(request.ids)),
        temperature=request.temperature,
        top_p=request.top_p,
        seed=request.seed,
        logprobs=0,
        stop=list(chat.stop_strings),
        include_stop_str_in_output=True,
        stop_token_ids=[chat.eos_id],
        logit_bias=dict.fromkeys(chat.banned_ids, BAN_BIAS),
        spaces_between_special_tokens=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def turn_of(request: GenerationRequest, output: Any, chat: ChatFormat, version: int) -> Turn:
    """The turn in vLLM's finished `RequestOutput`, sampled by policy `version`.

    Raises:
        EngineError: vLLM saw other ids than were sent, or sampled a banned one.
    """
    saw, sent = np.asarray(output.prompt_token_ids), request.ids
    if not np.array_equal(saw, sent):
        shared = min(len(saw), len(sent))
        at = int(np.argmax([*(saw[:shared] != sent[:shared]), True]))
        raise EngineError(f"engine: saw {len(saw)} prompt ids, {len(sent)} were sent; they part at index {at}")
    completion = output.outputs[0]
    ids = tuple(int(i) for i in completion.token_ids)
    banned = set(ids).intersection(chat.banned_ids)
    if banned:
        raise EngineError(f"engine: sampled the banned ids {sorted(banned)}")
    logprobs = tuple(float(step[i].logprob) for i, step in zip(ids, completion.logprobs, strict=True))
    return Turn(ids, logprobs, completion.text, "stop" if completion.finish_reason == "stop" else "length", version)
