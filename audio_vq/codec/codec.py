"""A network as this room sees it: what encodes recordings and what speaks units, without names or files."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from audio_vq.audio.waveform import Waveform
from audio_vq.codec.encoder import ChunkEncoder
from audio_vq.codec.sampler import Precision
from audio_vq.errors import UserError
from audio_vq.models.vqvae import VQVAEModel
from audio_vq.pitch import PitchRange
from audio_vq.units import Units


@dataclass(frozen=True, eq=False)
class Codec:
    network: VQVAEModel
    loudness_db: float | None = None  # of the training corpus, to which recordings are brought; None: as recorded
    precision: Precision = "auto"  # of the decoder's weights when it samples on a CPU
    mean_spectrum: Waveform | None = None  # (filters,) of the training corpus: what is expected of an unheard recording
    pitch_ranges: tuple[PitchRange, ...] = ()  # of each speaker, of models with pitch

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
        """Identifies encoder, codebook and pitch classes: units fit models of one fingerprint only."""
        encoder, quantizer = self.network.encoder, self.network.quantizer
        kind = "encoder, centred" if encoder.centred else "encoder"
        return _digest({kind: encoder, f"quantizer, pitch {self.network.pitch_classes}": quantizer})

    @cached_property
    def decoder_fingerprint(self) -> str:
        """Identifies what makes waveforms of units, on this kind of device."""
        device = self.network.quantizer.codebook.device.type
        return _digest({f"{device} {self.precision}": self.network.wavenet})

    def lookup(self, units: Units | Sequence[int]) -> Tensor:
        """What the decoder reads of units, `(channels, num_units)`. Raises UserError as `checked`."""
        tracks = np.atleast_2d(self.checked(units))
        return self.network.lookup(torch.from_numpy(tracks)[None].to(self.network.quantizer.codebook.device))[0]

    def checked(self, units: Units | Sequence[int]) -> Units:
        """Units of this model: `(time,)` where it has one track, else `(tracks, time)`.

        Raises:
            UserError: another shape, no units, or units that are not the codebook's.
        """
        array, sizes = np.asarray(units), self.network.track_sizes
        wanted = f"({len(sizes)} tracks, time)" if len(sizes) > 1 else "(time,)"
        if array.size == 0 or array.shape[:-1] != (() if len(sizes) == 1 else (len(sizes),)):
            raise UserError(f"units of shape {array.shape}; this model's are {wanted}, at least one long")
        if not np.issubdtype(array.dtype, np.integer):
            raise UserError(f"units of type {array.dtype}; expected whole numbers")
        for number, (track, size) in enumerate(zip(np.atleast_2d(array), sizes, strict=True)):
            if track.min() < 0 or track.max() >= size:
                is_pitch = number == self.network.quantizer.groups
                name, what = ("pitch classes", "a pitch") if is_pitch else ("units", "a codebook")
                raise UserError(
                    f"{name} from {track.min()} to {track.max()} do not fit {what} of {size} (0 to {size - 1}); "
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
