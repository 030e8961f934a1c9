"""The ablations of what SFT learns from: how much of it, and of which teacher (paper, Figures 3 and 5).

Invariant: all arms of a seed begin with one model, and differ in nothing but the teacher's episodes.
"""

import dataclasses

from configs import Config, ConfigError
from configs.rules import check
from configs.world import TeacherConfig
from env.lessons import Lessons
from env.task import TaskFile
from recipes.data import run_synth
from recipes.folder import RunFolder, with_arm
from recipes.phases import ask_held_out, first_model, run_cold_start
from recipes.studies.ablations.arms_page import Arm, ArmScores, Study
from recipes.studies.ablations.branches import announce, arm_scores, each_seed, write_study
from recipes.studies.ablations.tables import percent

PARTS = {"eighth": 8, "quarter": 4, "half": 2, "all": 1}
"""Arms of the data ablation: one in how many of the teacher's tasks is played."""
DATA = Study(
    name="data",
    title="How much SFT data is worth",
    lead="The first tasks of the config's teacher, an eighth of them to all. SFT takes the config's steps, and fewer "
    "where a stage's `passes` over the episodes end it; without stages, as large a part of the steps as of the tasks. "
    "The paper's figures are for none of its 34.2k episodes and for all.",
    arms={
        "none": Arm("none: captions alone", 60.8),
        "eighth": Arm("an eighth"),
        "quarter": Arm("a quarter"),
        "half": Arm("half"),
        "all": Arm("all", 70.4),
    },
    against="all",
    made_of="episodes",
)
TEACHERS = Study(
    name="teacher",
    title="What the teacher is worth",
    lead="Students after SFT alone. Always careful: it never guesses, gives up or looks where nothing is. In foreign "
    "words: the same episodes, thought in words that the model never met, which are more tokens. Beside each the "
    "teacher's own accuracy. The paper's same-family teacher has 78.4, its foreign one 83.8.",
    arms={
        "own": Arm("the config's teacher", 70.4),
        "careful": Arm("always careful"),
        "foreign": Arm("always careful, in foreign words", 64.7),
    },
    against="own",
    made_of="teacher's accuracy",
)


def ablate_data(config: Config) -> None:
    """Fine-tune on each part of the teacher's episodes with every seed of `ablation.seeds`, unless it was done before.
    All of them are the cold start of `videoseeker train`; the parts lie in `data_size` in the run's folder."""
    found = _begin(config, DATA)
    for run in each_seed(with_arm(config, "both")):
        start = run_synth(run)
        nothing = RunFolder.of(dataclasses.replace(run, name=f"{run.name}/data_size/none", data_dir=str(start.data)))
        ask_held_out(run, nothing, "sft", first_model(run, start))
        found["none"].append(arm_scores(run, nothing, "sft", "0"))
        tasks = min(run.teacher.tasks, len(TaskFile(start.train)))
        for name, part in PARTS.items():
            announce(run, DATA.arms[name])
            teacher = run.teacher if part == 1 else dataclasses.replace(run.teacher, tasks=max(1, tasks // part))
            steps = run.sft.steps if run.sft.curriculum else max(1, run.sft.steps // part)
            taught = dataclasses.replace(run, sft=dataclasses.replace(run.sft, steps=steps))
            played = _taught(taught, f"{run.name}/data_size/{name}", teacher)
            found[name].append(arm_scores(run, played, "sft", str(len(Lessons(played.teacher)))))
            written = write_study(config, DATA, found)
    print(f"data: {written}")


def ablate_teacher(config: Config) -> None:
    """Fine-tune on each teacher's episodes with every seed of `ablation.seeds`, unless it was done before. The config's
    own teacher is the cold start of `videoseeker train`; the others lie in `teachers` in the run's folder."""
    if config.teacher.player != "script" or config.synth.source or config.model.path:
        raise ConfigError(
            "`ablate teacher` changes what the script does and says in the procedural world, to the tiny model that "
            "learned its words: leave teacher.player, synth.source and model.path as they are"
        )
    found = _begin(config, TEACHERS)
    careful = dataclasses.replace(config.teacher, hasty={}, wander=0.0, give_up=0.0, look_on=0.0, recheck=0.0)
    foreign = dataclasses.replace(careful, wording="foreign")
    for run in each_seed(with_arm(config, "both")):
        for name, teacher in {"own": config.teacher, "careful": careful, "foreign": foreign}.items():
            announce(run, TEACHERS.arms[name])
            played = _taught(run, f"{run.name}/teachers/{name}", teacher)
            right = len(Lessons(played.teacher)) / min(teacher.tasks, len(TaskFile(played.train)))
            found[name].append(arm_scores(run, played, "sft", percent(right)))
            written = write_study(config, TEACHERS, found)
    print(f"teacher: {written}")


def _begin(config: Config, study: Study) -> dict[str, list[ArmScores]]:
    check(with_arm(config, "both"), "ablation")
    return {name: [] for name in study.arms}


def _taught(run: Config, name: str, teacher: TeacherConfig) -> RunFolder:
    """The policy that a teacher's episodes make, examined; in the run of that name where it is not the run's own."""
    start = RunFolder.of(run)
    if teacher != run.teacher:
        run_synth(run)
        model = dataclasses.replace(run.model, path=str(first_model(run, start).absolute()))
        run = dataclasses.replace(run, name=name, data_dir=str(start.data), model=model, teacher=teacher)
    folder = run_cold_start(run, captions=start.caption_lessons)
    ask_held_out(run, folder, "sft", folder.sft)
    return folder
