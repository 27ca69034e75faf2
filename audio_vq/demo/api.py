"""The service as functions of a Gradio server: for the page, and under names for programs (`gradio_client`).

from gradio_client import Client, handle_file
client = Client("http://127.0.0.1:7860")
file = client.predict(handle_file("hello.wav"), "slt", api_name="/convert")

Nothing here draws anything: Gradio brings the queue, uploads, sessions and their ends.
"""

import base64
import secrets
import time
from collections.abc import Callable, Iterator
from functools import wraps
from inspect import isgeneratorfunction
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio.exceptions import InvalidPathError

from audio_vq.audio.files import write_audio
from audio_vq.audio.waveform import Waveform, to_pcm16
from audio_vq.codec.melody import Melody
from audio_vq.demo.service import Service, Voice
from audio_vq.errors import UserError
from audio_vq.pretrained import VQVAE
from audio_vq.units import UnitSequence

COMPUTING, LEARNING = "computing", "learning"  # one of each at a time: a voice is learned beside what is spoken
UPLOADS_ONLY = "recordings are uploaded: no path is read, and no address fetched"
SWEEP_SECONDS = 300  # how often what is old is deleted
PAGE_ONLY = ("listen", "example", "speak", "go_on", "learn")  # what only the page calls


def build_api(service: Service, examples: Callable[[], list[Any]], results: Path) -> gr.Blocks:
    """All functions; `examples` are those there are by now, `results` a folder for sounds that programs ask for."""
    limits, calls = service.limits, Calls(service, examples, results)
    with _Api(
        analytics_enabled=False, title="audio_vq", delete_cache=(SWEEP_SECONDS, round(limits.forgotten_after_seconds))
    ) as blocks:
        own = gr.State(None, time_to_live=limits.forgotten_after_seconds)  # a visitor's model, where voices were added
        recording = gr.Audio(type="filepath", label="recording")
        recordings = gr.File(type="filepath", file_count="multiple", label="recordings")
        voice, other, name = gr.Textbox(label="voice"), gr.Textbox(label="other"), gr.Textbox(label="name")
        share, pitch, seed = gr.Number(0.5, label="share"), gr.Number(0, label="pitch"), gr.Number(0, label="seed")
        seconds, takes = gr.Number(3, label="seconds"), gr.Number(1, label="takes")
        temperature, flat = gr.Number(1, label="temperature"), gr.Checkbox(value=False, label="flat")
        units, asked, answer = gr.JSON(label="units"), gr.JSON(label="asked"), gr.JSON()
        sound, sounds, trigger = gr.File(), gr.File(file_count="multiple"), gr.Button()

        def offer(call: Callable[..., Any], inputs: list[Any], outputs: list[Any], group: str = COMPUTING) -> None:
            called = call.__name__.rstrip("_")
            trigger.click(
                _in_one_line(call),
                inputs,
                outputs,
                api_name=called,
                api_visibility="private" if called in PAGE_ONLY else "public",
                concurrency_limit=1,
                concurrency_id=group,
            )

        offer(calls.voices, [own], [answer])
        offer(calls.encode, [recording, own], [answer])
        offer(calls.decode, [units, voice, seed, own], [sound])
        offer(calls.convert, [recording, voice, pitch, flat, seed, own], [sound])
        offer(calls.morph, [recording, voice, other, share, pitch, flat, seed, own], [sound])
        offer(calls.continue_, [recording, voice, seconds, takes, temperature, seed, own], [sounds, answer])
        offer(calls.add_speaker, [name, recordings, own], [answer, own], LEARNING)
        offer(calls.listen, [recording, own], [answer])
        offer(calls.example, [asked, own], [answer])
        offer(calls.speak, [asked, own], [answer])
        offer(calls.go_on, [asked, own], [answer])
        offer(calls.learn, [name, recording, own], [answer, own], LEARNING)
    for block in blocks.blocks.values():
        _accept_uploads_only(block)
    blocks.queue(max_size=limits.waiting, api_open=False, default_concurrency_limit=1)
    return blocks


class _Api(gr.Blocks):
    """Says in one line, without a traceback of ours, that a file was named that nobody has uploaded."""

    async def preprocess_data(self, *given: Any, **options: Any) -> Any:
        try:
            return await super().preprocess_data(*given, **options)
        except InvalidPathError:
            raise gr.Error(UPLOADS_ONLY, print_exception=False) from None


