"""What the web page can do: plain functions of a model, a prior and what a visitor gave. Everything has a limit.

A visitor's own voices are in a model of the visitor's, which shares all else with everybody's: it is handed in and out,
and kept nowhere here.
"""

import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audio_vq.audio.waveform import Waveform
from audio_vq.codec.conversion import Conversion, convert_all
from audio_vq.codec.encode import Encoding, encode_sources
from audio_vq.codec.melody import Melody
from audio_vq.codec.source import Source
from audio_vq.codec.threads import torch_threads
from audio_vq.demo.limits import Limits
from audio_vq.demo.pictures import Picture, picture_of, unit_colours
from audio_vq.demo.recording import memory_source, recording_of
from audio_vq.errors import UserError
from audio_vq.pitch import F0, contour_of
from audio_vq.pretrained import VQVAE
from audio_vq.unit_prior import UnitPrior
from audio_vq.units import Units, UnitSequence

if TYPE_CHECKING:
    from audio_vq.codec.fitting import Fit

Voice = str | Mapping[str, float]  # a speaker's name, or names with their weights: something between them
LONGEST_NAME = 40  # characters, of a new voice
MORPH = "a voice between others, without a name"  # longer than a visitor may call one
MOST_BETWEEN = 8  # voices, of which one is mixed
SEEDS = 2**64


class _NobodyListens(Exception):  # noqa: N818 - no error: the visitor has gone
    """Ends the fitting of a voice."""


@dataclass(frozen=True)
class Service:
    """Raises UserError, in one line, for whatever is asked that makes no sense or is too much."""

    model: VQVAE
    prior: UnitPrior | None = None  # of the model's units
    limits: Limits = field(default_factory=Limits)

    def facts(self, model: VQVAE) -> dict[str, Any]:
        """What the page has to know of a model."""
        return {
            "sample_rate": model.sample_rate,
            "hop_length": model.hop_length,
            "groups": model.groups,
            "pitch_classes": model.pitch_classes,
            "bits_per_second": round(model.bits_per_second),
            "colours": unit_colours(model.codebook),
            "has_prior": self.prior is not None,
            "voices": self.voices(model),
            "limits": vars(self.limits),
        }

    def voices(self, model: VQVAE) -> list[dict[str, Any]]:
        """Each with its name, and with its pitch in Hz, gender and corpus where they are known."""
        about, ranges = model.info.data.get("voices", {}), model.info.data.get("pitch_ranges", {})
        own = model.speakers[len(self.model.speakers) :]
        return [
            {
                "name": name,
                "gender": about.get(name, {}).get("gender", ""),
                "corpus": "yours" if name in own else about.get(name, {}).get("corpus", ""),
                "hertz": round(ranges[name][0]) if name in ranges else None,
            }
            for name in model.speakers
        ]

    def listen(self, model: VQVAE, file: Path) -> Picture:
        """A recording as units, and as the page shows it."""
        return self._heard(model, recording_of(file, model.sample_rate, self.limits.speech_seconds))

    def example(self, model: VQVAE, waveform: Waveform) -> Picture:
        """As `listen`, of a waveform at the model's sample rate."""
        return self._heard(model, memory_source([waveform]))

    def _heard(self, model: VQVAE, source: Source) -> Picture:
        encoding, waveform = _encoded(model, source), np.concatenate(list(source.read(model.sample_rate)))
        units = np.atleast_2d(encoding.sequence.units)
        return picture_of(waveform, model.sample_rate, units, _f0(model, encoding))

    def encode(self, model: VQVAE, file: Path) -> UnitSequence:
        return _encoded(model, recording_of(file, model.sample_rate, self.limits.speech_seconds)).sequence

    def speak(
        self, model: VQVAE, units: Any, voice: Voice, melody: Melody, seed: float = 0, num_samples: int | None = None
    ) -> Iterator[Waveform]:
        """A voice says units, in blocks as they are made; with `num_samples` only so many of the waveform."""
        deadline = time.monotonic() + self.limits.computing_seconds
        checked = self._checked(model, units)
        speaking, name = self.between(model, voice)
        melody.check(speaking.codec)
        melodious = melody.of(speaking.codec, checked, speaking.speaker_index(name))
        left = checked.shape[-1] * model.hop_length if num_samples is None else _whole(num_samples, "samples", 2**31)
        for block in speaking.decode_stream(list(melodious.T), name, seed=_whole(seed, "a seed", SEEDS)):
            if time.monotonic() > deadline:
                raise UserError(f"this took longer than {self.limits.computing_seconds:.0f} seconds; try less at once")
            if left > 0:
                yield block[:left]
            left -= len(block)

    def convert(self, model: VQVAE, file: Path, voice: Voice, melody: Melody, seed: float = 0) -> Waveform:
        """The samples of `VQVAE.convert`."""
        source = recording_of(file, model.sample_rate, self.limits.speech_seconds)
        speaking, name = self.between(model, voice)
        options = speaking.sampling_options(seed=_whole(seed, "a seed", SEEDS))
        conversions = [Conversion(source, (speaking.speaker_index(name),))]
        with torch_threads(1):
            (converted,) = convert_all(speaking.codec, conversions, options, melody, threads=1)
        return converted.waveform

    def go_on(
        self,
        model: VQVAE,
        units: Any,
        voice: Voice,
        seconds: float,
        takes: float,
        temperature: float = 1.0,
        seed: float = 0,
    ) -> list[Units]:
        """What the prior says after units, in the manner of a speaker; as many takes, without the units themselves."""
        if self.prior is None:
            raise UserError("there is no prior for this model; audio-vq demo CHECKPOINT --prior PRIOR gives it one")
        limits = self.limits
        if not 0 < _number(seconds, "seconds") <= limits.continued_seconds:
            raise UserError(f"{seconds:g} seconds to go on; expected above 0, up to {limits.continued_seconds:g}")
        if not 0.1 <= _number(temperature, "a temperature") <= 2:
            raise UserError(f"a temperature of {temperature:g}; expected 0.1 to 2")
        count = _whole(takes, "takes", limits.takes + 1, least=1)
        prompt, manner = self._checked(model, units), self._manner(model, voice)
        with torch_threads(1):
            return self.prior.sample(manner, seconds, count, _whole(seed, "a seed", SEEDS), temperature, prompt=prompt)

    def add_voice(self, model: VQVAE, name: Any, files: Sequence[Path]) -> Iterator["Fit | VQVAE"]:
        """Learns a new voice: how far it is, again and again, and in the end the model that has it.

        Close the iterator to give up.
        """
        wanted = self._new_name(model, name)
        seconds, waveforms = self.limits.voice_seconds, list[Waveform]()
        for file in files:
            source = recording_of(file, model.sample_rate, seconds)
            waveforms += [np.concatenate(list(source.read(model.sample_rate)))]
            seconds -= len(waveforms[-1]) / model.sample_rate
        yield from self._fitted(model, wanted, waveforms)

    def _fitted(self, model: VQVAE, name: str, waveforms: list[Waveform]) -> Iterator["Fit | VQVAE"]:
        said: queue.SimpleQueue[Fit | VQVAE | BaseException] = queue.SimpleQueue()
        gone = threading.Event()

        def progress(fit: "Fit") -> None:
            if gone.is_set():
                raise _NobodyListens
            said.put(fit)

        def work() -> None:
            limit = self.limits.fit_seconds
            try:
                said.put(model.add_speaker(name, waveforms, model.sample_rate, seconds=limit, progress=progress))
            except BaseException as error:  # noqa: BLE001 - raised again by whoever asked
                said.put(error)

        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        try:
            while True:
                news = said.get()
                if isinstance(news, BaseException):
                    raise news
                yield news
                if isinstance(news, VQVAE):
                    return
        finally:
            gone.set()
            worker.join()

    def between(self, model: VQVAE, voice: Voice) -> tuple[VQVAE, str]:
        """A model that has this voice, and what it is called there."""
        if isinstance(voice, str):
            model.speaker_index(voice)
            return model, voice
        weights = _weights_of(voice)
        for name in weights:
            model.speaker_index(name)
        sounding = [name for name, weight in weights.items() if weight > 0]
        if len(sounding) == 1:
            return model, sounding[0]
        return model.blend(MORPH, weights), MORPH

    def most_units(self, model: VQVAE) -> int:
        """That are spoken at once."""
        return round(self.limits.speech_seconds * model.unit_rate_hz) + 1

    def _checked(self, model: VQVAE, units: Any) -> Units:
        most = self.most_units(model)
        try:
            array = np.asarray(units)
        except ValueError:  # rows of different lengths
            raise UserError("units of groups with different lengths; expected a list of equally long ones") from None
        if array.shape[-1:] > (most,):
            raise UserError(
                f"{array.shape[-1]} units; expected at most {most}: {self.limits.speech_seconds:.0f} seconds"
            )
        if array.ndim == 2 and len(model.track_sizes) == 1 and len(array) == 1:
            array = array[0]
        return model.codec.checked(array)

    def _manner(self, model: VQVAE, voice: Voice) -> str:
        """The prior's speaker for a voice, of one between voices for the one that has most of it."""
        assert self.prior is not None
        if not isinstance(voice, str):
            _, voice = max((weight, name) for name, weight in _weights_of(voice).items())
        return self.prior.manner_of(model, voice)

    def _new_name(self, model: VQVAE, name: Any) -> str:
        if not isinstance(name, str) or not 0 < len(name.strip()) <= LONGEST_NAME:
            raise UserError(f"a voice needs a name of 1 to {LONGEST_NAME} characters")
        if len(model.speakers) - len(self.model.speakers) >= self.limits.voices:
            raise UserError(f"you have {self.limits.voices} voices already; reload the page to begin again")
        model.check_new_speaker(name.strip())
        return name.strip()


