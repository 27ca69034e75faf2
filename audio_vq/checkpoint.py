"""Checkpoints: one folder with `config.json`, `model.safetensors` and `README.md` that rebuilds a model by itself.

Never pickle: a checkpoint from a stranger is safe to open.
"""

import dataclasses
import importlib.metadata
import json
import re
import shlex
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from audio_vq.errors import UserError
from audio_vq.files import atomic_folder

FORMATS = "audio_vq checkpoint"
FORMAT = f"{FORMATS} 2"
CONFIG_FILE, WEIGHTS_FILE, CARD_FILE = "config.json", "model.safetensors", "README.md"
KINDS = ("vqvae", "prior")
PRIOR_DATA = {  # of the units it models
    "codebook_size": int,
    "track_sizes": list,
    "unit_rate_hz": int | float,
    "sample_rate": int,
    "hop_length": int,
    "fingerprint": str,
}
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
SHIPPED = Path(__file__).parent / "pretrained_models"  # small models inside the wheel, by name
T = TypeVar("T")


@dataclass(frozen=True)
class CheckpointInfo:
    """What `config.json` holds besides the weights' shape."""

    kind: str  # of KINDS
    config: dict[str, Any]  # ModelConfig or PriorConfig as a dictionary
    speakers: tuple[str, ...]
    data: dict[str, Any] = field(default_factory=dict)  # what it was trained on
    training: dict[str, Any] = field(default_factory=dict)  # steps, hours, last validation

    @property
    def joined(self) -> int:
        """Speakers, the last ones, who joined the trained model."""
        return int(self.data.get("joined", 0))

    def speaker_index(self, name: str) -> int:
        """Raises UserError, with the known names, for one that is not among them."""
        if name not in self.speakers:
            close = get_close_matches(name, self.speakers, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise UserError(f"unknown speaker {name!r}; known: {', '.join(self.speakers)}{hint}")
        return self.speakers.index(name)


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
    (folder / CARD_FILE).write_text(_model_card(info), encoding="utf-8")


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


def resolve_checkpoint(name: str | Path) -> Path:
    """The folder of a checkpoint given as a folder, a run folder (its `best`), a shipped model's name or a Hub id.

    Raises:
        UserError: it is none of these.
    """
    path = Path(name)
    for candidate in (path, path / "best", *_best_without_link(path), SHIPPED / str(name)):
        if (candidate / CONFIG_FILE).is_file():
            return candidate
    if (path / "checkpoints").is_dir():
        raise UserError(f"{path} is a run without a best checkpoint yet; wait for its first validation")
    if path.exists():
        raise UserError(f"{path} is not a checkpoint: it has no {CONFIG_FILE}; give a checkpoint or a run folder")
    if HUB_ID.fullmatch(str(name)) and not path.parent.exists():  # otherwise a mistyped path
        return _from_hub(str(name))
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


def push_to_hub(folder: Path, repository: str, private: bool = False) -> str:
    """Uploads a checkpoint folder to the Hugging Face Hub and returns its address."""
    from huggingface_hub import HfApi

    api = HfApi()
    api.create_repo(repository, private=private, exist_ok=True)
    files = [CONFIG_FILE, WEIGHTS_FILE, CARD_FILE]
    return str(api.upload_folder(repo_id=repository, folder_path=folder, allow_patterns=files))


def _from_hub(repository: str) -> Path:
    """Raises UserError telling apart what is missing or private, what is restricted, and what cannot be reached."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(repository, allow_patterns=[CONFIG_FILE, WEIGHTS_FILE, CARD_FILE]))
    except GatedRepoError:
        reason = "is on the Hub, but access is restricted: ask for it on its page, then log in with `hf auth login`"
    except RepositoryNotFoundError:
        reason = "is no local folder, and on the Hub it is missing or private (for private ones: `hf auth login`)"
    except HFValidationError:
        reason = "is no local folder and no valid Hub id"
    except OSError:  # the Hub's other errors and those of the network
        reason = "is no local folder, is not in the Hub's cache, and the Hub cannot be reached (offline?)"
    raise UserError(f"checkpoint {repository} {reason}")


def _model_card(info: CheckpointInfo) -> str:
    speakers = ", ".join(info.speakers[:20]) + (" …" if len(info.speakers) > 20 else "")
    facts = {**{f"data: {k}": v for k, v in info.data.items()}, **info.training}
    rows = "\n".join(f"| {key} | {json.dumps(value)} |" for key, value in facts.items())
    return (
        "---\nlibrary_name: audio-vq\ntags: [vq-vae, wavenet, speech, voice-conversion]\n---\n\n"
        f"# audio_vq {info.kind}\n\nSpeakers: {speakers}\n\n"
        f"| training | |\n|---|---|\n{rows}\n\n"
        "The weights carry the licence of the recordings they were trained on: state it here before publishing.\n\n"
        f"Use: {', '.join(f'`{command}`' for command in _commands(info))}.\n"
    )


def _commands(info: CheckpointInfo) -> list[str]:
    """What can be done with a checkpoint in FOLDER; a Gaussian VAE has no units to convert with."""
    speaker = shlex.quote(info.speakers[0])
    if info.kind == "prior":
        uses = [f"audio-vq sample FOLDER CHECKPOINT --speaker {speaker} --seconds 3 --count 4 --out out/"]
    elif info.config.get("bottleneck") == "gaussian":
        uses = []
    else:
        uses = [f"audio-vq convert FOLDER input.wav --to {speaker} --out out/"]
    return ["audio-vq info FOLDER", *uses]
