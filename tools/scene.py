"""What the tools of one episode may look at, and what one call may cost."""

import os
from dataclasses import dataclass

from configs.episode import EpisodeConfig
from tools.decoding.frame import VideoError
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
        """Check where the files really lie.

        Raises:
            VideoError: one is a link out of `root`.
        """
        if not self.root:
            return
        named, real = os.path.abspath(self.root), os.path.realpath(self.root)
        for path in (self.video_path, *(prompt.image for prompt in self.visual_prompts)):
            if _within(os.path.abspath(path), named) and not _within(os.path.realpath(path), real):
                raise VideoError(f"{path}: is a link out of {self.root}; name the file itself, by its absolute path")


@dataclass(frozen=True)
class Limits:
    """What one call may cost."""

    tool_max_pixels: int
    """Pixel budget of a frame given back."""
    crop_fps: float
    """Frames a second of a crop."""
    crop_max_frames: int
    """Most frames of a crop."""
    view_max_frames: int
    """Most single frames that one call gives."""
    track_max_s: float
    """Most seconds that one call follows the target."""
    search_max_frames: int
    """Most frames in which one call looks for the target."""
    pixel_multiple: int
    """Width and height of a frame are multiples of this, pixels."""
    timeout_s: float
    """Deadline of the decoding, seconds."""

    @staticmethod
    def of(config: EpisodeConfig) -> "Limits":
        """The limits that an episode's config sets."""
        return Limits(
            tool_max_pixels=config.tool_max_pixels,
            crop_fps=config.crop_fps,
            crop_max_frames=config.crop_max_frames,
            view_max_frames=config.view_max_frames,
            track_max_s=config.track_max_s,
            search_max_frames=config.search_max_frames,
            pixel_multiple=config.pixel_multiple,
            timeout_s=config.tool_timeout_s,
        )


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
