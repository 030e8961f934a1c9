"""Draw films of shapes that move before a fixed camera: `python -m examples.fixed_camera_films FOLDER 60`.

A third number draws others: `... FOLDER 60 2000`.
"""

import sys
import tempfile
from pathlib import Path

from tests.films.moving_shapes import random_film

FIRST_SEED = 1000
"""No test draws the films of these seeds."""
RADIUS_PX = 22.0, 30.0
"""Of the shapes: they fill one to two patches of the tiny model's each way, once a frame is as small as it is shown."""


def main(folder: Path, count: int, first_seed: int = FIRST_SEED) -> None:
    """Write `count` films of 13 s, 256 x 192 pixels, to `folder`, of shapes that the tiny model can make out."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        random_film(first_seed + number, RADIUS_PX, calm=True).write(folder / f"film-{number:03d}.mp4")
    print(f"{count} films in {folder}")


if __name__ == "__main__":
    folder, count = sys.argv[1:3] if len(sys.argv) > 2 else (tempfile.mkdtemp(), 2)
    main(Path(folder), int(count), *map(int, sys.argv[3:4]))
