"""The unit atlas: what each unit of a codebook is, in numbers, spectra and stretches of real speech."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from audio_vq.analysis.measures.analyze import Analysis
from audio_vq.analysis.measures.encoded import EncodedUtterance
from audio_vq.analysis.report.codebook_map import CodebookMap, map_codebook, nearest_neighbours
from audio_vq.analysis.report.phone_classes import CLASS_COLOURS, phone_class, phone_order
from audio_vq.audio.features import log_mel
from audio_vq.audio.waveform import Waveform
from audio_vq.progress import progress_bar
from audio_vq.units import run_lengths

if TYPE_CHECKING:
    from audio_vq.pretrained import VQVAE

MEL_BANDS = 40
DECIBELS = 20 / np.log(10)  # per natural logarithm of a magnitude
TYPICAL = 4  # stretches per unit that can be heard
OCCURRENCES = 40  # stretches per unit that are listed, spread over all
PHONES = 6  # per unit, the commonest
NEIGHBOURS = 6
LONGEST_RUN = 8  # units; what lasts longer is counted there


@dataclass(frozen=True)
class Stretch:
    """Where a unit sounds without interruption."""

    utterance: int  # index into Atlas.utterances
    start: int  # first unit
    length: int  # units
    distance: float  # of its nearest latent to the codebook vector


@dataclass(frozen=True, eq=False)
class UnitEntry:
    """One unit; every list is empty and the spectrum None where it never occurs."""

    unit: int
    count: int  # scored frames
    phone: str | None  # what the mapping split reads it as; None without alignments
    phones: tuple[tuple[str, float], ...]  # commonest phones of its scored frames and their shares; none without
    log_mel: np.ndarray | None  # (MEL_BANDS,) dB, mean over its frames
    durations: tuple[int, ...]  # (LONGEST_RUN,) runs of 1, 2, … units
    speakers: dict[str, int]  # frames
    typical: tuple[Stretch, ...]  # nearest to the codebook vector first, of different utterances
    occurrences: tuple[Stretch, ...]
    runs: int
    neighbours: tuple[tuple[int, float], ...]  # unit, distance of the codebook vectors


@dataclass(frozen=True, eq=False)
class Atlas:
    group: int  # whose units these are
    utterances: tuple[EncodedUtterance, ...]
    seconds_per_unit: float
    map: CodebookMap
    mean_log_mel: np.ndarray  # (MEL_BANDS,) dB, over all frames
    mel_hz: np.ndarray  # (MEL_BANDS,) centres
    phones: tuple[str, ...]  # in the order of plots
    units: tuple[UnitEntry, ...]

    def to_json(self) -> dict[str, Any]:
        """The content of atlas.json; times in seconds of the prepared utterances."""
        return {
            "group": self.group,
            "seconds_per_unit": self.seconds_per_unit,
            "map": {"method": self.map.method},
            "mel_hz": [round(hz) for hz in self.mel_hz.tolist()],
            "mean_log_mel_db": _tenths(self.mean_log_mel),
            "phones": list(self.phones),
            "phone_classes": {phone: phone_class(phone) for phone in self.phones},
            "classes": list(CLASS_COLOURS),
            "utterances": [
                {"id": each.utterance.id, "speaker": each.utterance.speaker, "text": each.utterance.text}
                for each in self.utterances
            ],
            "units": [self._entry(entry) for entry in self.units],
        }

    def _entry(self, entry: UnitEntry) -> dict[str, Any]:
        return {
            "unit": entry.unit,
            "count": entry.count,
            "phone": entry.phone,
            "phones": [[phone, round(share, 4)] for phone, share in entry.phones],
            "log_mel_db": None if entry.log_mel is None else _tenths(entry.log_mel),
            "durations": list(entry.durations),
            "speakers": entry.speakers,
            "typical": [self._stretch(each) for each in entry.typical],
            "occurrences": [self._stretch(each)[:3] for each in entry.occurrences],
            "runs": entry.runs,
            "neighbours": [[unit, round(distance, 4)] for unit, distance in entry.neighbours],
            "position": [round(value, 4) for value in self.map.positions[entry.unit].tolist()],
        }

    def _stretch(self, stretch: Stretch) -> list[float]:
        """Utterance, start, end, distance."""
        start, end = (round(n * self.seconds_per_unit, 4) for n in (stretch.start, stretch.start + stretch.length))
        return [stretch.utterance, start, end, round(stretch.distance, 4)]


def make_atlas(model: "VQVAE", analysis: Analysis, group: int = 0, *, seed: int) -> Atlas:
    """Describe every unit of a group by the scored utterances."""
    codebook, phones = model.codebook[group], analysis.groups[group].phones
    frames = _measure(analysis, group, codebook)
    stretches = _stretches([each.units[group] for each in analysis.scored], frames.distances, len(codebook))
    neighbours = nearest_neighbours(codebook, NEIGHBOURS)
    counts = frames.counts
    sample_rate = analysis.selection.scored_corpus.corpus.sample_rate
    return Atlas(
        group=group,
        utterances=analysis.scored,
        seconds_per_unit=1 / analysis.unit_rate_hz,
        map=map_codebook(codebook, seed=seed),
        mean_log_mel=frames.log_mel_sums.sum(axis=0) / max(1, counts.sum()),
        mel_hz=mel_centres(MEL_BANDS, sample_rate),
        phones=tuple(phone_order(phones.phones)) if phones else (),
        units=tuple(
            UnitEntry(
                unit=unit,
                count=int(counts[unit]),
                phone=phones.unit_phones[unit] if phones else None,
                phones=_commonest_phones(phones.joint[unit], phones.phones) if phones else (),
                log_mel=frames.log_mel_sums[unit] / counts[unit] if counts[unit] else None,
                durations=_durations(stretches[unit]),
                speakers=_speakers(stretches[unit], analysis.scored),
                typical=_typical(stretches[unit]),
                occurrences=_spread(stretches[unit]),
                runs=len(stretches[unit]),
                neighbours=neighbours[unit],
            )
            for unit in range(len(codebook))
        ),
    )


@dataclass(frozen=True, eq=False)
class _Frames:
    """Sums and distances over all frames of the scored utterances."""

    counts: np.ndarray  # (codebook_size,)
    log_mel_sums: np.ndarray  # (codebook_size, MEL_BANDS) dB
    distances: tuple[np.ndarray, ...]  # per utterance: (num_units,) of each latent to its codebook vector


def _measure(analysis: Analysis, group: int, codebook: np.ndarray) -> _Frames:
    corpus = analysis.selection.scored_corpus.corpus
    counts = np.zeros(len(codebook), np.int64)
    sums = np.zeros((len(codebook), MEL_BANDS))
    distances = []
    with progress_bar("atlas", total=len(analysis.scored), completed=0) as bar:
        for each in analysis.scored:
            waveform, units = corpus.waveform(each.utterance), each.units[group]
            spectra = unit_spectra(waveform, corpus.sample_rate, analysis.hop_length, len(units))
            np.add.at(sums, units, spectra)
            counts += np.bincount(units, minlength=len(codebook))
            distances.append(np.linalg.norm(each.latents_of(group) - codebook[units], axis=1))
            bar.advance()
    return _Frames(counts, sums, tuple(distances))


def unit_spectra(waveform: Waveform, sample_rate: int, hop_length: int, num_units: int) -> np.ndarray:
    """Log-mel spectrum at the centre of each unit's frame in dB, `(num_units, MEL_BANDS)`."""
    # frame t of log_mel is centred on sample t · hop_length
    mel = log_mel(waveform[hop_length // 2 :], sample_rate, hop_length, n_mels=MEL_BANDS).T
    missing = num_units - len(mel)  # a last unit whose centre lies behind the recording
    return np.pad(mel, ((0, max(0, missing)), (0, 0)), mode="edge")[:num_units] * DECIBELS


def mel_centres(bands: int, sample_rate: int) -> np.ndarray:
    """Hz at the centre of each mel band up to half the sample rate, `(bands,)`; Slaney's scale as in log_mel."""
    top = _mel(sample_rate / 2)
    mels = np.arange(1, bands + 1) * top / (bands + 1)
    return np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))


