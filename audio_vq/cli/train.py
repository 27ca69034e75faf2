"""`audio-vq train` and `train-prior`: Hydra apps. Their defaults are in `audio_vq/config.py`, presets in `conf/`."""

import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audio_vq.cli.completion import settings_of
from audio_vq.errors import UserError
from audio_vq.shipped import conf_folder

if TYPE_CHECKING:
    from omegaconf import DictConfig

# Hydra reads the command line itself, --help included
HYDRA_VERB: dict[str, Any] = {
    "add_help_option": False,
    "context_settings": {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
}

SWEEP = ("-m", "--multirun")

TrainSettings = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", autocompletion=settings_of("TrainRun", "train", ("model",), ("init",))),
]
PriorSettings = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE", autocompletion=settings_of("TrainPriorRun", "train_prior", ("prior",), ("model",))
    ),
]


def train(settings: TrainSettings = None) -> None:
    """Learn encoder, codebook and decoder from a prepared corpus. Continues a run that stands in the folder.

    Example: audio-vq train data=data/vctk run=runs/vctk model=small train.minutes=20
    """
    from audio_vq.config import TrainRun

    def job(run: TrainRun) -> None:
        from audio_vq.training.runs import run_vqvae

        run_vqvae(run)

    _hydra("train", TrainRun, settings or [], job, paths={"data", "run", "init"})


def train_prior(settings: PriorSettings = None) -> None:
    """Learn a prior over the units of a checkpoint. Continues a run that stands in the folder.

    Example: audio-vq train-prior model=runs/vctk data=data/vctk run=runs/vctk-prior train.minutes=5
    """
    from audio_vq.config import TrainPriorRun

    def job(run: TrainPriorRun) -> None:
        from audio_vq.training.runs import run_prior

        run_prior(run)

    _hydra("train_prior", TrainPriorRun, settings or [], job, paths={"data", "run", "model"})


def _hydra(name: str, schema: type, arguments: list[str], job: Callable[[Any], None], paths: set[str]) -> None:
    """Runs `job` with the composed config, as `@hydra.main` would, but with paths as given and errors in one line."""
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
    try:
        with _sweep_without_litter(_with_literal_paths(arguments, paths)) as adapted:
            sys.argv = [f"audio-vq {name.replace('_', '-')}", *adapted]
            hydra.main(version_base="1.3", config_path=str(conf_folder() / name), config_name="config")(main)()
    except (HydraException, OmegaConfBaseException) as error:
        cause = f" {error.__cause__}" if error.__cause__ else ""
        raise UserError(f"{error}{cause}".split("\n    full_key")[0]) from None
    if mistakes:
        raise mistakes[0]


def _with_literal_paths(arguments: list[str], paths: set[str]) -> list[str]:
    """Quotes paths for Hydra's grammar. In a sweep `run` stays as it is: each run needs a folder of its own."""
    literal = paths - {"run"} if _is_sweep(arguments) else paths
    quoted = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        quoted.append(f"{key}={_quoted(value)}" if equals and key.lstrip("+") in literal else argument)
    return quoted


def _quoted(text: str) -> str:
    """A text that Hydra reads as it is: no interpolation `${…}`, and backslashes count before these and quotes only."""
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
    return "'" + re.sub(r"(\\*)('|$)", lambda m: 2 * m[1] + ("\\'" if m[2] else ""), text) + "'"


def _is_sweep(arguments: list[str]) -> bool:
    return any(argument in SWEEP for argument in arguments)


@contextmanager
def _sweep_without_litter(arguments: list[str]) -> Iterator[list[str]]:
    """Arguments under which Hydra's own notes on a sweep go away with it: its runs have folders of their own."""
    if not _is_sweep(arguments) or any(argument.startswith("hydra.sweep.dir=") for argument in arguments):
        yield arguments
        return
    with tempfile.TemporaryDirectory(prefix="audio-vq-sweep-") as folder:
        rest = [argument for argument in arguments if argument not in SWEEP]  # Hydra wants overrides side by side
        yield ["--multirun", f"hydra.sweep.dir={_quoted(folder)}", *rest]


def _require_all(composed: "DictConfig") -> None:
    """Raises UserError naming the values that have no default and were not given."""
    from omegaconf import OmegaConf

    missing = sorted(OmegaConf.missing_keys(composed))
    if missing:
        given = " ".join(f"{key}=…" for key in missing)
        raise UserError(f"{', '.join(missing)} not given; add {given} (see --help)")
