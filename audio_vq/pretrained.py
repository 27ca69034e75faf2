"""The public face: trained models that speak of waveforms, units and speaker names.

from audio_vq import VQVAE
model = VQVAE.from_pretrained("runs/vctk")
units = model.encode(waveform, sample_rate)
audio = model.decode(units, speaker="p226")
"""

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audio_vq.audio import resample
from audio_vq.checkpoint import (
    CheckpointInfo,
    config_from,
    load_weights,
    push_to_hub,
    read_info,
    resolve_checkpoint,
    save_checkpoint,
)
from audio_vq.codec.decode import SamplingOptions, sample_each
from audio_vq.codec.encode import ChunkEncoder, IncrementalEncoder
from audio_vq.codec.prior import sample_units
from audio_vq.codec.sampler import choose_precision
from audio_vq.codec.streaming import StreamState, WaveformStream
from audio_vq.config import ModelConfig, PriorConfig
from audio_vq.errors import UserError
from audio_vq.loudness import LoudnessMeter
from audio_vq.models.prior import PriorModel, build_prior
from audio_vq.models.vqvae import ConditioningBits, VQVAEModel, build_vqvae

Waveform = npt.NDArray[np.float32]
Units = npt.NDArray[np.int64]


class VQVAE:
    """A trained VQ-VAE. Units are int64 arrays `(time,)`, waveforms float32 arrays `(time,)` in [−1, 1]."""

    def __init__(
        self,
        network: VQVAEModel,
        config: ModelConfig,
        info: CheckpointInfo,
        device: torch.device | str = "cpu",
        precision: str = "auto",
    ) -> None:
        self.network = network.eval().requires_grad_(False).to(device)
        self.config = config
        self.info = info
        self.device = torch.device(device)
        self.precision = choose_precision(precision)  # of the decoder's weights when it samples on a CPU

    @classmethod
    def from_pretrained(cls, name: str | Path, device: str = "cpu", precision: str = "auto") -> "VQVAE":
        """Opens a checkpoint folder, a run folder (its best checkpoint), a shipped model or a Hub id.

        `device` is auto, cpu or cuda; `precision` that of sampling on a CPU: auto, float32 or int8.

        Raises:
            UserError: it is none of these, or damaged.
        """
        folder = resolve_checkpoint(name)
        info = read_info(folder, kind="vqvae")
        config = config_from(ModelConfig, info.config, folder / "config.json")
        network = build_vqvae(config, len(info.speakers))
        load_weights(folder, network)
        return cls(network, config, info, resolve_device(device), precision)

    def save_pretrained(self, folder: str | Path) -> None:
        save_checkpoint(Path(folder), self.info, self.network.state_dict())

    def push_to_hub(self, folder: str | Path, repository: str, private: bool = False) -> str:
        """Saves to `folder` and uploads it to the Hugging Face Hub; returns the address."""
        self.save_pretrained(folder)
        return push_to_hub(Path(folder), repository, private)

    @property
    def sample_rate(self) -> int:
        return self.config.sample_rate  # Hz

    @property
    def hop_length(self) -> int:
        return self.network.hop_length  # samples per unit

    @property
    def codebook_size(self) -> int:
        return self.network.quantizer.codebook_size

    @property
    def codebook(self) -> npt.NDArray[np.float32]:
        """The vectors that units stand for, `(codebook_size, dim)`."""
        return self.network.quantizer.codebook.detach().float().cpu().numpy()

    @property
    def unit_rate_hz(self) -> float:
        return self.sample_rate / self.hop_length

    @property
    def bits_per_second(self) -> float:
        return math.log2(self.codebook_size) * self.unit_rate_hz

    @property
    def speakers(self) -> tuple[str, ...]:
        return self.info.speakers

    @property
    def fingerprint(self) -> str:
        """Identifies encoder and codebook: a prior fits the units of one fingerprint only."""
        digest = hashlib.sha256()
        for part in (self.network.encoder, self.network.quantizer):
            for tensor in part.state_dict().values():
                digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @property
    def loudness_db(self) -> float | None:
        """Of the training corpus, to which input is brought; None: as recorded."""
        return self.info.data.get("loudness_db")

    def speaker_index(self, name: str) -> int:
        """Raises UserError, with the known names, for one that is not among them."""
        return self.info.speaker_index(name)

    @cached_property
    def chunk_encoder(self) -> ChunkEncoder:
        """The encoder as recordings of any length, files and live input go through it."""
        return ChunkEncoder(self.network)

    def latents(
        self, waveform: Waveform | Tensor, sample_rate: int, match_level: bool = True
    ) -> npt.NDArray[np.float32]:
        """Encoder outputs before quantisation, `(dim, num_units)`; arguments as for `encode`."""
        levelled = self._levelled(waveform, sample_rate, match_level)
        pieces = [latents for _, latents in self.chunk_encoder.latents(self.chunk_encoder.cut([levelled]))]
        return np.concatenate(pieces, axis=1)

    def encode(self, waveform: Waveform | Tensor, sample_rate: int, match_level: bool = True) -> Units:
        """Units of a recording: ceil(num_samples / hop_length) of them, at the model's sample rate.

        A recording has the same units alone or inside a longer one, except within the encoder's reach of its ends.
        For recordings in files, however long, see `audio_vq.codec.source`.

        Args:
            waveform: `(time,)` in [−1, 1].
            sample_rate: of the waveform; resampled where the model's is another.
            match_level: first bring speech to the loudness of the training corpus, in steps of a decibel.
        """
        levelled = self._levelled(waveform, sample_rate, match_level)
        return np.concatenate([units for _, units in self.chunk_encoder.units(self.chunk_encoder.cut([levelled]))])

    def encode_stream(self, blocks: Iterable[Waveform], gain: float = 1.0) -> Iterator[int]:
        """Units of a recording that is still going on, each as soon as it is certain; those of `encode` in the end.

        Args:
            blocks: of any length, at the model's sample rate. They are read one at a time and may be late.
            gain: in place of level matching, which would have to know the whole recording.
        """
        encoder = IncrementalEncoder(self.chunk_encoder, gain)
        for block in blocks:
            yield from encoder.feed(block).tolist()
        yield from encoder.finish().tolist()

    def decode(
        self,
        units: Units | Sequence[int],
        speaker: str,
        temperature: float = 1.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> Waveform:
        """Samples a waveform `(num_units · hop_length,)` of the units in a speaker's voice.

        Raises:
            UserError: unknown speaker, units outside the codebook, impossible sampling options.
        """
        return self.decode_many([units], [speaker], temperature, top_p, seed)[0]

    def decode_many(
        self,
        units: Sequence[Units | Sequence[int]],
        speakers: Sequence[str],
        temperature: float = 1.0,
        top_p: float = 1.0,
        seed: int = 0,
        streams: Sequence[int] | None = None,
    ) -> list[Waveform]:
        """As `decode`, several unit sequences at once on all cores; each result is the same as alone.

        `streams` numbers the random streams, for other draws of the same units; by default all are 0, as in `decode`.
        """
        options = SamplingOptions(temperature=temperature, top_p=top_p, seed=seed)
        ended = dict(self.decode_each(units, speakers, options, streams or [0] * len(units)))
        return [ended[index] for index in range(len(units))]

    def decode_each(
        self,
        units: Sequence[Units | Sequence[int]],
        speakers: Sequence[str],
        options: SamplingOptions,
        streams: Sequence[int],
    ) -> Iterator[tuple[int, Waveform]]:
        """As `decode_many`, but yields (number of the sequence, waveform) when it is done."""
        voices = [self.speaker_index(name) for name in speakers]
        latents = [self._lookup(sequence) for sequence in units]
        yield from sample_each(self.network.wavenet, latents, voices, options, streams, self.precision)

    def decode_stream(
        self,
        units: Iterable[int],
        speaker: str,
        temperature: float = 1.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> Iterator[Waveform]:
        """As `decode`, in blocks as they are made, from units that may arrive late.

        A block holds `BLOCK_UNITS` units (`codec/conditioning.py`) and is made when the units after it that its
        conditioning may depend on are known.
        """
        stream = self.stream(speaker, temperature, top_p, seed)
        for unit in units:
            block = stream.push([self._checked([unit])[0]])
            if len(block):
                yield block
        last = stream.finish()
        if len(last):
            yield last

    def stream(
        self,
        speaker: str,
        temperature: float = 1.0,
        top_p: float = 1.0,
        seed: int = 0,
        state: StreamState | None = None,
    ) -> WaveformStream:
        """A waveform that is sampled bit by bit: `push` units, `finish`; its `state` can be kept and continued here.

        With `state` the other arguments are the state's.
        """
        options = SamplingOptions(temperature=temperature, top_p=top_p, seed=seed)
        codebook, voice = self.network.quantizer.codebook, self.speaker_index(speaker)
        return WaveformStream(self.network.wavenet, codebook, voice, options, self.precision, state)

    def convert(self, waveform: Waveform | Tensor, sample_rate: int, speaker: str, seed: int = 0) -> Waveform:
        """Says what a recording says in another speaker's voice; same duration, at the model's sample rate."""
        num_samples = math.ceil(len(waveform) * self.sample_rate / sample_rate)
        return self.decode(self.encode(waveform, sample_rate), speaker, seed=seed)[:num_samples]

    def conditioning_bits(self, waveforms: Tensor, speakers: Tensor) -> ConditioningBits:
        """What units and speaker are worth to the decoder; see `VQVAEModel.conditioning_bits`."""
        return self.network.conditioning_bits(waveforms.to(self.device), speakers.to(self.device), len(self.speakers))

    def _lookup(self, units: Units | Sequence[int]) -> Tensor:
        """Codebook vectors `(dim, num_units)`."""
        array = self._checked(units)
        return self.network.quantizer.lookup(torch.from_numpy(array)[None].to(self.device))[0]

    def _checked(self, units: Units | Sequence[int]) -> Units:
        """Raises UserError for units that are not the codebook's."""
        array = np.asarray(units, dtype=np.int64)
        if array.ndim != 1 or array.size == 0:
            raise UserError(f"units of shape {array.shape}; expected a sequence of at least one")
        if array.min() < 0 or array.max() >= self.codebook_size:
            raise UserError(
                f"units from {array.min()} to {array.max()} do not fit a codebook of {self.codebook_size} "
                f"(0 to {self.codebook_size - 1}); they come from another model"
            )
        return array

    def _levelled(self, waveform: Waveform | Tensor, sample_rate: int, match_level: bool) -> Waveform:
        """At the model's sample rate and, where wanted, the loudness of its training corpus."""
        array = np.asarray(waveform, dtype=np.float32)
        if array.ndim != 1 or array.size == 0:
            raise UserError(f"waveform of shape {array.shape}; expected (time,) with at least one sample")
        array = resample(array, sample_rate, self.sample_rate)
        if match_level and self.loudness_db is not None:
            array = array * np.float32(LoudnessMeter().add(array).whole_decibel_gain(self.loudness_db))
        return array


def resolve_device(name: str) -> torch.device:
    """`auto` is the GPU where there is one. Raises UserError for unknown names and a missing GPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda"):
        raise UserError(f"device {name!r}; expected auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device cuda: this machine has no usable GPU; give cpu or auto")
    return torch.device(name)


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
        """Draws `count` unit sequences `(seconds · unit rate,)` in the manner of a speaker."""
        speaker_index = self.info.speaker_index(speaker)
        if seconds <= 0:
            raise UserError(f"{seconds} seconds; expected a duration above zero")
        num_units = max(1, round(seconds * self.unit_rate_hz))
        options = SamplingOptions(temperature=temperature, top_p=top_p, seed=seed)
        voice = torch.full((count,), speaker_index, device=self.device)
        return list(sample_units(self.network, voice, num_units, options))
