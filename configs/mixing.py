"""New films from what moves in one's own."""

from dataclasses import dataclass


@dataclass
class MixingConfig:
    """Films that are put together from the training side's footage of fixed cameras: what moves in some of its films,
    before the still background of another. A model that starts from nothing learns the few films that there are by
    heart, and not to see; of these no two are alike."""

    films: int = 0
    """Films to learn from, beside one's own."""
    rl_films: int = 0
    """Films that GRPO plays in place of what SFT has seen; 0 has it play the training side's."""
    questions_per_video: int = 4
    """Most questions about one of them."""
