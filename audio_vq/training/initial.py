"""Training that begins with another model's weights instead of fresh ones."""

import torch
from torch import Tensor, nn

from audio_vq.checkpoint import fill, load_tensors, read_info, resolve_checkpoint
from audio_vq.config import ModelConfig, as_dict
from audio_vq.errors import UserError

SPEAKERS = "wavenet.conditioner.speaker.weight"
OWN = "wavenet.conditioner.own"  # of speakers who joined: they are trained like all others now
RANGES = "wavenet.conditioner.period.ranges"  # of the speakers' pitch: the corpus tells


def begin_with(network: nn.Module, config: ModelConfig, speakers: tuple[str, ...], name: str) -> None:
    """Loads a checkpoint's weights; speakers it knows keep their embedding, new ones begin at the mean of all.

    Raises:
        UserError: no such checkpoint, a damaged one, or one of another architecture.
    """
    folder = resolve_checkpoint(name)
    info = read_info(folder, kind="vqvae")
    if differing := _differences(info.config, as_dict(config)):
        raise UserError(
            f"init={name} is a model with {', '.join(differing[:3])}; give the same model= (and model.…) settings"
        )
    if not config.wavenet.speaker_channels and info.speakers != speakers:
        raise UserError(
            f"init={name} knows speakers by one-hot vectors: others cannot join; train a model with embeddings"
        )
    weights = load_tensors(folder)
    if SPEAKERS in weights:
        weights[SPEAKERS] = _for_speakers(weights[SPEAKERS], info.speakers, speakers)
    weights.pop(OWN, None)
    if RANGES in weights:
        weights[RANGES] = network.state_dict()[RANGES]
    fill(network, weights, folder)


def _for_speakers(known: Tensor, names: tuple[str, ...], wanted: tuple[str, ...]) -> Tensor:
    """Embeddings `(speakers, channels)` of the wanted speakers."""
    mean = known.mean(0)
    return torch.stack([known[names.index(name)] if name in names else mean for name in wanted])


def _differences(theirs: dict[str, object], ours: dict[str, object], prefix: str = "model.") -> list[str]:
    """Settings in which two configurations differ, as `name=theirs`."""
    found = []
    for key in sorted(theirs.keys() | ours.keys()):
        one, other = theirs.get(key), ours.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            found += _differences(one, other, f"{prefix}{key}.")
        elif one != other:
            found.append(f"{prefix}{key}={one}")
    return found
