"""How the ranks that saved a learner's state were laid out, and which ranks can take it.

Invariant: a state is refused before anything of it is loaded, with the settings that would take it.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from configs.run import Config
from learner.checkpoints.folder import CheckpointError

RANKS_FOLDER = "ranks"
"""Folder of a checkpoint that holds model, optimizer and random state."""
TAG = "state"
"""Name of the state within a DeepSpeed checkpoint folder."""
MANIFEST = "ranks.json"
FIXED = ("dtype", "train", "lora_rank", "lora_alpha", "lora_targets")
"""What the ranks that load a state must have in common with those that saved it."""


@dataclass(frozen=True)
class Layout:
    """How ranks are laid out, and what they train."""

    ranks: int
    zero_stage: int
    dtype: str
    train: list[str]
    lora_rank: int
    lora_alpha: int
    lora_targets: list[str]
    model_dir: str
    """Model folder that the run began with."""
    version: int
    """Policy version."""

    @staticmethod
    def of(config: Config, model_dir: str, version: int) -> "Layout":
        """Describe the ranks that run with this config."""
        ranks, lora = config.ranks, config.ranks.lora
        return Layout(
            ranks=ranks.ranks,
            zero_stage=ranks.zero_stage,
            dtype=ranks.dtype,
            train=sorted(ranks.train),
            lora_rank=lora.rank,
            lora_alpha=lora.alpha,
            lora_targets=sorted(lora.targets) if lora.rank else [],
            model_dir=model_dir,
            version=version,
        )

    @staticmethod
    def read(folder: str | Path) -> "Layout":
        """Read the layout of the ranks that filled a folder by `RankGroup.save`; raises CheckpointError for any other
        folder."""
        try:
            return Layout(**json.loads((Path(folder) / MANIFEST).read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointError(f"{folder}: holds no learner state (no readable {MANIFEST}: {error})") from None

    def write(self, folder: Path) -> None:
        """Write the layout into the folder of the state."""
        (folder / MANIFEST).write_text(json.dumps(dataclasses.asdict(self)))

    def loads_as_it_is(self, ranks: "Layout") -> bool:
        """Return whether ranks of another layout can take a state of this one without a conversion. Raises ValueError
        where they cannot at all: another dtype, adapter or other trained parts, or stage 0 on one side alone."""
        unlike = [key for key in FIXED if getattr(self, key) != getattr(ranks, key)]
        if unlike or (self.zero_stage == 0) != (ranks.zero_stage == 0):
            targets = ",".join(self.lora_targets)
            adapter = f", ranks.lora.alpha={self.lora_alpha}, ranks.lora.targets=[{targets}]" if self.lora_rank else ""
            raise ValueError(
                f"was saved with {self.summary}, which ranks with {ranks.summary} cannot take; run with "
                f"ranks.dtype={self.dtype}, ranks.zero_stage={self.zero_stage}, ranks.train=[{','.join(self.train)}], "
                f"ranks.lora.rank={self.lora_rank}{adapter}, or start from its weights alone (`videoseeker export`, "
                "then model.path)"
            )
        return ranks.zero_stage == 0 or (self.ranks, self.zero_stage) == (ranks.ranks, ranks.zero_stage)

    @property
    def summary(self) -> str:
        """The layout in words."""
        adapter = f" by an adapter of rank {self.lora_rank} and alpha {self.lora_alpha}" if self.lora_rank else ""
        parts = f"{' and '.join(self.train)} trained{adapter}"
        return f"{self.ranks} rank(s), ZeRO stage {self.zero_stage}, {parts}, and {self.dtype}"
