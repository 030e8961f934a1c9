"""Play one episode with a policy of your own, on a video made here: `python examples/play_an_episode.py`."""

import asyncio
import tempfile
from pathlib import Path

from actors.rollout.loop import play
from configs import load_config
from env.chat import ChatFormat
from env.environment import VideoEnv
from env.transcript import Transcript, Turn
from env.turn import ParsedCall, write_turn
from learner.model.tiny import build_tiny_model
from synth.world.tasks import make_video

DEMO = Path(__file__).parents[1] / "configs" / "demo.yaml"
TURNS = (
    write_turn("I look at the mark first.", ParsedCall("view_visual_prompt", {})),
    write_turn("I look closer at the beginning.", ParsedCall("crop_video", {"start_time": 0.0, "end_time": 3.0})),
    write_turn("I have seen enough to guess.", "red"),
)


class Script:
    """A policy is anything with this `act`: here it writes the same turns whatever it sees."""

    def __init__(self, chat: ChatFormat) -> None:
        self._chat = chat

    async def act(self, transcript: Transcript, env: VideoEnv, max_tokens: int) -> Turn:
        ids = self._chat.encode(text := TURNS[len(env.turns)])
        return Turn(ids, logprobs=(0.0,) * len(ids), text=text, stop="stop")


def main() -> None:
    config = load_config(DEMO)
    with tempfile.TemporaryDirectory() as folder:
        task = make_video("train", 0, config, Path(folder))[0]
        model = build_tiny_model(config.model.tiny, [task.question, *TURNS], Path(folder) / "model", seed=0)
        chat = ChatFormat.from_pretrained(model)
        trajectory = asyncio.run(play(task, Script(chat), chat, config.episode))
    print(f"{task.question} (right: {task.answer})")
    for turn in trajectory.turns:
        print(f"{turn.text}\n    {turn.observation}")
    print(trajectory.rewards)


if __name__ == "__main__":
    main()
