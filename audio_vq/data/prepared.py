"""A prepared corpus on disk: `corpus.json`, `utterances.jsonl`, `audio.pcm` and `pitch.f32`.

`audio.pcm` holds little-endian 16-bit samples of all utterances, one after another, `pitch.f32` the F0 of
their frames (`audio_vq.pitch`), little-endian float32. Both are mapped, never loaded, so a crop costs a few pages
however long the corpus is.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from audio_vq.audio.resampling import at_rate
from audio_vq.audio.waveform import Waveform, from_pcm16
from audio_vq.codec.source import Source
from audio_vq.errors import UserError
from audio_vq.files import safe_name
from audio_vq.pitch import F0, PitchRange, num_frames

FORMAT = "audio-vq prepared corpus"
FORMAT_VERSION = 2
CORPUS_FILE = "corpus.json"  # written last: its presence means finished
UTTERANCES_FILE = "utterances.jsonl"
AUDIO_FILE = "audio.pcm"
PCM_DTYPE = np.dtype("<i2")
PITCH_FILE = "pitch.f32"
PITCH_DTYPE = np.dtype("<f4")
BLOCK_SAMPLES = 1 << 18  # of an utterance that is read in blocks
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Utterance:
    id: str
    speaker: str
    split: str  # train, valid or test
    num_samples: int
    start: int  # its first sample in audio.pcm
    text: str | None
    source: str  # path of the recording, relative to its corpus
    offset_seconds: float  # where it begins in the recording
    gain_db: float = 0.0  # by which it was made louder
    first_frame: int = 0  # in pitch.f32

    def to_json(self) -> str:
        """Its line of utterances.jsonl; `text` is there only where it is known."""
        known = {key: value for key, value in asdict(self).items() if value is not None}
        return _json_text(known) + "\n"

    @classmethod
    def from_json(cls, line: str) -> "Utterance":
        """Raises ValueError for what is no such line, UserError for an id or speaker that leads out of a folder."""
        content = json.loads(line)
        if not isinstance(content, dict) or not content.keys() >= set(_names(cls)) - {"text", "gain_db"}:
            raise ValueError("not the line of an utterance")
        utterance = cls(**{"text": None} | {key: content[key] for key in _names(cls) if key in content})
        safe_name(utterance.id, "id")
        safe_name(utterance.speaker, "speaker")
        if min(utterance.start, utterance.num_samples, utterance.first_frame) < 0:
            raise ValueError("a negative place in the audio")
        return utterance


@dataclass(frozen=True)
class Skipped:
    """A recording that is not in the corpus."""

    source: str  # path, relative to the corpus
    reason: str


@dataclass(frozen=True)
class SplitSize:
    utterances: int
    hours: float


@dataclass(frozen=True)
class CorpusHeader:
    """The content of corpus.json."""

    corpus: str  # vctk, librispeech, folder or synthetic
    source: str  # where the recordings lie, or how they were made
    sample_rate: int  # Hz
    hours: float
    speakers: tuple[str, ...]  # sorted
    splits: dict[str, SplitSize]
    skipped: tuple[Skipped, ...]
    settings: dict[str, Any]  # of preparation: trimming, loudness, seed, test speakers
    speaker_info: dict[str, dict[str, str]] = field(default_factory=dict)
    format: str = FORMAT
    format_version: int = FORMAT_VERSION

    def to_json(self) -> str:
        return _json_text(asdict(self), indent=2) + "\n"

    @classmethod
    def read(cls, folder: Path) -> "CorpusHeader":
        """Read a finished corpus' header.

        Raises:
            UserError: not a prepared corpus, an unfinished one, or one of another format version.
        """
        path = folder / CORPUS_FILE
        if not path.is_file():
            raise UserError(_why_no_header(folder))
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            header = cls(
                **{key: content[key] for key in _names(cls) if key in content}
                | {
                    "speakers": tuple(content["speakers"]),
                    "splits": {name: SplitSize(**size) for name, size in content["splits"].items()},
                    "skipped": tuple(Skipped(**skipped) for skipped in content["skipped"]),
                }
            )
        except (OSError, ValueError, AttributeError, KeyError, TypeError):
            header = None
        if header is None or (header.format, header.format_version) != (FORMAT, FORMAT_VERSION):
            raise UserError(
                f"{path} does not describe a corpus this audio-vq reads (format {FORMAT!r}, "
                f"version {FORMAT_VERSION}); prepare it again"
            )
        return header


@dataclass(frozen=True)
class PreparedCorpus:
    """What training and analysis read. Open one with `PreparedCorpus.open(folder)`."""

    folder: Path
    header: CorpusHeader
    utterances: tuple[Utterance, ...]

    @classmethod
    def open(cls, folder: str | Path, sample_rate: int | None = None) -> "PreparedCorpus":
        """Open a prepared folder.

        Raises:
            UserError: not a prepared corpus, an unfinished or damaged one, or one whose sample rate is not
                the one required.
        """
        folder = Path(folder)
        header = CorpusHeader.read(folder)
        utterances = _read_utterances(folder / UTTERANCES_FILE)
        try:
            samples = (folder / AUDIO_FILE).stat().st_size // PCM_DTYPE.itemsize
            frames = (folder / PITCH_FILE).stat().st_size // PITCH_DTYPE.itemsize
        except OSError as error:
            raise UserError(f"{folder} is a damaged prepared corpus ({error}); prepare it again") from error
        if unknown := {utterance.speaker for utterance in utterances} - set(header.speakers):
            raise UserError(f"{folder}/{CORPUS_FILE} lacks the speakers {sorted(unknown)}; prepare the corpus again")
        if any(utterance.start + utterance.num_samples > samples for utterance in utterances):
            raise UserError(f"{folder}/{AUDIO_FILE} is shorter than its utterances; prepare the corpus again")
        if any(each.first_frame + num_frames(each.num_samples, header.sample_rate) > frames for each in utterances):
            raise UserError(f"{folder}/{PITCH_FILE} is shorter than its utterances; prepare the corpus again")
        if sample_rate is not None and header.sample_rate != sample_rate:
            raise UserError(
                f"{folder} was prepared at {header.sample_rate} Hz, expected {sample_rate} Hz; "
                f"prepare it with --sample-rate {sample_rate}"
            )
        return cls(folder, header, utterances)

    @property
    def sample_rate(self) -> int:
        return self.header.sample_rate  # Hz

    @property
    def hours(self) -> float:
        return self.header.hours

    @property
    def speakers(self) -> tuple[str, ...]:
        return self.header.speakers  # sorted

    def trainable(self, crop_length: int = 1) -> "PreparedCorpus":
        """The part of the corpus whose speakers have training crops, of so many samples: those a model can learn."""
        untrained = self.untrained(crop_length)
        speakers = tuple(name for name in self.speakers if name not in untrained)
        kept = tuple(utterance for utterance in self.utterances if utterance.speaker not in untrained)
        return replace(self, header=replace(self.header, speakers=speakers), utterances=kept)

    def untrained(self, crop_length: int = 1) -> dict[str, str]:
        """The other speakers, and why no model learns them."""
        longest = dict.fromkeys(self.speakers, 0)  # samples of each speaker's longest training utterance
        for utterance in self.select("train"):
            longest[utterance.speaker] = max(longest[utterance.speaker], utterance.num_samples)
        too_short = f"no training utterance as long as a crop of {crop_length} samples"
        return {
            name: too_short if samples else "nothing in the train split"
            for name, samples in longest.items()
            if samples < crop_length
        }

    @property
    def source(self) -> str:
        return self.header.source

    def select(self, split: str) -> tuple[Utterance, ...]:
        """The utterances of `train`, `valid`, `test` or `all`."""
        if split == "all":
            return self.utterances
        if split not in SPLITS:
            raise UserError(f"no split {split!r}; expected one of {', '.join(SPLITS)}, all")
        return tuple(utterance for utterance in self.utterances if utterance.split == split)

    def waveform(self, utterance: Utterance, start: int = 0, length: int | None = None) -> Waveform:
        """`length` samples from `start` of an utterance (all that follow by default), shape `(time,)`."""
        end = utterance.num_samples if length is None else start + length
        if not 0 <= start <= end <= utterance.num_samples:
            raise ValueError(f"samples {start} to {end} of {utterance.num_samples} in {utterance.id}")
        return from_pcm16(self._pcm[utterance.start + start : utterance.start + end])

    def pitch(self, utterance: Utterance) -> F0:
        """F0 of an utterance in Hz, `(frames,)`, 0 where unvoiced."""
        end = utterance.first_frame + num_frames(utterance.num_samples, self.sample_rate)
        return np.array(self._f0[utterance.first_frame : end], np.float32)

    def pitch_ranges(self) -> dict[str, PitchRange]:
        """The pitch range of every speaker, over the training utterances; a neutral one where there are none."""
        tracks: dict[str, list[F0]] = {speaker: [np.zeros(0, np.float32)] for speaker in self.speakers}
        for utterance in self.select("train"):
            tracks[utterance.speaker].append(self.pitch(utterance))
        return {speaker: PitchRange.of(np.concatenate(found)) for speaker, found in tracks.items()}

    @cached_property
    def _pcm(self) -> npt.NDArray[np.int16]:
        return np.memmap(self.folder / AUDIO_FILE, dtype=PCM_DTYPE, mode="r")

    @cached_property
    def _f0(self) -> F0:
        return np.memmap(self.folder / PITCH_FILE, dtype=PITCH_DTYPE, mode="r")


def corpus_sources(corpus: PreparedCorpus, utterances: Iterable[Utterance]) -> list[Source]:
    """Utterances as recordings to encode."""

    def read(utterance: Utterance, sample_rate: int) -> Iterator[Waveform]:
        starts = range(0, utterance.num_samples, BLOCK_SAMPLES)
        blocks = (corpus.waveform(utterance, at, min(BLOCK_SAMPLES, utterance.num_samples - at)) for at in starts)
        return at_rate(blocks, corpus.sample_rate, sample_rate)

    return [
        Source(
            each.id,
            each.speaker,
            corpus.header.to_json() + each.to_json(),
            partial(read, each),
            each.num_samples / corpus.sample_rate,
        )
        for each in utterances
    ]


def untrained_line(untrained: Mapping[str, str]) -> str:
    """One line for people about what `PreparedCorpus.untrained` found; empty where that is nobody."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in untrained.items():
        by_reason.setdefault(reason, []).append(name)
    parts = [f"{', '.join(names)} ({reason})" for reason, names in by_reason.items()]
    return f"speakers that are not trained on: {'; '.join(parts)}" if parts else ""


def _read_utterances(path: Path) -> tuple[Utterance, ...]:
    number, utterances = 0, []
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):  # noqa: B007 - for complaints
                utterances.append(Utterance.from_json(line))
    except UserError as error:
        raise UserError(f"{path}, line {number}: {error}") from error
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path}, line {number}, is damaged ({error}); prepare the corpus again") from error
    return tuple(utterances)


def _json_text(content: Any, indent: int | None = None) -> str:
    """JSON with letters as they are, but for surrogates, which UTF-8 lacks: Python's stand-ins for odd file names."""
    return json.dumps(content, indent=indent, ensure_ascii=False).encode(errors="backslashreplace").decode()


def _why_no_header(folder: Path) -> str:
    if not folder.is_dir():
        return f"{folder}: no such folder; expected a corpus made by audio-vq prepare"
    if (folder / AUDIO_FILE).is_file():
        return f"{folder} is unfinished; run the same audio-vq prepare again to complete it"
    return f"{folder} holds no {CORPUS_FILE}; expected a corpus made by audio-vq prepare"


def _names(cls: type) -> tuple[str, ...]:
    return tuple(entry.name for entry in fields(cls))
