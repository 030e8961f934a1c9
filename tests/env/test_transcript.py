"""The token stream only grows."""

import pytest

from env.transcript import Media, Segment, Transcript, Turn, unexpanded
from tools.decoding.frame import FrameRef

VIDEO_FRAME, MARK = FrameRef("v.mp4", 1.0, 64, 32), FrameRef("m.png", None, 32, 32)
PAD = 9


def transcript() -> Transcript:
    made = Transcript()
    made.append_prompt(Segment((1, PAD, PAD, 2), (Media(VIDEO_FRAME, 1, 2),)))
    made.append_turn(Turn((5, 6), (-0.1, -0.2), "ab", "stop", version=3))
    made.append_prompt(Segment((1, PAD, 2), (Media(MARK, 1, 1),)))
    return made


def test_what_is_appended_stays_as_it_was() -> None:
    made = transcript()
    assert made.ids == [1, PAD, PAD, 2, 5, 6, 1, PAD, 2]
    assert made.sampled == [False] * 4 + [True] * 2 + [False] * 3
    assert made.logprobs == [0.0] * 4 + [-0.1, -0.2] + [0.0] * 3
    assert made.versions == [-1] * 4 + [3] * 2 + [-1] * 3
    assert made.media == [Media(VIDEO_FRAME, 1, 2), Media(MARK, 7, 1)]
    assert made.frames == [VIDEO_FRAME, MARK]
    assert made.sampled_tokens == 2
    assert unexpanded(made.ids, made.media) == [1, PAD, 2, 5, 6, 1, PAD, 2]


def test_a_turn_has_a_logprob_for_each_token() -> None:
    with pytest.raises(ValueError, match="2 token ids with 1 logprobs"):
        Transcript().append_turn(Turn((1, 2), (0.0,), "ab", "stop"))
