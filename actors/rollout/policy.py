"""What the agent loop asks for its turns: a policy engine, a teacher, a chat model, a script."""

from typing import Protocol

from env.environment import VideoEnv
from env.transcript import Transcript, Turn


class Policy(Protocol):
    """Writes the next turn of an episode."""

    async def act(self, transcript: Transcript, env: VideoEnv, max_tokens: int) -> Turn:
        """The next turn, of at most `max_tokens` tokens, at least 1. The transcript ends with the opening of the
        assistant's turn; `env.frames` holds the pixels of its media, in order."""
        ...
