"""Checkpoints: one folder with `config.json`, `model.safetensors` and `README.md` that rebuilds a model by itself.

Never pickle: a checkpoint from a stranger is safe to open.
"""

import dataclasses
import importlib.metadata
import json
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from audio_vq.checkpoint_info import CARD_FILE, CONFIG_FILE, KINDS, WEIGHTS_FILE, CheckpointInfo
from audio_vq.errors import UserError
from audio_vq.files import atomic_folder
from audio_vq.hub.card import model_card
from audio_vq.hub.transfer import HUB_ID, download
from audio_vq.shipped import SHIPPED

FORMATS = "audio_vq checkpoint"
FORMAT = f"{FORMATS} 2"
PRIOR_DATA = {  # of the units it models
    "codebook_size": int,
    "track_sizes": list,
    "unit_rate_hz": int | float,
    "sample_rate": int,
    "hop_length": int,
    "fingerprint": str,
}
T = TypeVar("T")


def save_checkpoint(folder: Path, info: CheckpointInfo, weights: dict[str, Tensor]) -> None:
    """Writes the three files, in place of those that a checkpoint in the folder has; other files stay.

    Raises:
        UserError: the folder holds something else.
    """
    refuse_other_content(folder)
    with atomic_folder(folder) as temporary:
        write_checkpoint(temporary, info, weights)


