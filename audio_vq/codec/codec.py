"""A network as this room sees it: what encodes recordings and what speaks units, without names or files."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from audio_vq.codec.encoder import ChunkEncoder
from audio_vq.codec.sampler import Precision
from audio_vq.errors import UserError
from audio_vq.models.vqvae import VQVAEModel
from audio_vq.units import Units


@dataclass(frozen=True, eq=False)
class Codec:
    network: VQVAEModel
    loudness_db: float | None = None  # of the training corpus, to which recordings are brought; None: as recorded
    precision: Precision = "auto"  # of the decoder's weights when it samples on a CPU

    @property
    def sample_rate(self) -> int:
        return self.network.sample_rate  # Hz

    @property
    def hop_length(self) -> int:
        return self.network.hop_length  # samples per unit

    @property
    def unit_rate_hz(self) -> float:
        return self.sample_rate / self.hop_length

    @cached_property
    def chunk_encoder(self) -> ChunkEncoder:
        return ChunkEncoder(self.network)

    @cached_property
    def fingerprint(self) -> str:
        """Identifies encoder and codebook: units fit models of one fingerprint only."""
        return _digest({"encoder": self.network.encoder, "quantizer": self.network.quantizer})

    @cached_property
    def decoder_fingerprint(self) -> str:
        """Identifies what makes waveforms of units, on this kind of device."""
        device = self.network.quantizer.codebook.device.type
        return _digest({f"{device} {self.precision}": self.network.wavenet})

    def lookup(self, units: Units | Sequence[int]) -> Tensor:
        """Codebook vectors `(dim, num_units)`. Raises UserError for units that are not the codebook's."""
        quantizer = self.network.quantizer
        array = torch.from_numpy(self.checked(units)).to(quantizer.codebook.device)
        return quantizer.lookup(array[None])[0]

    def checked(self, units: Units | Sequence[int]) -> Units:
        """Raises UserError for units that are not the codebook's."""
        array = np.asarray(units)
        if array.ndim != 1 or array.size == 0:
            raise UserError(f"units of shape {array.shape}; expected a sequence of at least one")
        if not np.issubdtype(array.dtype, np.integer):
            raise UserError(f"units of type {array.dtype}; expected whole numbers")
        size = self.network.quantizer.codebook_size
        if array.min() < 0 or array.max() >= size:
            raise UserError(
                f"units from {array.min()} to {array.max()} do not fit a codebook of {size} (0 to {size - 1}); "
                "they come from another model"
            )
        return array.astype(np.int64)


def _digest(parts: dict[str, torch.nn.Module]) -> str:
    digest = hashlib.sha256()
    for name, part in parts.items():
        digest.update(name.encode())
        for tensor in part.state_dict().values():
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
