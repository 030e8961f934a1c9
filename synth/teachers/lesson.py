"""Lessons of one turn, which teach a small student to see and to conclude."""

from collections.abc import Sequence

from env.chat import ChatFormat
from env.task import Task
from env.trajectory import Rewards, Trajectory, TurnRecord
from env.transcript import Segment, Transcript, Turn

Piece = tuple[str, str]
"""A text that is given, and one that is asked for after it."""


def lesson(
    task: Task,
    kind: str,
    chat: ChatFormat,
    prompt: Segment,
    pieces: Sequence[Piece],
    answer: str | None = None,
) -> Trajectory:
    """A right episode of one turn; `kind` stands for its dimension.

    Args:
        pieces: of the turn, each a text that is given and one that is trained on.
    """
    transcript = Transcript()
    transcript.append_prompt(prompt)
    for given, asked in pieces:
        if given:
            transcript.append_prompt(Segment(chat.encode(given)))
        ids = chat.encode(asked)
        transcript.append_turn(Turn(ids, (0.0,) * len(ids), asked, "stop"))
    return Trajectory(
        task_id=f"{task.id}-{kind}",
        transcript=transcript,
        rewards=Rewards(1.0, 1.0, 1.0, 1.0),
        answer=answer,
        stop="answer",
        calls=(),
        prompt_frames=tuple(media.frame for media in prompt.media),
        turns=(TurnRecord("".join(given + asked for given, asked in pieces), ""),),
        seconds=0.0,
        dimension=kind,
    )