class Calls:
    """What is offered, each with what Gradio hands in: `own` is the visitor's model, or None."""

    def __init__(self, service: Service, examples: Callable[[], list[Any]], results: Path) -> None:
        self._service, self._examples, self._results = service, examples, results

    def voices(self, own: VQVAE | None) -> list[dict[str, Any]]:
        """All voices: name, gender, corpus and the median of their pitch in hertz."""
        return self._service.voices(self._model(own))

    def encode(self, recording: str, own: VQVAE | None) -> dict[str, Any]:
        """A recording as units: an object as in the lines of a units file."""
        return _as_json(self._service.encode(self._model(own), _given(recording)))

    def decode(self, units: Any, voice: str, seed: float, own: VQVAE | None) -> str:
        """Units, an object as of /encode or a list, in a voice: a WAV file."""
        return self._written(own, *_spoken(self._service, self._model(own), units, voice, seed))

    def convert(self, recording: str, voice: str, pitch: float, flat: bool, seed: float, own: VQVAE | None) -> str:
        """What a recording says, in another voice: a WAV file, as `audio-vq convert` makes it."""
        model, melody = self._model(own), Melody(_shift(pitch), flat)
        return self._written(own, self._service.convert(model, _given(recording), voice, melody, seed), voice)

    def morph(
        self,
        recording: str,
        voice: str,
        other: str,
        share: float,
        pitch: float,
        flat: bool,
        seed: float,
        own: VQVAE | None,
    ) -> str:
        """As /convert, in a voice between two: `share`, 0 to 1, of the other."""
        model, melody, weights = self._model(own), Melody(_shift(pitch), flat), _weights(voice, other, share)
        waveform = self._service.convert(model, _given(recording), weights, melody, seed)
        return self._written(own, waveform, f"{voice}_{other}")

    def continue_(
        self,
        recording: str,
        voice: str,
        seconds: float,
        takes: float,
        temperature: float,
        seed: float,
        own: VQVAE | None,
    ) -> tuple[list[str], list[Any]]:
        """Goes on where a recording ends, in any voice: a WAV file for each take, with the recording, and new units."""
        service, model = self._service, self._model(own)
        begun = service.encode(model, _given(recording)).units
        drawn = service.go_on(model, begun, voice, seconds, takes, temperature, seed)
        wholes = [np.concatenate([begun, each], -1)[..., -service.most_units(model) :] for each in drawn]
        files = [self._written(own, *_spoken(service, model, each.tolist(), voice, seed)) for each in wholes]
        return files, [each.tolist() for each in drawn]

    def add_speaker(self, name: str, recordings: list[str], own: VQVAE | None) -> Iterator[tuple[Any, VQVAE | None]]:
        """Learns a new voice of recordings, which then is known to all that this client asks: how far it is."""
        files = [_given(each) for each in recordings or []]
        if not files:
            raise UserError("no recordings; send a minute of somebody's speech, in one file or several")
        yield from self._learned(name, files, own)

    def learn(self, name: str, recording: str, own: VQVAE | None) -> Iterator[tuple[Any, VQVAE | None]]:
        yield from self._learned(name, [_given(recording)], own)

    def listen(self, recording: str, own: VQVAE | None) -> dict[str, Any]:
        return self._service.listen(self._model(own), _given(recording)).as_json()

    def example(self, asked: Any, own: VQVAE | None) -> dict[str, Any]:
        number, known = _field(asked, "number", int), self._examples()
        if not 0 <= number < len(known):
            raise UserError("this example is not made yet; try again in a moment")
        return self._service.example(self._model(own), known[number].waveform).as_json()

    def speak(self, asked: Any, own: VQVAE | None) -> Iterator[dict[str, Any]]:
        """16-bit samples, block by block, base64; with how many seconds it took to make those until then."""
        began, model = time.monotonic(), self._model(own)
        melody = Melody(_shift(_field(asked, "pitch", int | float, 0)), _field(asked, "flat", bool, default=False))
        units, voice = _field(asked, "units", list), _field(asked, "voice", str | dict)
        num_samples, seed = _field(asked, "num_samples", int, None), _field(asked, "seed", int, 0)
        for block in self._service.speak(model, units, voice, melody, seed, num_samples):
            pcm = base64.b64encode(to_pcm16(block).tobytes()).decode()
            yield {"pcm": pcm, "took": round(time.monotonic() - began, 3)}

    def go_on(self, asked: Any, own: VQVAE | None) -> dict[str, Any]:
        began, units = time.monotonic(), _field(asked, "units", list)
        voice, seconds = _field(asked, "voice", str | dict), _field(asked, "seconds", int | float)
        takes, temperature = _field(asked, "takes", int), _field(asked, "temperature", int | float)
        seed = _field(asked, "seed", int, 0)
        drawn = self._service.go_on(self._model(own), units, voice, seconds, takes, temperature, seed)
        return {"takes": [np.atleast_2d(each).tolist() for each in drawn], "took": round(time.monotonic() - began, 3)}

    def _model(self, own: VQVAE | None) -> VQVAE:
        return self._service.model if own is None else own

    def _learned(self, name: str, files: list[Path], own: VQVAE | None) -> Iterator[tuple[Any, VQVAE | None]]:
        for news in self._service.add_voice(self._model(own), name, files):
            if isinstance(news, VQVAE):
                yield {"done": True, "name": news.speakers[-1], "voices": self._service.voices(news)}, news
            else:
                yield {"done": False, **vars(news)}, own

    def _written(self, own: VQVAE | None, waveform: Waveform, name: str) -> str:
        file = self._results / secrets.token_urlsafe(16) / f"{name}.wav"
        write_audio(file, waveform, self._model(own).sample_rate)
        return str(file)


