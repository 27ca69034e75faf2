"""A trained prior over units, as users meet it.

from audio_vq import UnitPrior
prior = UnitPrior.from_pretrained("runs/vctk-prior")
units = prior.sample("p226", seconds=3)[0]
"""

from pathlib import Path

import torch

from audio_vq.checkpoint import CheckpointInfo, config_from, load_weights, read_info, resolve_checkpoint
from audio_vq.codec.drawing import SamplingOptions
from audio_vq.codec.prior import sample_units
from audio_vq.config import PriorConfig
from audio_vq.errors import UserError
from audio_vq.models.prior import PriorModel, build_prior
from audio_vq.pretrained import VQVAE, resolve_device
from audio_vq.units import Units

LONGEST_SECONDS = 86_400  # of a drawn sequence


class UnitPrior:
    """A trained prior p(units | speaker)."""

    def __init__(
        self,
        network: PriorModel,
        config: PriorConfig,
        info: CheckpointInfo,
        device: torch.device | str = "cpu",
    ) -> None:
        self.network = network.eval().requires_grad_(False).to(device)
        self.config = config
        self.info = info
        self.device = torch.device(device)

    @classmethod
    def from_pretrained(cls, name: str | Path, device: str = "cpu") -> "UnitPrior":
        """As `VQVAE.from_pretrained`."""
        folder = resolve_checkpoint(name)
        info = read_info(folder, kind="prior")
        config = config_from(PriorConfig, info.config, folder / "config.json")
        network = build_prior(config, int(info.data["codebook_size"]), len(info.speakers))
        load_weights(folder, network)
        return cls(network, config, info, resolve_device(device))

    @property
    def unit_rate_hz(self) -> float:
        return float(self.info.data["unit_rate_hz"])

    def check_units_of(self, model: VQVAE) -> None:
        """Raises UserError unless the prior was trained on this model's units."""
        if self.info.data["fingerprint"] != model.fingerprint:
            raise UserError(
                "the prior was trained on the units of another checkpoint; give the one it was trained with"
            )

    def sample(
        self,
        speaker: str,
        seconds: float,
        count: int = 1,
        seed: int = 0,
        temperature: float = 1.0,
        top_p: float = 1.0,
    ) -> list[Units]:
        """Draws `count` unit sequences `(seconds · unit rate,)` in the manner of a speaker.

        Raises:
            UserError: unknown speaker, an impossible duration or number, impossible sampling options.
        """
        speaker_index = self.info.speaker_index(speaker)
        if not 0 < seconds <= LONGEST_SECONDS:
            raise UserError(f"{seconds} seconds; expected a duration above zero, up to a day")
        if count < 1:
            raise UserError(f"{count} sequences; expected at least one")
        num_units = max(1, round(seconds * self.unit_rate_hz))
        options = SamplingOptions(temperature=temperature, top_p=top_p, seed=seed)
        voice = torch.full((count,), speaker_index, device=self.device)
        return list(sample_units(self.network, voice, num_units, options))
