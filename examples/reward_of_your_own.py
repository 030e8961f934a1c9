"""Reward an episode by a formula of your own: `python examples/reward_of_your_own.py`.

A run takes it with `episode.reward.function=module:function`, the module anywhere that Python finds it.
"""

import tempfile
from pathlib import Path

from configs import load_config
from configs.episode import RewardConfig
from env.environment import VideoEnv
from env.task import Task
from env.trajectory import Rewards
from env.turn import ParsedCall, write_turn
from synth.world.tasks import make_video

DEMO = Path(__file__).parents[1] / "configs" / "demo.yaml"


def frugal(
    config: RewardConfig,
    task: Task,
    answer: str | None,
    accuracy: float,
    format_ok: bool,
    calls: float,
    evidence: float,
) -> Rewards:
    """A right answer is worth the less the more calls it took; a wrong one is worth nothing."""
    parsimony = 1.0 / (1.0 + calls)
    return Rewards(accuracy, float(format_ok), parsimony, total=accuracy * (0.5 + 0.5 * parsimony))


def main() -> None:
    config = load_config(DEMO, [f"episode.reward.function={__name__}:frugal"])
    look = write_turn("I look at the mark.", ParsedCall("view_visual_prompt", {}))
    with tempfile.TemporaryDirectory() as folder:
        task = make_video("train", 0, config, Path(folder))[0]
        for looks in range(3):
            env = VideoEnv(config.episode)
            env.reset(options={"task": task})
            for turn in [look] * looks + [write_turn("I know it.", task.answer)]:
                env.step(turn)
            print(f"{looks} calls: {env.result()[0]}")


if __name__ == "__main__":
    main()
