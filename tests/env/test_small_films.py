"""Films whose frames are smaller than the model's processor takes."""

from pathlib import Path

import numpy as np
from PIL import Image

from configs.episode import EpisodeConfig
from env.environment import VideoEnv
from env.task import Task
from storage.files import JsonObject
from tests.films import movies
from tools.decoding.video import read_frame
from tools.marks.visual_prompt import VisualPrompt
from tools.registry import call


def test_a_film_s_frames_and_its_crops_and_zooms_are_within_the_bounds(tmp_path: Path) -> None:
    for i, size in enumerate([(16, 16), (64, 48), (176, 144), (320, 180), (426, 240), (1280, 96)]):
        path = movies.write(tmp_path / f"{i}.mp4", range(16), size=size)
        Image.fromarray(movies.picture(1, *size)).save(tmp_path / "mark.png")
        mark = VisualPrompt(str(tmp_path / "mark.png"), 1.0, "point")
        config = EpisodeConfig(min_pixels=65_536)
        env = VideoEnv(config)
        env.reset(options={"task": Task("t", path, "?", "red", "OA", (mark,))})
        calls: dict[str, JsonObject] = {
            "view_visual_prompt": {},
            "crop_video": {"start_time": 0.5, "end_time": 1.5},
            "view_frames": {"times": [0.5]},
            "zoom_region": {"time": 1.0, "box": [0, 0, 130, 210]},
        }
        shown = [
            frame
            for name, arguments in calls.items()
            for frame in call(name, arguments, [*calls], env.scene, env.limits)
        ]
        for frame in [*env.frames, *shown]:
            if not isinstance(frame, str):
                height, width = frame.pixels.shape[:2]
                assert 65_536 <= width * height <= 112_896
                assert width % 32 == height % 32 == 0
                assert np.array_equal(read_frame(frame.ref), frame.pixels)
