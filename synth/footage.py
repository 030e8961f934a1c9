"""A video, as a model is sent it.

Invariant: each frame stands after the text of its true presentation time.
"""

from configs.endpoint import EndpointConfig
from configs.masks import MaskConfig
from endpoint.parts import Clip, Part, jpeg
from tools.decoding.frame_folder import is_frame_folder
from tools.decoding.video import Video

TIMEOUT_S = MaskConfig.timeout_s
"""Deadline of a look into a video, seconds: as long as that of the masks, for nobody waits for it as for a tool, and a
machine that is only busy must not make another data set."""


def footage(config: EndpointConfig, video: Video) -> list[Part]:
    """The video as parts: the file itself, or labelled frames, as of a folder of frames always; they are spread evenly,
    `config.fps` a second but no more than `config.max_frames`. It decodes, so it is nothing for an event loop's thread.

    Raises:
        VideoError: the video cannot be read in time.
    """
    if config.video_as == "video" and not is_frame_folder(video.path):
        return [Clip(video.path)]
    parts: list[Part] = []
    for frame in video.clip(0.0, video.duration_s, config.fps, config.max_frames, config.max_pixels, 1, TIMEOUT_S):
        parts += [f"{frame.time_s:.1f} s", jpeg(frame.pixels)]
    return parts