def _encoded(model: VQVAE, source: Source) -> Encoding:
    with torch_threads(1):
        (encoding,) = encode_sources(model.codec, [source], threads=1)
    return encoding


def _f0(model: VQVAE, encoding: Encoding) -> F0:
    """Of the recording itself, `(units,)`; empty of models without pitch."""
    if encoding.statistics.pitch_range is None:
        return np.zeros(0, np.float32)
    return contour_of(encoding.sequence.units[-1], encoding.statistics.pitch_range, model.pitch_classes)


def _weights_of(voice: Any) -> dict[str, float]:
    if not isinstance(voice, Mapping) or not 1 <= len(voice) <= MOST_BETWEEN:
        raise UserError(f"{str(voice)[:80]!r} is no voice; expected a name, or an object of names and weights")
    weights = {name: _number(weight, "a weight") for name, weight in voice.items()}
    if min(weights.values()) < 0 or sum(weights.values()) <= 0:
        raise UserError(f"weights of {', '.join(map(str, weights.values()))}; expected none below 0, one above it")
    return weights


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < float("inf"):
        raise UserError(f"{str(value)[:40]!r} for {what}; expected a number")
    return float(value)


def _whole(value: Any, what: str, above: int, least: int = 0) -> int:
    number = value if isinstance(value, int) and not isinstance(value, bool) else _number(value, what)
    if number != int(number) or not least <= number < above:
        raise UserError(f"{str(value)[:40]} for {what}; expected a whole number from {least} to {above - 1}")
    return int(number)
