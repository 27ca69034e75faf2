"""The public face: trained models that speak of waveforms, units and speaker names.

from audio_vq import VQVAE
model = VQVAE.from_pretrained("runs/vctk")
units = model.encode(waveform, sample_rate)
audio = model.decode(units, speaker="p226")
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audio_vq.audio import Waveform, at_rate
from audio_vq.checkpoint import (
    CheckpointInfo,
    config_from,
    load_weights,
    push_to_hub,
    read_info,
    resolve_checkpoint,
    save_checkpoint,
)
from audio_vq.codec.codec import Codec
from audio_vq.codec.conversion import Conversion, convert_all
from audio_vq.codec.decode import decode_each
from audio_vq.codec.drawing import SamplingOptions
from audio_vq.codec.encode import encode_sources
from audio_vq.codec.encoder import IncrementalEncoder
from audio_vq.codec.sampler import choose_precision
from audio_vq.codec.source import Source, array_source
from audio_vq.codec.streaming import StreamState, WaveformStream, stream_of
from audio_vq.config import ModelConfig
from audio_vq.errors import UserError
from audio_vq.models.vqvae import ConditioningBits, VQVAEModel, build_vqvae
from audio_vq.units import Units


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
        # the decoder's weights when it samples on a CPU
        self.codec = Codec(self.network, info.data.get("loudness_db"), choose_precision(precision))

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
        return self.codec.fingerprint

    @property
    def loudness_db(self) -> float | None:
        """Of the training corpus, to which input is brought; None: as recorded."""
        return self.codec.loudness_db

    def speaker_index(self, name: str) -> int:
        """Raises UserError, with the known names, for one that is not among them."""
        return self.info.speaker_index(name)

    def latents(
        self, waveform: Waveform | Tensor, sample_rate: int, match_level: bool = True
    ) -> npt.NDArray[np.float32]:
        """Encoder outputs before quantisation, `(dim, num_units)`; arguments as for `encode`."""
        sources = [_source(waveform, sample_rate)]
        (encoding,) = encode_sources(self.codec, sources, match_level=match_level, with_latents=True)
        assert encoding.latents is not None
        return encoding.latents

    def encode(self, waveform: Waveform | Tensor, sample_rate: int, match_level: bool = True) -> Units:
        """Units of a recording: ceil(num_samples / hop_length) of them, at the model's sample rate.

        A recording has the same units alone or inside a longer one, except within the encoder's reach of its ends, and
        the same as an array and as a file. For many recordings see `audio_vq.codec.encode`.

        Args:
            waveform: `(time,)` in [−1, 1]; what exceeds it is scaled down.
            sample_rate: of the waveform; resampled where the model's is another.
            match_level: first bring speech to the loudness of the training corpus, in steps of a decibel.

        Raises:
            UserError: another shape, no samples, NaN or infinite samples, an impossible sample rate.
        """
        (encoding,) = encode_sources(self.codec, [_source(waveform, sample_rate)], match_level=match_level)
        return encoding.sequence.units

    def encode_stream(self, blocks: Iterable[Waveform], gain: float = 1.0) -> Iterator[int]:
        """Units of a recording that is still going on, each as soon as it is certain; those of `encode` in the end.

        Args:
            blocks: of any length, at the model's sample rate. They are read one at a time and may be late.
            gain: in place of level matching, which would have to know the whole recording.
        """
        encoder = IncrementalEncoder(self.codec.chunk_encoder)
        for block in at_rate(blocks, self.sample_rate, self.sample_rate):
            yield from encoder.feed(block * np.float32(gain)).tolist()
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
        streams = [0] * len(units) if streams is None else streams
        if not len(units) == len(speakers) == len(streams):
            raise UserError(f"{len(units)} unit sequences, {len(speakers)} speakers and {len(streams)} streams")
        options = SamplingOptions(temperature=temperature, top_p=top_p, seed=seed)
        voices = [self.speaker_index(name) for name in speakers]
        ended = dict(decode_each(self.codec, units, voices, options, streams))
        return [ended[index] for index in range(len(units))]

    def decode_stream(
        self,
        units: Iterable[int],
        speaker: str,
        temperature: float = 1.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> Iterator[Waveform]:
        """As `decode`, in blocks as they are made, from units that may arrive late.

        A block holds `BLOCK_UNITS` units (`codec/decode.py`) and is made when the units after it that its
        conditioning may depend on are known.
        """
        stream = self.stream(speaker, temperature, top_p, seed)
        yield from stream.blocks(int(self.codec.checked([unit])[0]) for unit in units)
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
        return stream_of(self.codec, self.speaker_index(speaker), options, state)

    def convert(
        self,
        waveform: Waveform | Tensor,
        sample_rate: int,
        speaker: str,
        seed: int = 0,
        temperature: float = 1.0,
        top_p: float = 1.0,
    ) -> Waveform:
        """Says what a recording says in another speaker's voice; same duration, at the model's sample rate.

        The samples are those of `audio-vq convert`, which cuts long recordings in pauses to speak the pieces at once.
        """
        options = SamplingOptions(temperature=temperature, top_p=top_p, seed=seed)
        wanted = Conversion(_source(waveform, sample_rate), (self.speaker_index(speaker),))
        (converted,) = convert_all(self.codec, [wanted], options)
        return converted.waveform

    def conditioning_bits(self, waveforms: Tensor, speakers: Tensor) -> ConditioningBits:
        """What units and speaker are worth to the decoder; see `VQVAEModel.conditioning_bits`."""
        return self.network.conditioning_bits(waveforms.to(self.device), speakers.to(self.device), len(self.speakers))


def _source(waveform: Waveform | Tensor, sample_rate: int) -> Source:
    if isinstance(waveform, Tensor):
        waveform = waveform.detach().float().cpu().numpy()
    return array_source(waveform, sample_rate)


def resolve_device(name: str) -> torch.device:
    """`auto` is the GPU where there is one. Raises UserError for unknown names and a missing GPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda"):
        raise UserError(f"device {name!r}; expected auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device cuda: this machine has no usable GPU; give cpu or auto")
    return torch.device(name)
