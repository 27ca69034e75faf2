"""The public face: trained models that speak of waveforms, units and speaker names.

from audio_vq import VQVAE
model = VQVAE.from_pretrained("runs/vctk")
units = model.encode(waveform, sample_rate)
audio = model.decode(units, speaker="p226")
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audio_vq.audio.resampling import at_rate
from audio_vq.audio.waveform import Waveform
from audio_vq.checkpoint import config_from, load_weights, read_info, resolve_checkpoint, save_checkpoint
from audio_vq.checkpoint_info import CheckpointInfo
from audio_vq.codec.codec import Codec
from audio_vq.codec.conversion import Conversion, convert_all
from audio_vq.codec.decode import decode_each
from audio_vq.codec.drawing import SamplingOptions, Temperature
from audio_vq.codec.encode import encode_sources
from audio_vq.codec.fitting import Fit, blended, fit_speaker
from audio_vq.codec.incremental import LiveEncoder
from audio_vq.codec.melody import Melody, contour
from audio_vq.codec.sampler import choose_precision
from audio_vq.codec.source import FixedGain, Source, array_source
from audio_vq.codec.statistics import UNKNOWN, RecordingStatistics
from audio_vq.codec.streaming import StreamState, WaveformStream, stream_of
from audio_vq.config import ModelConfig
from audio_vq.errors import UserError
from audio_vq.files import safe_name
from audio_vq.models.conditioner import Voice
from audio_vq.models.vqvae import ConditioningBits, Heard, VQVAEModel, build_vqvae
from audio_vq.pitch import F0, PitchRange
from audio_vq.publish import publish_saved
from audio_vq.units import Units, bits_per_second


class VQVAE:
    """A trained VQ-VAE. Waveforms are float32 arrays `(time,)` in [−1, 1].

    Units are int64 arrays: `(time,)` of a model with one track, else `(tracks, time)`, a row for each group of the
    codebook and pitch classes last.
    """

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
        self.codec = Codec(
            self.network,
            info.data.get("loudness_db"),
            choose_precision(precision),  # of the decoder's weights when it samples on a CPU
            _mean_spectrum(info),
            _pitch_ranges(info),
        )

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        device: str = "cpu",
        precision: str = "auto",
        revision: str | None = None,
        token: str | bool | None = None,
    ) -> "VQVAE":
        """Opens a checkpoint folder, a run folder (its best checkpoint), a shipped model or a Hub id.

        Args:
            name: of the checkpoint.
            device: auto, cpu or cuda.
            precision: of sampling on a CPU: auto, float32 or int8.
            revision: of a checkpoint on the Hub: a branch, a tag or a commit.
            token: of the Hub; by default the one that was logged in with, if any.

        Raises:
            UserError: it is none of these, or damaged.
        """
        folder = resolve_checkpoint(name, revision, token)
        info = read_info(folder, kind="vqvae")
        config = config_from(ModelConfig, info.config, folder / "config.json")
        network = build_vqvae(config, len(info.speakers), info.joined)
        load_weights(folder, network)
        return cls(network, config, info, resolve_device(device), precision)

    def save_pretrained(self, folder: str | Path) -> None:
        save_checkpoint(Path(folder), self.info, self.network.state_dict())

    def push_to_hub(
        self,
        repository: str,
        private: bool = False,
        licence: str | None = None,
        metrics: str | Path | None = None,
        conversion: str | Path | None = None,
        token: str | bool | None = None,
    ) -> str:
        """Uploads the model to the Hugging Face Hub, with a card; returns the address. See `publish`."""
        return publish_saved(self.save_pretrained, repository, private, licence, metrics, conversion, token).url

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
    def groups(self) -> int:
        return self.network.quantizer.groups

    @property
    def pitch_classes(self) -> int:
        """0 of a model without pitch."""
        return self.network.pitch_classes

    @property
    def track_sizes(self) -> tuple[int, ...]:
        """How many values each track of the units may have."""
        return self.network.track_sizes

    @property
    def codebook(self) -> npt.NDArray[np.float32]:
        """The vectors that units stand for, `(groups, codebook_size, dim / groups)`."""
        return self.network.quantizer.codebook.detach().float().cpu().numpy()

    @property
    def unit_rate_hz(self) -> float:
        return self.sample_rate / self.hop_length

    @property
    def bits_per_second(self) -> float:
        """Of all tracks, each at fixed length."""
        return bits_per_second(self.track_sizes, self.unit_rate_hz)

    @property
    def temperature(self) -> Temperature:
        """At which the model is sampled where nothing else is said."""
        given = self.info.data.get("temperature", 1.0)
        return tuple(given) if isinstance(given, list) else given

    @property
    def emphasis(self) -> float:
        """With which the model speaks where nothing else is said, see `SamplingOptions`."""
        return float(self.info.data.get("emphasis", 0.0))

    @property
    def speakers(self) -> tuple[str, ...]:
        return self.info.speakers

    @property
    def fingerprint(self) -> str:
        """Identifies encoder, codebook and pitch classes: a prior fits the units of one fingerprint only."""
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

        They are the same as an array and as a file. Of a model that wants to know nothing of a recording as a whole, it
        has the same units alone or inside a longer one, except within the encoder's reach of its ends. For many
        recordings see `audio_vq.codec.encode`.

        Args:
            waveform: `(time,)` in [−1, 1]; what exceeds it is scaled down.
            sample_rate: of the waveform; resampled where the model's is another.
            match_level: first bring speech to the loudness of the training corpus, in steps of a decibel.

        Raises:
            UserError: another shape, no samples, NaN or infinite samples, an impossible sample rate.
        """
        (encoding,) = encode_sources(self.codec, [_source(waveform, sample_rate)], match_level=match_level)
        return encoding.sequence.units

    def statistics(
        self, waveform: Waveform | Tensor, sample_rate: int, match_level: bool = True
    ) -> RecordingStatistics:
        """What is known of a recording as a whole when it is encoded; arguments as for `encode`."""
        (encoding,) = encode_sources(self.codec, [_source(waveform, sample_rate)], match_level=match_level)
        return encoding.statistics

    def encode_stream(
        self, blocks: Iterable[Waveform], gain: float = 1.0, statistics: RecordingStatistics = UNKNOWN
    ) -> Iterator[int | Units]:
        """Units of a recording that is still going on, each as soon as it is certain: numbers, or arrays `(tracks,)`.

        They are those of `encode` in the end, where the model wants to know nothing of a recording as a whole, or is
        told it; else running estimates stand for it, renewed with every block. Pitch comes from a tracker that hears
        30 ms ahead, and so may differ here and there.

        Args:
            blocks: of any length, at the model's sample rate. They are read one at a time and may be late.
            gain: in place of level matching, which would have to know the whole recording.
            statistics: of the recording, where they are known.
        """
        encoder = LiveEncoder(self.codec, FixedGain(gain), statistics)
        for block in at_rate(blocks, self.sample_rate, self.sample_rate):
            yield from _one_by_one(encoder.feed(block))
        yield from _one_by_one(encoder.finish())

    def sampling_options(
        self,
        temperature: Temperature | None = None,
        top_p: float = 1.0,
        seed: int = 0,
        postfilter: bool = True,
        emphasis: float | None = None,
    ) -> SamplingOptions:
        """How to speak, with the model's own temperature and emphasis where none are given.

        Raises:
            UserError: values out of range.
        """
        temperature = self.temperature if temperature is None else temperature
        return SamplingOptions(temperature, top_p, seed, postfilter, self.emphasis if emphasis is None else emphasis)

    def decode(
        self,
        units: Units | Sequence[int],
        speaker: str,
        temperature: Temperature | None = None,
        top_p: float = 1.0,
        seed: int = 0,
        postfilter: bool = True,
        emphasis: float | None = None,
    ) -> Waveform:
        """Samples a waveform `(num_units · hop_length,)` of the units in a speaker's voice.

        With `postfilter` it is brought to the spectrum that the model says it has, where it says one; `emphasis` makes
        it more of the speaker's than it would be.

        Raises:
            UserError: unknown speaker, units outside the codebook, impossible sampling options.
        """
        (waveform,) = self.decode_many([units], [speaker], temperature, top_p, seed, None, postfilter, emphasis)
        return waveform

    def decode_many(
        self,
        units: Sequence[Units | Sequence[int]],
        speakers: Sequence[str],
        temperature: Temperature | None = None,
        top_p: float = 1.0,
        seed: int = 0,
        streams: Sequence[int] | None = None,
        postfilter: bool = True,
        emphasis: float | None = None,
    ) -> list[Waveform]:
        """As `decode`, several unit sequences at once on all cores; each result is the same as alone.

        `streams` numbers the random streams, for other draws of the same units; by default all are 0, as in `decode`.
        """
        streams = [0] * len(units) if streams is None else streams
        if not len(units) == len(speakers) == len(streams):
            raise UserError(f"{len(units)} unit sequences, {len(speakers)} speakers and {len(streams)} streams")
        options = self.sampling_options(temperature, top_p, seed, postfilter, emphasis)
        voices = [self.speaker_index(name) for name in speakers]
        ended = dict(decode_each(self.codec, units, voices, options, streams))
        return [ended[index] for index in range(len(units))]

    def decode_stream(
        self,
        units: Iterable[int | Units],
        speaker: str,
        temperature: Temperature | None = None,
        top_p: float = 1.0,
        seed: int = 0,
        postfilter: bool = True,
        emphasis: float | None = None,
    ) -> Iterator[Waveform]:
        """As `decode`, in blocks as they are made, from units that may arrive late, as `encode_stream` gives them.

        A block holds `BLOCK_SECONDS` (`codec/decode.py`) and is made when the units after it that its
        conditioning may depend on are known.
        """
        stream = self.stream(speaker, temperature, top_p, seed, postfilter=postfilter, emphasis=emphasis)
        for unit in units:
            block = stream.push(self.codec.checked(np.asarray(unit)[..., None]))
            if len(block):
                yield block
        last = stream.finish()
        if len(last):
            yield last

    def stream(
        self,
        speaker: str,
        temperature: Temperature | None = None,
        top_p: float = 1.0,
        seed: int = 0,
        state: StreamState | None = None,
        postfilter: bool = True,
        emphasis: float | None = None,
    ) -> WaveformStream:
        """A waveform that is sampled bit by bit: `push` units, `finish`; its `state` can be kept and continued here.

        With `state` the other arguments are the state's.
        """
        options = self.sampling_options(temperature, top_p, seed, postfilter, emphasis)
        return stream_of(self.codec, self.speaker_index(speaker), options, state)

    def convert(
        self,
        waveform: Waveform | Tensor,
        sample_rate: int,
        speaker: str,
        seed: int = 0,
        temperature: Temperature | None = None,
        top_p: float = 1.0,
        pitch: float = 0.0,
        flat: bool = False,
        postfilter: bool = True,
        emphasis: float | None = None,
    ) -> Waveform:
        """Says what a recording says in another speaker's voice; same duration, at the model's sample rate.

        The samples are those of `audio-vq convert`, which cuts long recordings in pauses to speak the pieces at once.
        Of models with pitch, `pitch` shifts the melody by semitones and `flat` makes it a monotone.

        Raises:
            UserError: no waveform, unknown speaker, impossible sampling options, a melody for a model without pitch.
        """
        options = self.sampling_options(temperature, top_p, seed, postfilter, emphasis)
        wanted = Conversion(_source(waveform, sample_rate), (self.speaker_index(speaker),))
        (converted,) = convert_all(self.codec, [wanted], options, Melody(pitch, flat))
        return converted.waveform

    def add_speaker(
        self,
        name: str,
        waveforms: Sequence[Waveform | Tensor],
        sample_rate: int,
        *,
        seconds: float | None = None,
        seed: int = 0,
        progress: Callable[[Fit], None] | None = None,
    ) -> "VQVAE":
        """A model that knows one more speaker, as heard in some recordings; this one stays as it is.

        Only what the model knows of this speaker is learned: all others speak as before, and units mean the same. See
        `audio_vq.codec.fitting`.

        Args:
            name: of the speaker, not yet known.
            waveforms: recordings of that speaker alone, `(time,)` each; a minute of speech is good.
            sample_rate: of the waveforms.
            seconds: of computing at most; by default until nothing is gained any more.
            seed: of the order in which speech is heard.
            progress: is told how far the fit is; what it raises ends it.

        Raises:
            UserError: a known name or one that cannot name a file, too little speech, a model without embeddings.
        """
        self.check_new_speaker(name)
        sources = [_source(waveform, sample_rate) for waveform in waveforms]
        return self.with_speaker(name, fit_speaker(self.codec, sources, seconds=seconds, seed=seed, progress=progress))

    def blend(self, name: str, weights: Mapping[str, float]) -> "VQVAE":
        """A model that knows one more speaker, between others: the weighted mean of what is known of them.

        Raises:
            UserError: a known name or one that cannot name a file, unknown speakers, impossible weights.
        """
        voices = {self.speaker_index(speaker): weight for speaker, weight in weights.items()}
        return self.with_speaker(name, blended(self.codec, voices))

    def with_speaker(self, name: str, voice: Voice) -> "VQVAE":
        """A model that knows one more speaker, the last one. Raises UserError as `check_new_speaker`."""
        self.check_new_speaker(name)
        data = {**self.info.data, "joined": self.network.wavenet.conditioner.joined + 1}
        if self.pitch_classes:
            data["pitch_ranges"] = {**data.get("pitch_ranges", {}), name: list(voice.pitch_range)}
        info = replace(self.info, speakers=(*self.speakers, name), data=data)
        network = self.network.with_speaker(voice)
        return VQVAE(network, self.config, info, self.device, self.codec.precision)

    def nearest_speaker(self, name: str, among: Sequence[str]) -> str:
        """Of some known speakers the one whose voice is most like a speaker's. Raises UserError for unknown names."""
        others = [self.speaker_index(other) for other in among]
        voices = torch.tensor([self.speaker_index(name), *others], device=self.device)
        said = torch.cat(self.network.wavenet.conditioner.said(voices), 1)
        return among[int((said[1:] - said[0]).norm(dim=1).argmin())]

    def check_new_speaker(self, name: str) -> None:
        """Raises UserError for a name that is known or cannot name a file, and for a model nobody can join."""
        safe_name(name, "speaker")
        if name in self.speakers:
            raise UserError(f"the model knows a speaker {name!r} already; give another name")
        if not self.config.wavenet.speaker_channels:
            raise UserError(
                "this model knows speakers by one-hot vectors (wavenet.speaker_channels=0): nobody can join; "
                "train with the recordings, or give a model with embeddings"
            )

    def contour(self, units: Units, speaker: str) -> F0:
        """F0 in Hz `(num_units,)` that units ask of a speaker's voice, 0 where unvoiced.

        Raises:
            UserError: the model has no pitch, an unknown speaker, units of another model.
        """
        return contour(self.codec, units, self.speaker_index(speaker))

    def conditioning_bits(self, heard: Heard) -> ConditioningBits:
        """What units and speaker are worth to the decoder; see `VQVAEModel.conditioning_bits`."""
        return self.network.conditioning_bits(heard.to(self.device), len(self.speakers))


def _mean_spectrum(info: CheckpointInfo) -> npt.NDArray[np.float32] | None:
    mean = info.data.get("mean_spectrum")
    return None if mean is None else np.array(mean, np.float32)


def _pitch_ranges(info: CheckpointInfo) -> tuple[PitchRange, ...]:
    """Of each speaker; a neutral one where the checkpoint does not say."""
    known, neutral = info.data.get("pitch_ranges", {}), PitchRange.of(np.zeros(0, np.float32))
    return tuple(PitchRange(*known[name]) if name in known else neutral for name in info.speakers)


def _one_by_one(units: Units) -> Iterator[int | Units]:
    """Numbers of one track, else what stands side by side `(tracks,)`."""
    yield from units.tolist() if units.ndim == 1 else units.T


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
