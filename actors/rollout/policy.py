"""What the agent loop asks for its turns: a policy engine, a teacher, a chat model, a script."""

from typing import Protocol

from env.environment import VideoEnv
from env.transcript import Transcript, Turn


class Policy(Protocol):
    """Writes the next turn of an episode."""

    async def act(self, transcript: Transcript, env: VideoEnv, max_tokens: int) -> Turn:
        """The next turn, of at most `max_tokens` tokens.

        Args:
            transcript: Everything so far, ending with the opening of the assistant's turn.
            env: The environment of the episode; `env.frames` holds the pixels of `transcript.media`, in order.
            max_tokens: Tokens left for this turn, at least 1.
        """
        ...
