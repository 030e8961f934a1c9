"""What the tools of one episode may look at, and what one call may cost."""

import os
from dataclasses import dataclass, fields
from pathlib import Path

from configs.episode import EpisodeConfig
from tools.decoding.frame import VideoError
from tools.decoding.frame_folder import split_rate
from tools.following.tracker import Tracker
from tools.marks.visual_prompt import VisualPrompt


@dataclass(frozen=True)
class Scene:
    """All that the tools of one episode may look at."""

    video_path: str
    """Known to the caller as `video_1`."""
    visual_prompts: tuple[VisualPrompt, ...]
    """Known to the caller as `frame_1`, `frame_2`, ..."""
    root: str = ""
    """Folder that its files must not leave by symbolic links; files that are named outside of it are not concerned."""
    tracker: Tracker | None = None
    """Follows the target; None for the tracker that needs no weights."""

    def require_confined(self) -> None:
        """Check where the files really lie. Raises VideoError: one is a link out of `root`."""
        if not self.root:
            return
        named, real = Path(os.path.abspath(self.root)), Path(os.path.realpath(self.root))
        for path in (self.video_path, *(prompt.image for prompt in self.visual_prompts)):
            for file in {path, split_rate(path)[0]}:
                inside = Path(os.path.abspath(file)).is_relative_to(named)
                if not inside or Path(os.path.realpath(file)).is_relative_to(real):
                    continue
                raise VideoError(f"{path}: is a link out of {self.root}; name the file itself, by its absolute path")


@dataclass(frozen=True)
class Limits:
    """What one call may cost: settings of `EpisodeConfig`, which says what each means."""

    tool_max_pixels: int
    crop_fps: float
    crop_max_frames: int
    view_max_frames: int
    track_max_s: float
    search_max_frames: int
    pixel_multiple: int
    timeout_s: float
    """`tool_timeout_s` there."""
    min_pixels: int = 0
    """0 where it is None there."""

    @staticmethod
    def of(config: EpisodeConfig) -> "Limits":
        """The limits that an episode's config sets."""
        same = [field.name for field in fields(Limits) if field.name not in ("timeout_s", "min_pixels")]
        settings = {name: getattr(config, name) for name in same}
        return Limits(**settings, timeout_s=config.tool_timeout_s, min_pixels=config.min_pixels or 0)