def _spoken(service: Service, model: VQVAE, units: Any, voice: Voice, seed: float) -> tuple[Waveform, str]:
    """The waveform and a name for it; units as `encode` says them, or alone."""
    num_samples = None
    if isinstance(units, dict):
        num_samples = _field(units, "num_samples", int, None)
        groups, pitch = _field(units, "units", list), _field(units, "pitch", list, None)
        units = groups if pitch is None else [*(groups if model.groups > 1 else [groups]), pitch]
    blocks = service.speak(model, units, voice, Melody(), seed, num_samples)
    return np.concatenate([np.zeros(0, np.float32), *blocks]), str(voice)


def _as_json(sequence: UnitSequence) -> dict[str, Any]:
    groups, pitch = sequence.groups, sequence.pitch
    record: dict[str, Any] = {
        name: getattr(sequence, name) for name in ("sample_rate", "hop_length", "num_samples", "fingerprint")
    }
    record["units"] = groups.tolist() if len(groups) > 1 else groups[0].tolist()
    return record if pitch is None else {**record, "pitch": pitch.tolist()}


def _weights(voice: str, other: str, share: float) -> Voice:
    if not isinstance(share, int | float) or not 0 <= share <= 1:
        raise UserError(f"a share of {share}; expected 0, all of {voice}, to 1, all of {other}")
    return {voice: 1 - share, other: share} if voice != other else voice


def _shift(semitones: float | None) -> float:
    return float(semitones or 0)  # Gradio hands in None for what is left out


def _given(file: str | None) -> Path:
    if not file:
        raise UserError("no recording; send a file")
    return Path(file)


def _field(asked: Any, name: str, kind: Any, default: Any = ...) -> Any:
    value = asked.get(name, default) if isinstance(asked, dict) else ...
    if value is default and default is not ...:
        return default
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise UserError(f"{name} is missing, or of another kind than it should be")
    return value


def _in_one_line(call: Callable[..., Any]) -> Callable[..., Any]:
    """A user's mistake is said as it is; for all else Gradio says that something went wrong, and we see a traceback."""
    if isgeneratorfunction(call):

        @wraps(call)
        def streamed(*given: Any) -> Iterator[Any]:
            try:
                yield from call(*given)
            except UserError as error:
                raise gr.Error(str(error), print_exception=False) from None

        return streamed

    @wraps(call)
    def called(*given: Any) -> Any:
        try:
            return call(*given)
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from None

    return called


def _accept_uploads_only(block: Any) -> None:
    """Gradio would fetch what a visitor names by an address: nothing is fetched for anybody."""
    move = block.async_move_resource_to_block_cache

    async def move_local(resource: Any) -> Any:
        if "://" in str(resource):
            raise gr.Error(UPLOADS_ONLY, print_exception=False)
        return await move(resource)

    block.async_move_resource_to_block_cache = move_local
