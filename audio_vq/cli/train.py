"""`audio-vq train` and `train-prior`: Hydra apps. Their defaults are in `audio_vq/config.py`, presets in `conf/`."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from audio_vq.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

# Hydra reads the command line itself, --help included
HYDRA_VERB: dict[str, Any] = {
    "add_help_option": False,
    "context_settings": {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
}


def train(context: typer.Context) -> None:
    """Learn encoder, codebook and decoder from a prepared corpus. Continues a run that stands in the folder.

    Example: audio-vq train data=data/vctk run=runs/vctk model=small train.minutes=20
    """
    from audio_vq.config import TrainRun

    def job(run: TrainRun) -> None:
        from audio_vq.training.runs import run_vqvae

        run_vqvae(run)

    _hydra("train", TrainRun, context.args, job)


def train_prior(context: typer.Context) -> None:
    """Learn a prior over the units of a checkpoint. Continues a run that stands in the folder.

    Example: audio-vq train-prior model=runs/vctk data=data/vctk run=runs/vctk-prior train.minutes=5
    """
    from audio_vq.config import TrainPriorRun

    def job(run: TrainPriorRun) -> None:
        from audio_vq.training.runs import run_prior

        run_prior(run)

    _hydra("train_prior", TrainPriorRun, context.args, job)


def conf_folder() -> Path:
    """`conf/`: inside an installed package, beside it in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def _hydra(name: str, schema: type, arguments: list[str], job: Callable[[Any], None]) -> None:
    """Runs `job` with the composed config, as `@hydra.main` would, but with errors in one line."""
    import hydra
    from hydra.core.config_store import ConfigStore
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    def main(composed: "DictConfig") -> None:
        try:
            _require_all(composed)
            job(OmegaConf.to_object(composed))
        except UserError as error:  # kept until Hydra is done: it would print a report of its own
            mistakes.append(error)

    mistakes: list[UserError] = []
    ConfigStore.instance().store(name="schema", node=schema)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions reach us instead of being printed
    sys.argv = [f"audio-vq {name.replace('_', '-')}", *arguments]
    try:
        hydra.main(version_base="1.3", config_path=str(conf_folder() / name), config_name="config")(main)()
    except (HydraException, OmegaConfBaseException) as error:
        cause = f" {error.__cause__}" if error.__cause__ else ""
        raise UserError(f"{error}{cause}".split("\n    full_key")[0]) from None
    if mistakes:
        raise mistakes[0]


def _require_all(composed: "DictConfig") -> None:
    """Raises UserError naming the values that have no default and were not given."""
    from omegaconf import OmegaConf

    missing = sorted(OmegaConf.missing_keys(composed))
    if missing:
        given = " ".join(f"{key}=…" for key in missing)
        raise UserError(f"{', '.join(missing)} not given; add {given} (see --help)")
