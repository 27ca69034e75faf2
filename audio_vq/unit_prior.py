"""A trained prior over codes, as users meet it.

from audio_vq import UnitPrior
prior = UnitPrior.from_pretrained("runs/vctk-prior")
units = prior.sample("p226", seconds=3)[0]
"""

from pathlib import Path

import numpy as np
import torch

from audio_vq.checkpoint import (
    CheckpointInfo,
    config_from,
    load_weights,
    read_info,
    resolve_checkpoint,
    save_checkpoint,
)
from audio_vq.codec.drawing import SamplingOptions
from audio_vq.codec.prior import sample_units
from audio_vq.config import PriorConfig
from audio_vq.errors import UserError
from audio_vq.models.prior import PriorModel, build_prior
from audio_vq.pretrained import VQVAE, resolve_device
from audio_vq.progress import Told
from audio_vq.publish import publish_saved
from audio_vq.units import Units

LONGEST_SECONDS = 86_400  # of a drawn sequence


class UnitPrior:
    """A trained prior p(code | speaker)."""

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
    def from_pretrained(
        cls, name: str | Path, device: str = "cpu", revision: str | None = None, token: str | bool | None = None
    ) -> "UnitPrior":
        """As `VQVAE.from_pretrained`."""
        folder = resolve_checkpoint(name, revision, token)
        info = read_info(folder, kind="prior")
        config = config_from(PriorConfig, info.config, folder / "config.json")
        network = build_prior(config, info.data["track_sizes"], len(info.speakers))
        load_weights(folder, network)
        return cls(network, config, info, resolve_device(device))

    def save_pretrained(self, folder: str | Path) -> None:
        save_checkpoint(Path(folder), self.info, self.network.state_dict())

    def push_to_hub(
        self,
        repository: str,
        private: bool = False,
        licence: str | None = None,
        token: str | bool | None = None,
    ) -> str:
        """As `VQVAE.push_to_hub`."""
        return publish_saved(self.save_pretrained, repository, private, licence, token=token).url

    @property
    def unit_rate_hz(self) -> float:
        return float(self.info.data["unit_rate_hz"])

    def check_units_of(self, model: VQVAE) -> None:
        """Raises UserError unless the prior was trained on this model's units."""
        if self.info.data["fingerprint"] != model.fingerprint:
            raise UserError(
                "the prior was trained on the units of another checkpoint; give the one it was trained with"
            )

    def manner_of(self, model: VQVAE, speaker: str) -> str:
        """The speaker, or of those the prior knows the nearest one to a speaker of the model that it does not know."""
        known = [name for name in self.info.speakers if name in model.speakers]
        return speaker if speaker in known or not known else model.nearest_speaker(speaker, known)

    def sample(
        self,
        speaker: str,
        seconds: float,
        count: int = 1,
        seed: int = 0,
        temperature: float = 1.0,
        top_p: float = 1.0,
        prompt: Units | None = None,
        told: Told | None = None,
    ) -> list[Units]:
        """Draws `count` codes of `seconds · unit rate` units in the manner of a speaker, shaped as the model's own.

        Args:
            speaker: by name.
            seconds: of speech.
            count: how many.
            seed: of the random numbers.
            temperature, top_p: as for `VQVAE.decode`.
            prompt: the code of the model's that they continue; not a part of what is returned.
            told: is told of the seconds that were drawn, of all codes together.

        Raises:
            UserError: unknown speaker, an impossible duration or number, impossible sampling options, a prompt that is
                no code of the model's.
        """
        speaker_index = self.info.speaker_index(speaker)
        if not 0 < seconds <= LONGEST_SECONDS:
            raise UserError(f"{seconds} seconds; expected a duration above zero, up to a day")
        if count < 1:
            raise UserError(f"{count} sequences; expected at least one")
        if prompt is not None:
            self._check_prompt(prompt)
        num_units = max(1, round(seconds * self.unit_rate_hz))
        options = SamplingOptions(temperature=temperature, top_p=top_p, seed=seed)
        voice = torch.full((count,), speaker_index, device=self.device)
        tell = None if told is None else lambda units: told(units / self.unit_rate_hz)
        drawn = sample_units(self.network, voice, num_units, options, prompt, tell)
        return list(drawn[:, 0] if len(self.network.track_sizes) == 1 else drawn)

    def _check_prompt(self, prompt: Units) -> None:
        sizes = self.network.track_sizes
        expected = "(units,)" if len(sizes) == 1 else f"({len(sizes)}, units)"
        code = np.atleast_2d(prompt)
        if len(code) != len(sizes) or prompt.ndim != min(len(sizes), 2) or code.size == 0:
            raise UserError(f"a prompt of shape {prompt.shape}; expected a code of {expected}, at least one unit")
        if code.min() < 0 or (code.max(1) >= sizes).any():
            raise UserError(f"a prompt with units from {code.min()} to {code.max()}; its tracks have {sizes} values")
