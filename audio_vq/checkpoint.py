"""Checkpoints: one folder with `config.json`, `model.safetensors` and `README.md` that rebuilds a model by itself.

Never pickle: a checkpoint from a stranger is safe to open.
"""

import dataclasses
import importlib.metadata
import json
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from audio_vq.errors import UserError
from audio_vq.files import atomic_folder

FORMAT = "audio_vq checkpoint 1"
SHIPPED = Path(__file__).parent / "pretrained_models"  # small models inside the wheel, by name
T = TypeVar("T")


@dataclass(frozen=True)
class CheckpointInfo:
    """What `config.json` holds besides the weights' shape."""

    kind: str  # "vqvae" or "prior"
    config: dict[str, Any]  # ModelConfig or PriorConfig as a dictionary
    speakers: tuple[str, ...]
    data: dict[str, Any] = field(default_factory=dict)  # what it was trained on
    training: dict[str, Any] = field(default_factory=dict)  # steps, hours, last validation

    def speaker_index(self, name: str) -> int:
        """Raises UserError, with the known names, for one that is not among them."""
        if name not in self.speakers:
            close = get_close_matches(name, self.speakers, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise UserError(f"unknown speaker {name!r}; known: {', '.join(self.speakers)}{hint}")
        return self.speakers.index(name)


def save_checkpoint(folder: Path, info: CheckpointInfo, weights: dict[str, Tensor]) -> None:
    """Writes the folder whole or not at all."""
    with atomic_folder(folder) as temporary:
        write_checkpoint(temporary, info, weights)


def write_checkpoint(folder: Path, info: CheckpointInfo, weights: dict[str, Tensor]) -> None:
    """Writes the three files into an existing folder."""
    versions = {name: importlib.metadata.version(name) for name in ("audio-vq", "torch")}
    content = {"format": FORMAT, **dataclasses.asdict(info), "versions": versions}
    (folder / "config.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    save_tensors(weights, folder / "model.safetensors")
    (folder / "README.md").write_text(_model_card(info), encoding="utf-8")


def save_tensors(tensors: dict[str, Tensor], file: Path) -> None:
    """Writes a safetensors file; raises OSError where it cannot be written, as other files do."""
    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)
    except SafetensorError as error:
        raise OSError(f"{file} could not be written: {error}") from error


def resolve_checkpoint(name: str | Path) -> Path:
    """The folder of a checkpoint given as a folder, a run folder (its `best`), a shipped model's name or a Hub id.

    Raises:
        UserError: it is none of these.
    """
    path = Path(name)
    for candidate in (path, path / "best", SHIPPED / str(name)):
        if (candidate / "config.json").is_file():
            return candidate
    if (path / "checkpoints").is_dir():
        raise UserError(f"{path} is a run without a checkpoint yet; wait for its first validation")
    if path.exists():
        raise UserError(f"{path} is not a checkpoint: it has no config.json; give a checkpoint or a run folder")
    parts = str(name).split("/")
    if len(parts) == 2 and all(parts) and not str(name).startswith((".", "~")):
        return _from_hub(str(name))
    raise UserError(f"checkpoint {name} does not exist; give a checkpoint folder, a run folder or a Hub id")


def read_info(folder: Path, kind: str) -> CheckpointInfo:
    """Reads `config.json`.

    Raises:
        UserError: not one of ours, or of the other kind.
    """
    file = folder / "config.json"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not valid JSON ({error}); the checkpoint is damaged") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise UserError(f"{file} is not an audio_vq checkpoint (format {found!r}, expected {FORMAT!r})")
    if content["kind"] != kind:
        raise UserError(f"{folder} holds a {content['kind']}, expected a {kind}")
    fields = {entry.name: content[entry.name] for entry in dataclasses.fields(CheckpointInfo)}
    return CheckpointInfo(**{**fields, "speakers": tuple(fields["speakers"])})


def config_from(schema: type[T], content: Any, file: Path) -> T:
    """A config dataclass from its dictionary, as `file` holds it, checked against the schema."""
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), content)
        return OmegaConf.to_object(merged)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        first = str(error).splitlines()[0]
        raise UserError(f"{file} does not fit this version of audio_vq: {first}") from None


def load_weights(folder: Path, model: nn.Module) -> None:
    """Fills the model from `model.safetensors`; every tensor must be there and fit."""
    file = folder / "model.safetensors"
    try:
        model.load_state_dict(load_file(file))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UserError(f"{file} cannot be loaded: {str(error).splitlines()[0]}") from None


def push_to_hub(folder: Path, repository: str, private: bool = False) -> str:
    """Uploads a checkpoint folder to the Hugging Face Hub and returns its address."""
    from huggingface_hub import HfApi

    api = HfApi()
    api.create_repo(repository, private=private, exist_ok=True)
    files = ["config.json", "model.safetensors", "README.md"]
    return str(api.upload_folder(repo_id=repository, folder_path=folder, allow_patterns=files))


def _from_hub(repository: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository, allow_patterns=["*.json", "*.safetensors", "README.md"]))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError):
        raise UserError(
            f"checkpoint {repository} is neither a local folder nor a model that could be fetched from the Hub"
        ) from None


def _model_card(info: CheckpointInfo) -> str:
    speakers = ", ".join(info.speakers[:20]) + (" …" if len(info.speakers) > 20 else "")
    facts = {**{f"data: {k}": v for k, v in info.data.items()}, **info.training}
    rows = "\n".join(f"| {key} | {json.dumps(value)} |" for key, value in facts.items())
    return (
        "---\nlibrary_name: audio-vq\ntags: [vq-vae, wavenet, speech, voice-conversion]\n---\n\n"
        f"# audio_vq {info.kind}\n\nSpeakers: {speakers}\n\n"
        f"| training | |\n|---|---|\n{rows}\n\n"
        "The weights carry the licence of the recordings they were trained on: state it here before publishing.\n\n"
        "Use: `audio-vq info FOLDER`, `audio-vq convert FOLDER input.wav --to SPEAKER --out out/`.\n"
    )
