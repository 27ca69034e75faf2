"""VQ-VAE for speech: discrete units, a speaker-conditioned WaveNet, a prior over units, and what the units mean."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audio_vq.pretrained import VQVAE
    from audio_vq.unit_prior import UnitPrior

__version__ = version("audio-vq")
__all__ = ["VQVAE", "UnitPrior", "__version__"]


def __getattr__(name: str) -> Any:
    # torch takes seconds to import: `audio-vq --help` must not wait for it
    homes = {"VQVAE": "audio_vq.pretrained", "UnitPrior": "audio_vq.unit_prior"}
    if name in homes:
        return getattr(import_module(homes[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
