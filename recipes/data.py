"""The tasks of a run, from which all its other phases begin.

Invariants: tasks that are there are not made again; nothing of the learner or of an engine is imported.
"""

from actors.ray_start import start_ray
from configs import Config
from recipes.folder import RunFolder
from recipes.progress import phase
from synth.pipeline.resume_settings import keep_world, require_same, require_world
from synth.sources.reading import require_source
from synth.synthesis import STAGES_FOLDER, synthesise
from synth.world.tasks import make_tasks


def run_synth(config: Config) -> RunFolder:
    """Make tasks, and the procedural world's videos, unless they are there. Raises SynthError where what is there was
    made of another source or world, or with other settings, or data could not be made."""
    folder = RunFolder.of(config)
    ended = folder.train.exists()
    if config.synth.source or not ended:
        require_same(config, folder.data / STAGES_FOLDER, ended)
    if ended:
        require_world(config, folder.data)
    else:
        if config.synth.source and config.synth.source != "world":
            require_source(config.synth.source)
        start_ray(config)
        if config.synth.source:
            with phase(f"{config.synth.source}: questions, masks and marks"):
                print(synthesise(config, folder.data))
        else:
            with phase("world: videos and questions"):
                keep_world(config, folder.data)
                make_tasks(config, folder.data)
    return folder
