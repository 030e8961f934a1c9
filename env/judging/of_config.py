"""Which judge a run has, and where its verdicts are kept."""

from pathlib import Path

from configs import Config
from env.judging.judge import Judge


def judge_of(config: Config) -> Judge | None:
    """The judge that the config names besides the rules; None where they alone judge."""
    if config.judge.by == "rules":
        return None
    from env.judging.model_judge import ModelJudge  # with a client for servers, which other runs need not load

    return ModelJudge(config.judge, folder_of(config))


def folder_of(config: Config) -> Path:
    """Where the judge's verdicts are kept."""
    return Path(config.judge.folder or Path(config.runs_dir) / "judge").absolute()