def mel_band(hz: float, bands: int, sample_rate: int) -> float:
    """Which of `bands` mel bands up to half the sample rate is centred at `hz`; may lie between two."""
    return _mel(hz) / _mel(sample_rate / 2) * (bands + 1) - 1


def _mel(hz: float) -> float:
    """Slaney's scale, librosa's default: linear up to 1 kHz, logarithmic above."""
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * float(np.log(hz / 1000) / np.log(6.4))


def _stretches(
    scored: Sequence[np.ndarray], distances: Sequence[np.ndarray], codebook_size: int
) -> list[list[Stretch]]:
    """All stretches of each unit in the units of scored utterances, in the order of the corpus."""
    found: list[list[Stretch]] = [[] for _ in range(codebook_size)]
    for index, (units, distance) in enumerate(zip(scored, distances, strict=True)):
        runs = run_lengths(units)
        starts = np.cumsum(runs.lengths) - runs.lengths
        nearest = np.minimum.reduceat(distance, starts)
        for unit, start, length, near in zip(runs.units, starts, runs.lengths, nearest, strict=True):
            found[int(unit)].append(Stretch(index, int(start), int(length), float(near)))
    return found


def _typical(stretches: Sequence[Stretch]) -> tuple[Stretch, ...]:
    """Nearest first; a second one of an utterance only where there are no others."""
    ranked = sorted(stretches, key=lambda each: (each.distance, each.utterance, each.start))
    first: dict[int, Stretch] = {}
    for each in ranked:
        first.setdefault(each.utterance, each)
    chosen = list(first.values())[:TYPICAL]
    chosen += [each for each in ranked if each not in chosen][: TYPICAL - len(chosen)]
    return tuple(sorted(chosen, key=lambda each: each.distance))


def _spread(stretches: Sequence[Stretch]) -> tuple[Stretch, ...]:
    if len(stretches) <= OCCURRENCES:
        return tuple(stretches)
    return tuple(stretches[index] for index in np.linspace(0, len(stretches) - 1, OCCURRENCES).astype(int))


def _durations(stretches: Sequence[Stretch]) -> tuple[int, ...]:
    lengths = [min(each.length, LONGEST_RUN) for each in stretches]
    return tuple(np.bincount(lengths, minlength=LONGEST_RUN + 1)[1:].tolist())


def _speakers(stretches: Sequence[Stretch], scored: Sequence[EncodedUtterance]) -> dict[str, int]:
    frames: dict[str, int] = {}
    for each in stretches:
        speaker = scored[each.utterance].utterance.speaker
        frames[speaker] = frames.get(speaker, 0) + each.length
    return dict(sorted(frames.items()))


def _commonest_phones(joint: np.ndarray, phones: Sequence[str]) -> tuple[tuple[str, float], ...]:
    order = np.argsort(-joint, kind="stable")[:PHONES]
    total = max(1, joint.sum())
    return tuple((phones[index], float(joint[index] / total)) for index in order if joint[index])


def _tenths(decibels: np.ndarray) -> list[float]:
    return [round(value, 1) for value in decibels.tolist()]
