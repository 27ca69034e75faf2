"""What a run folder has to be so that a run may begin in it, or go on.

Its `config.yaml` holds the run's configuration and what it was trained on: the corpus, of a prior also the units.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from audio_vq.config import TrainPriorRun, TrainRun
from audio_vq.data.prepared import PreparedCorpus
from audio_vq.errors import UserError
from audio_vq.files import atomic_write_text
from audio_vq.training.state import RunFolder

CONFIG_FILE = "config.yaml"
# what may differ when a run is continued: how long, where, how often it reports; how it began is past. Corpus and units
# are known by content
FREE_ON_RESUME = {"run", "device", "data", "init"}
FREE_TRAIN_ON_RESUME = {"minutes", "steps", "validations", "save_minutes", "threads", "emphasis"}


def describe_run(run: TrainRun | TrainPriorRun, corpus: PreparedCorpus, units: str | None = None) -> dict[str, Any]:
    """The content of `config.yaml`; `units` is the fingerprint of those that a prior learns."""
    config = OmegaConf.to_container(OmegaConf.structured(run))
    assert isinstance(config, dict)
    learned = {"corpus": {"speakers": list(corpus.speakers), "digest": corpus_digest(corpus)}}
    return {**config, **learned, **({"units": units} if units else {})}


def corpus_digest(corpus: PreparedCorpus) -> str:
    """Tells corpora apart by what is in them, wherever they lie and wherever their recordings came from."""
    utterances = [(each.id, each.speaker, each.split, each.num_samples) for each in corpus.utterances]
    return hashlib.sha256(json.dumps([corpus.sample_rate, utterances]).encode()).hexdigest()[:16]


def write_config(folder: Path, description: dict[str, Any]) -> None:
    atomic_write_text(folder / CONFIG_FILE, OmegaConf.to_yaml(OmegaConf.create(description)))


def refuse_other_content(folder: Path, data: Path) -> None:
    """Raises UserError for a folder that lies in the corpus, or holds other people's files but no run."""
    if folder.resolve().is_relative_to(data.resolve()):
        raise UserError(f"run={folder} lies in the corpus data={data}; give another folder")
    if not folder.is_dir() or _read_config(folder) is not None:
        return
    # units are made before the configuration is written
    others = sorted(p.name for p in folder.iterdir() if not p.name.startswith(".") and not p.match("units-*.npz"))
    if others:
        more = " …" if len(others) > 3 else ""
        raise UserError(f"run={folder} holds {', '.join(others[:3])}{more} and no run; give a new or an empty folder")


def refuse_other_run(folder: Path, now: dict[str, Any]) -> None:
    """Raises UserError where the folder holds a run of another configuration or of other data."""
    before = _read_config(folder)
    if before is None or not RunFolder(folder).has_checkpoint():
        return
    fixed_before, fixed_now = _fixed_part(before), _fixed_part(now)
    changed = sorted(k for k in fixed_before.keys() | fixed_now.keys() if fixed_before.get(k) != fixed_now.get(k))
    if changed:
        shown = ", ".join(f"{key} {fixed_before.get(key)} → {fixed_now.get(key)}" for key in changed[:3])
        raise UserError(f"{folder} holds a run with another configuration ({shown}); give another run= folder")
    if before.get("units") != now.get("units"):
        raise UserError(
            f"{folder} holds a prior of other units: the model has been trained on, or is another; "
            "give another run= folder, or the checkpoint as it was"
        )
    if before.get("corpus") != now["corpus"]:
        raise UserError(
            f"{folder} holds a run on another corpus ({_difference(before, now)}); give another run= folder"
        )


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    learned, given = (set(each["corpus"]["speakers"]) for each in (before, now))
    parts = [
        f"{what} {', '.join(names[:5])}{' …' if len(names) > 5 else ''}"
        for what, names in (("without", sorted(learned - given)), ("with", sorted(given - learned)))
        if names
    ]
    return "now " + " and ".join(parts) if parts else "the same speakers, but other utterances"


def _read_config(folder: Path) -> dict[str, Any] | None:
    """The content of a run's `config.yaml`; None where there is none, or one of something else."""
    try:
        content: Any = OmegaConf.to_container(OmegaConf.load(folder / CONFIG_FILE))
        return content if {"train", "seed", "corpus"} <= set(content) and content["corpus"]["speakers"] else None
    except (OSError, ValueError, TypeError, KeyError, YAMLError, OmegaConfBaseException):
        return None


def _fixed_part(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Leaves of the configuration under dotted names, without those that may change when a run is continued."""
    leaves: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if name in {"corpus", "units"} or (name == "model" and isinstance(value, str)):  # known by content
            continue
        if isinstance(value, dict):
            leaves |= _fixed_part(value, f"{name}.")
        else:
            leaves[name] = value
    free = FREE_ON_RESUME | {f"train.{key}" for key in FREE_TRAIN_ON_RESUME}
    return {key: value for key, value in leaves.items() if key not in free}
