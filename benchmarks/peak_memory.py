"""Peak memory of one update on one long trajectory, in a process that does nothing else.

`python -m benchmarks.peak_memory ours|bare TOKENS` prints MiB on top of what the process held before: by then the
model and its optimizer's state are there. The model is narrow with the vocabulary of Qwen3-VL, and gradients are
checkpointed; a fifth of the tokens is sampled (the paper's 4,096 of 20,480). `ours` is the rank's own step, `bare`
takes the logits of all tokens. Linux only: the peak is the kernel's.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from transformers import Qwen3VLForConditionalGeneration

from benchmarks.episodes import film, long_episode
from benchmarks.peers.bare_pytorch import BarePytorch
from configs import Config, load_config
from env.chat import ChatFormat
from env.trajectory import Trajectory
from learner.model.sizes import VOCABULARY
from learner.model.tiny import build_tiny_model
from learner.ranks.rank import Rank

Step = Callable[[Trajectory], object]
"""One update on a trajectory."""
SAMPLED = 0.2
WARM_UP_TOKENS = 256
FILM_TASKS = 20
OVERRIDES = (
    "ranks.gradient_checkpointing=true",
    "ranks.micro_batch_tokens=16384",
    "model.tiny.hidden_size=64",
    "model.tiny.max_position_embeddings=32768",
    "episode.tool_max_pixels=9216",
)


def main() -> None:
    side, tokens = sys.argv[1], int(sys.argv[2])
    config = load_config(None, OVERRIDES)
    with tempfile.TemporaryDirectory(prefix="videoseeker-benchmark-") as name:
        folder = Path(name)
        model_dir = build_tiny_model(config.model.tiny, ["a b c"], folder / "model", config.seed)
        model = Qwen3VLForConditionalGeneration.from_pretrained(model_dir)
        model.resize_token_embeddings(VOCABULARY)
        model.save_pretrained(model_dir)
        del model
        chat = ChatFormat.from_pretrained(model_dir)
        video = film(folder / "film.mp4", FILM_TASKS)
        trajectories = [long_episode(chat, video, config, n, SAMPLED) for n in (WARM_UP_TOKENS, tokens)]
        step = {"ours": _ours, "bare": _bare}[side](config, str(model_dir))
        step(trajectories[0])
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from what is held now
        before = _memory_mib("VmRSS")
        step(trajectories[1])
        print(round(_memory_mib("VmHWM") - before, 1))


def _ours(config: Config, model_dir: str) -> Step:
    rank = Rank(config, model_dir, None, 0, config.grpo.max_grad_norm)
    rank.start("127.0.0.1", rank.address()[1])
    return lambda trajectory: rank.updates.grpo_step([trajectory], [1.0], config.grpo.lr, 0)


def _bare(config: Config, model_dir: str) -> Step:
    bare = BarePytorch(config, model_dir)

    def step(trajectory: Trajectory) -> None:
        bare.prepare([trajectory], [1.0])
        bare.step(config.grpo.lr, whole_logits=True)

    return step


def _memory_mib(key: str) -> float:
    """A line of the kernel's account of this process: `VmRSS`, held now, or `VmHWM`, the most since the reset."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