def write_checkpoint(folder: Path, info: CheckpointInfo, weights: dict[str, Tensor]) -> None:
    """Writes the three files into an existing folder."""
    versions = {name: importlib.metadata.version(name) for name in ("audio-vq", "torch")}
    content = {"format": FORMAT, **dataclasses.asdict(info), "versions": versions}
    (folder / CONFIG_FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    save_tensors(weights, folder / WEIGHTS_FILE)
    (folder / CARD_FILE).write_text(str(model_card(info)), encoding="utf-8")


def save_tensors(tensors: dict[str, Tensor], file: Path) -> None:
    """Writes a safetensors file, as other files are written: `safetensors.torch.save_file` makes private ones."""
    file.write_bytes(save({name: tensor.contiguous() for name, tensor in tensors.items()}))


def refuse_other_content(folder: Path) -> None:
    """Raises UserError where a folder is a file, or not empty and no checkpoint. Hidden files disturb nobody."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; expected a folder for the checkpoint")
    if not folder.exists() or _is_checkpoint(folder):
        return
    others = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if others:
        more = " …" if len(others) > 3 else ""
        raise UserError(
            f"{folder} holds {', '.join(others[:3])}{more}; expected a new folder, an empty one or a checkpoint"
        )


def _is_checkpoint(folder: Path) -> bool:
    try:
        return json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))["format"].startswith(FORMATS)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def resolve_checkpoint(name: str | Path, revision: str | None = None, token: str | bool | None = None) -> Path:
    """The folder of a checkpoint given as a folder, a run folder (its `best`), a shipped model's name or a Hub id.

    Args:
        name: of the checkpoint; a Hub id may say a revision itself: you/model@revision.
        revision: a branch, a tag or a commit of the Hub's.
        token: of the Hub; by default the one that was logged in with, if any.

    Raises:
        UserError: it is none of these, or is none on the Hub and a revision is asked for.
    """
    path = Path(name)
    identity, _, said = str(name).partition("@")
    for candidate in (path, path / "best", *_best_without_link(path), SHIPPED / str(name)):
        if (candidate / CONFIG_FILE).is_file():
            if revision is not None:
                raise UserError(f"{name} is on this machine; only a checkpoint on the Hub has a revision ({revision})")
            return candidate
    if (path / "checkpoints").is_dir():
        raise UserError(f"{path} is a run without a best checkpoint yet; wait for its first validation")
    if path.exists():
        raise UserError(f"{path} is not a checkpoint: it has no {CONFIG_FILE}; give a checkpoint or a run folder")
    if HUB_ID.fullmatch(identity) and not path.parent.exists():  # otherwise a mistyped path
        folder = download(identity, revision or said or None, token)
        if not (folder / CONFIG_FILE).is_file():
            raise UserError(f"{name} on the Hub is not a checkpoint: it has no {CONFIG_FILE}")
        return folder
    raise UserError(f"checkpoint {name} does not exist; give a checkpoint folder, a run folder or a Hub id")


def _best_without_link(run: Path) -> list[Path]:
    """The best checkpoint of a run that was copied without its links: what the newest training state calls so."""
    for folder in sorted((run / "checkpoints").glob("step-*"), reverse=True):
        try:
            step = json.loads((folder / "training.json").read_text(encoding="utf-8"))["best_step"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        return [] if step is None else [run / "checkpoints" / step_name(step)]
    return []


def step_name(step: int) -> str:
    """Of the checkpoint of a step, in a run's `checkpoints/`."""
    return f"step-{step:08d}"


def read_info(folder: Path, kind: str | None = None) -> CheckpointInfo:
    """Reads `config.json`, of either kind if none is given.

    Raises:
        UserError: not one of ours, damaged, or of the other kind.
    """
    file = folder / CONFIG_FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{file} is not valid JSON ({error}); the checkpoint is damaged") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        if str(found).startswith(FORMATS):
            raise UserError(
                f"{folder} is of another version of audio_vq ({found}; this one reads {FORMAT}): train anew"
            )
        raise UserError(f"{file} is not an audio_vq checkpoint (format {found!r}, expected {FORMAT!r})")
    info = CheckpointInfo(
        kind=_entry(file, content, "kind", str),
        config=_entry(file, content, "config", dict),
        speakers=tuple(_entry(file, content, "speakers", list)),
        data=_entry(file, content, "data", dict),
        training=_entry(file, content, "training", dict),
    )
    if info.kind not in KINDS or kind not in (None, info.kind):
        raise UserError(f"{folder} holds a {info.kind}, expected a {kind or ' or a '.join(KINDS)}")
    if not info.speakers or not all(isinstance(name, str) for name in info.speakers):
        raise UserError(f"{file}: 'speakers' should be a list of names; the checkpoint is damaged")
    if "joined" in info.data and not 0 <= _entry(file, info.data, "joined", int) < len(info.speakers):
        raise UserError(f"{file}: 'joined' is more than there are speakers; the checkpoint is damaged")
    for name, expected in PRIOR_DATA.items() if info.kind == "prior" else ():
        _entry(file, info.data, name, expected)
    return info


def _entry(file: Path, content: dict[str, Any], name: str, kind: Any) -> Any:
    """Raises UserError where an object of the file lacks the entry or has one of another kind."""
    if name not in content:
        raise UserError(f"{file} lacks {name!r}; the checkpoint is damaged")
    if not isinstance(content[name], kind):
        raise UserError(f"{file}: {name!r} should not be {json.dumps(content[name])[:40]}; the checkpoint is damaged")
    return content[name]


def config_from(schema: type[T], content: Any, file: Path) -> T:
    """A config dataclass from its dictionary, as `file` holds it, checked against the schema."""
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), content)
        return OmegaConf.to_object(merged)  # type: ignore[return-value]
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    except OmegaConfBaseException as error:
        first = str(error).splitlines()[0]
        key = f"{error.full_key}: " if error.full_key else ""
        raise UserError(f"{file} does not fit this version of audio_vq: {key}{first}") from None


def load_weights(folder: Path, model: nn.Module) -> None:
    """Fills the model from `model.safetensors`; every tensor must be there and fit."""
    fill(model, load_tensors(folder), folder)


def fill(model: nn.Module, weights: dict[str, Tensor], folder: Path) -> None:
    """Puts weights that come from a checkpoint's folder into the model. Raises UserError where they do not fit."""
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{folder / WEIGHTS_FILE} cannot be loaded: {str(error).splitlines()[0]}") from None


def load_tensors(folder: Path) -> dict[str, Tensor]:
    """What `model.safetensors` holds, by name."""
    file = folder / WEIGHTS_FILE
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{file} cannot be loaded: {str(error).splitlines()[0]}") from None
