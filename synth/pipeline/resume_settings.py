"""With what settings and source the work in a folder was begun, kept beside its shards.

Invariant: records that were made with other settings, or of a source that was edited since, are never taken for those
of the present ones. What changes no record (workers, addresses, prices, budgets, deadlines) does not count.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from configs import Config
from configs.masks import MaskConfig
from configs.mixing import MixingConfig
from configs.synth import SynthConfig
from configs.world import WorldConfig
from endpoint.endpoint import deciding
from storage.files import JsonObject, write_text
from synth.errors import SynthError

NOT_OF_THE_FILM = ("test_videos", "questions_per_video", "prompt_kinds", "choice_fraction")
"""Settings of the world that the stages do not read."""
NOT_OF_THE_WORLD = (*NOT_OF_THE_FILM, "train_videos", "rl_videos", "kinds", "seeking_share")
"""Settings of the world that say of how many worlds there are videos and what is asked, not what happens in one."""
NOT_OF_THE_RECORDS = (
    "test_fraction",
    "text_model",
    "video_model",
    "records_per_shard",
    "workers",
    "cpus_per_worker",
    "gpus_per_segmenter",
    "masks",
    "mixing",
)
"""Settings of the synthesis that change no record, or of which only a part does."""
CONTENT = "the content of synth.source"
WORLD = "world.json"
"""File beside the tasks of the procedural world."""
SHOWN = 3
"""Most differences that an error names."""


def keep_settings(config: Config, work: Path) -> None:
    """Note the settings, in a folder that nothing was begun in.

    Raises:
        SynthError: something was begun there with other settings.
    """
    require_same(config, work)
    write_text(_file(work), json.dumps(settings(config), indent=2) + "\n")


def forget_settings(work: Path) -> None:
    """Let a folder in which nothing was made be begun with others."""
    _file(work).unlink(missing_ok=True)


def require_same(config: Config, work: Path, ended: bool = False) -> None:
    """Do nothing where nothing was begun, or with the same settings.

    Args:
        ended: the work has ended; the seed, the world and the episodes may then be set otherwise, for training, and
            the source may be gone.

    Raises:
        SynthError: the folder is of other settings.
    """
    if not _file(work).exists():
        return
    then, now = json.loads(_file(work).read_text()), json.loads(json.dumps(settings(config)))
    counts = [key for key in {**then, **now} if key.startswith("synth.") or not ended]
    if wrong := _differing(then, now, counts):
        raise SynthError(
            f"{work}: was begun with other settings ({wrong}); set them as they were, choose another name, or start "
            f"over by removing {work.parent}"
        )


def keep_world(config: Config, data: Path) -> None:
    """Note what decides the worlds whose videos a folder holds: its tasks hold no more of one than its seed."""
    data.mkdir(parents=True, exist_ok=True)
    write_text(data / WORLD, json.dumps(_all("world", config.world, NOT_OF_THE_WORLD), indent=2) + "\n")


def require_world(config: Config, data: Path) -> None:
    """Do nothing where a folder's tasks are not of the procedural world, or of the config's.

    Raises:
        SynthError: they are of another world, or the config names a source.
    """
    if not (data / WORLD).exists():
        return
    then, now = json.loads((data / WORLD).read_text()), _all("world", config.world, NOT_OF_THE_WORLD)
    then, now = {"synth.source": None, **then}, {"synth.source": config.synth.source, **now}
    if wrong := _differing(then, now, now):
        raise SynthError(
            f"{data}: holds tasks of another world ({wrong}); set it as it was, choose another name, or start over by "
            f"removing {data}"
        )


def settings(config: Config) -> JsonObject:
    """What decides the records that come out of the stages, by key, in the stages' order."""
    synth = config.synth
    if not synth.source:
        return {"synth.source": None}
    world = synth.source == "world"
    decides = _all("synth", synth, NOT_OF_THE_RECORDS) | {
        "synth.source": synth.source if world else os.path.abspath(synth.source),
        CONTENT: None if world else content(Path(synth.source)),
        "synth.video_root": synth.video_root and os.path.abspath(synth.video_root),
        "seed": config.seed,
    }
    if world:
        decides |= _all("world", config.world, NOT_OF_THE_FILM)
        episode = config.episode
        decides |= {"episode.prompt_fps": episode.prompt_fps, "episode.prompt_max_frames": episode.prompt_max_frames}
    if synth.mixing.films or synth.mixing.rl_films:
        # Only films of the training side are taken apart.
        decides |= _all("synth.mixing", synth.mixing, ()) | {"synth.test_fraction": synth.test_fraction}
    if "model" in (synth.text_filter, synth.rewriter):
        decides |= _keyed("synth.text_model", deciding(synth.text_model))
    if synth.verifier == "model":
        model = synth.video_model
        seen = {name: getattr(model, name) for name in ("video_as", "fps", "max_frames", "max_pixels")}
        decides |= _keyed("synth.video_model", {**deciding(model), **seen})
    return decides | _all("synth.masks", synth.masks, ("timeout_s",))


def content(source: Path) -> str | None:
    """What changes when a file is edited, or when a file of a folder comes, goes or gets another size. None where there
    is neither."""
    if source.is_dir():
        files = sorted(path for path in source.rglob("*") if path.is_file())
        listing = json.dumps([[str(path.relative_to(source)), path.stat().st_size] for path in files])
        return f"{len(files)} files, {hashlib.sha256(listing.encode()).hexdigest()[:16]}"
    if not source.is_file():
        return None
    with source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _all(key: str, part: SynthConfig | WorldConfig | MaskConfig | MixingConfig, but: tuple[str, ...]) -> JsonObject:
    return _keyed(key, {name: value for name, value in vars(part).items() if name not in but})


def _keyed(key: str, values: JsonObject) -> JsonObject:
    return {f"{key}.{name}": value for name, value in values.items()}


def _differing(then: JsonObject, now: JsonObject, keys: Iterable[str]) -> str:
    """What differs at some keys, the first few in full; empty if nothing does."""
    found = [
        f"{key} was {_shown(then, key)} and is {_shown(now, key)}" for key in keys if then.get(key) != now.get(key)
    ]
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more


def _shown(values: JsonObject, key: str) -> str:
    return json.dumps(values[key]) if key in values else "not used"


def _file(work: Path) -> Path:
    return work / "settings.json"
