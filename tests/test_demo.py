"""What the web page can do, without a browser: the same as the model, within limits, and nothing else."""

import asyncio
import dataclasses
import json
import threading
import time

import numpy as np
import pytest
import soundfile
import torch
from test_encoding import ENCODERS, buzz, model_with, noise, voice

from audio_vq import UnitPrior
from audio_vq.audio.files import read_audio, write_audio
from audio_vq.checkpoint import CheckpointInfo
from audio_vq.codec import fitting
from audio_vq.codec.melody import Melody
from audio_vq.config import PriorConfig, as_dict
from audio_vq.demo import examples
from audio_vq.demo.guard import LOOPBACK, Guard
from audio_vq.demo.limits import Limits
from audio_vq.demo.pictures import MELS, picture_of, unit_colours
from audio_vq.demo.service import Service
from audio_vq.errors import UserError
from audio_vq.models.prior import build_prior

httpx = pytest.importorskip("httpx", reason="gradio is not installed (extra demo)")
LIMITS = Limits(upload_bytes=1 << 20, speech_seconds=4.0, upload_seconds=0.5, request_bytes=1 << 16)


def prior_of(model):
    config = PriorConfig(layers=1, heads=2, channels=16, context=64, dropout=0.0)
    about = ("unit_rate_hz", "codebook_size", "sample_rate", "hop_length", "fingerprint")
    data = {**{name: getattr(model, name) for name in about}, "track_sizes": list(model.track_sizes)}
    torch.manual_seed(0)
    network = build_prior(config, model.track_sizes, 2)
    return UnitPrior(network, config, CheckpointInfo("prior", as_dict(config), ("ben", "ann"), data))


@pytest.fixture(scope="module")
def service():
    model = model_with(ENCODERS["voice"], groups=2, pitch=9, bands=4, speaker_channels=4)
    return Service(model, prior_of(model), LIMITS)


@pytest.fixture
def recording(tmp_path):
    file = tmp_path / "hello.wav"
    write_audio(file, np.concatenate([buzz(), noise(5000), buzz(0.4)]), 16000)
    return file


QUICK = {"STEPS": 4, "CROPS": 2, "STEPS_PER_VALIDATION": 2, "VALIDATION_CROPS": 1}  # of fitting: enough to be seen


def speech_in(folder):
    """A file with enough speech to learn a voice."""
    file = folder / "speech.wav"
    write_audio(file, np.concatenate([buzz(1.0, 100 + 5 * i, 140) for i in range(6)]), 16000)
    return file


@pytest.fixture
def speech(tmp_path):
    return speech_in(tmp_path)


def spoken(service, *given, **options):
    return np.concatenate(list(service.speak(service.model, *given, **options)))


def test_what_is_streamed_is_what_the_model_converts(service, recording):
    """With and without a melody: the page's blocks, end to end, are `VQVAE.convert`'s samples, and so is /convert."""
    model, heard = service.model, read_audio(recording, 16000).waveform
    picture = service.listen(model, recording)
    for melody in (Melody(), Melody(3.0), Melody(flat=True)):
        expected = model.convert(heard, 16000, "ben", seed=2, pitch=melody.shift, flat=melody.flat)
        streamed = spoken(service, picture.units.tolist(), "ben", melody, seed=2, num_samples=len(heard))
        np.testing.assert_array_equal(streamed, expected)
        np.testing.assert_array_equal(service.convert(model, recording, "ben", melody, seed=2), expected)


@pytest.mark.parametrize("make", [voice, lambda: model_with(ENCODERS["filterbank"])])
def test_a_picture_shows_the_recording(make, recording):
    model = make()
    picture = Service(model).listen(model, recording)
    waveform = read_audio(recording, 16000).waveform
    np.testing.assert_array_equal(picture.units, np.atleast_2d(model.encode(waveform, 16000)))
    levels = np.frombuffer(picture.spectrogram, np.uint8).reshape(-1, MELS)
    assert len(levels) == 1 + len(waveform) // 160
    assert levels.max() == 255
    assert json.loads(json.dumps(picture.as_json()))["seconds"] == pytest.approx(len(waveform) / 16000)
    if model.pitch_classes:
        voiced = picture.f0[picture.f0 > 0]
        assert 90 < np.median(voiced) < 180  # the buzz glides from 100 to 160 Hz
        assert " hertz" in picture.text
    else:
        assert picture.f0.size == 0


def test_silence_has_a_picture():
    units = np.zeros((3, 10), np.int64)
    picture = picture_of(np.zeros(3200, np.float32), 16000, units, np.zeros(10, np.float32))
    assert picture.text == "0.2 seconds of sound as 10 units, 1 of them different."


def test_like_units_have_like_colours():
    """Two clusters of units: colours within one are nearer than across."""
    random = np.random.default_rng(0)
    centres = np.repeat(5 * random.standard_normal((2, 8)), 8, axis=0)
    codebook = (centres + 0.01 * random.standard_normal((16, 8))).astype(np.float32)
    (colours,) = unit_colours(codebook[None])
    values = np.array([[float(part) for part in each[6:-1].split()] for each in colours])
    hue = np.exp(1j * np.radians(values[:, 2]))
    within, across = np.abs(hue[:8] - hue[0]).max(), np.abs(hue[8:] - hue[0]).min()
    assert within < across
    assert ((values[:, 0] > 0.6) & (values[:, 0] < 0.9)).all()  # dark text is read on all of them


@pytest.mark.parametrize("with_prior", [True, False])
def test_examples_are_the_models_own(service, with_prior, monkeypatch):
    monkeypatch.setattr(examples, "SECONDS", 0.5)
    made = examples.make_examples(service if with_prior else Service(service.model, None, LIMITS))
    assert [each.name for each in made] == ["ann", "ben"]
    for each in made:
        assert len(each.waveform) / 16000 == pytest.approx(0.5, abs=0.1)
        assert each.waveform.std() > 0


def test_the_prior_goes_on_in_any_voice(service):
    units = np.stack([np.arange(40) % size for size in service.model.track_sizes])
    ben = service.go_on(service.model, units.tolist(), "ben", 0.5, 2, seed=1)
    assert [each.shape for each in ben] == [(3, round(0.5 * service.model.unit_rate_hz))] * 2
    # a voice that the prior does not know goes on in the manner of the one with the nearest pitch
    stranger = service.go_on(service.model, units.tolist(), {"ann": 0.1, "ben": 0.9}, 0.5, 2, seed=1)
    np.testing.assert_array_equal(stranger, ben)


def test_a_voice_between_others(service):
    """Is the model's blend; at the ends, the others themselves."""
    model, units = service.model, [[3] * 30, [5] * 30, [4] * 30]
    np.testing.assert_array_equal(
        spoken(service, units, {"ann": 0.0, "ben": 2.0}, Melody()), model.decode(units, "ben")
    )
    between = model.blend("both", {"ann": 0.3, "ben": 0.7}).decode(units, "both")
    np.testing.assert_array_equal(spoken(service, units, {"ann": 3, "ben": 7}, Melody()), between)
    assert (between != model.decode(units, "ben")).any()


@pytest.fixture
def quick(monkeypatch):
    for name, value in QUICK.items():
        monkeypatch.setattr(fitting, name, value)


@pytest.mark.usefixtures("quick")
def test_a_new_voice_is_its_visitors(service, speech):
    """It is learned with news on the way, spoken and refused a second time; the model of all others stays."""
    *news, learned = service.add_voice(service.model, " zoë ", [speech])
    assert [each.step for each in news] == sorted(each.step for each in news)
    assert news
    assert learned.speakers == ("ann", "ben", "zoë")
    assert service.model.speakers == ("ann", "ben")
    assert service.voices(learned)[-1]["corpus"] == "yours"
    units = [[3] * 30, [5] * 30, [4] * 30]
    own = np.concatenate(list(service.speak(learned, units, "zoë", Melody())))
    assert (own != spoken(service, units, "ben", Melody())).any()
    np.testing.assert_array_equal(  # the prior, which knows it not, goes on in the manner of the nearest in pitch
        service.go_on(learned, units, "zoë", 0.1, 1), service.go_on(learned, units, "ben", 0.1, 1)
    )
    for model, name, expected in (
        (learned, "zoë", "knows a speaker"),
        (learned, "ann", "knows a speaker"),
        (learned, "../x", "cannot name a file"),
        (learned, "", "1 to 40 characters"),
        (learned, "x" * 41, "1 to 40 characters"),
        (learned, None, "1 to 40 characters"),
    ):
        with pytest.raises(UserError, match=expected):
            next(service.add_voice(model, name, [speech]))
    few = dataclasses.replace(service, limits=dataclasses.replace(LIMITS, voices=1))
    with pytest.raises(UserError, match="1 voices already"):
        next(few.add_voice(learned, "one more", [speech]))
    with pytest.raises(UserError, match="longer than 4 seconds"):
        short = dataclasses.replace(service, limits=dataclasses.replace(LIMITS, voice_seconds=4.0))
        next(short.add_voice(service.model, "zoë", [speech]))


@pytest.mark.usefixtures("quick")
def test_learning_ends_with_its_visitor(service, speech):
    threads = threading.active_count()
    learning = service.add_voice(service.model, "zoë", [speech])
    first = next(learning)
    assert first.step < first.steps
    learning.close()
    assert threading.active_count() == threads


def test_what_makes_no_sense_is_said_in_one_line(service, recording, tmp_path):
    model, units = service.model, [[0] * 8, [0] * 8, [0] * 8]
    long = [[0] * 1000] * 3

    def speak(units, voice="ann", melody=None, **options):
        return lambda: spoken(service, units, voice, melody or Melody(), **options)

    def go_on(seconds=1.0, takes=1, temperature=1.0, units=units):
        return lambda: service.go_on(model, units, "ann", seconds, takes, temperature)

    for attempt, expected in (
        (speak(units, "bob"), "known: ann, ben"),
        (speak(units, None), "is no voice"),
        (speak(units, {}), "is no voice"),
        (speak(units, {"ann": "x"}), "for a weight; expected a number"),
        (speak(units, {"ann": float("nan")}), "expected a number"),
        (speak(units, {"ann": -1.0, "ben": 2.0}), "none below 0"),
        (speak(units, {"ann": 0.0}), "one above it"),
        (speak(units, {"ann": 1.0, "<b>": 0.0}), "known: ann, ben"),
        (speak(long), f"1000 units; expected at most {round(4 * model.unit_rate_hz) + 1}: 4 seconds"),
        (speak([[0], [0, 1], [2]]), "different lengths"),
        (speak([[0.5], [0], [0]]), "whole numbers"),
        (speak([[99], [0], [0]]), "do not fit"),
        (speak("units"), "units of shape"),
        (speak({"path": "/etc/passwd"}), "units of shape"),
        (speak([]), "units of shape"),
        (speak(units, seed=-1), "for a seed"),
        (speak(units, seed=0.5), "for a seed"),
        (speak(units, num_samples=-1), "for samples"),
        (go_on(0.0), "0 seconds"),
        (go_on(float("inf")), "expected a number"),
        (go_on(11), "up to 10"),
        (go_on(takes=5), "from 1 to 4"),
        (go_on(takes=True), "expected a number"),
        (go_on(temperature=0.0), "0.1 to 2"),
        (go_on(units=[]), "units of shape"),
        (lambda: Service(model).go_on(model, units, "ann", 1.0, 1), "--prior"),
    ):
        with pytest.raises(UserError, match=expected) as caught:
            attempt()
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 200


def files_to_refuse(folder):
    """Name → what is wrong with the file, and what is said of it."""
    hour = np.zeros(8000 * 3600, np.int16)
    files = {
        "hour.flac": ((hour, 8000), "longer than 4 seconds .60 minutes."),
        "nan.wav": ((np.full(8000, np.nan, np.float32), 16000), "NaN"),
        "empty.wav": ((np.zeros(0, np.float32), 16000), "no samples"),
        "channels.wav": ((np.zeros((10, 64), np.float32), 16000), "64 channels"),
        "slow.wav": ((np.zeros(100, np.float32), 100), "at 100 Hz"),
    }
    for name, ((samples, rate), _) in files.items():
        soundfile.write(folder / name, samples, rate, subtype="FLOAT" if name == "nan.wav" else None)
    for name, content in (("text.wav", b"hello"), ("page.wav", b"<script>alert(1)</script>" * 99), ("zero.wav", b"")):
        (folder / name).write_bytes(content)
        files[name] = (None, "not audio")
    return {folder / name: expected for name, (_, expected) in files.items()}


def test_files_are_read_with_care(service, tmp_path):
    for file, expected in files_to_refuse(tmp_path).items():
        began = time.monotonic()
        with pytest.raises(UserError, match=expected) as caught:
            service.listen(service.model, file)
        assert time.monotonic() - began < 2
        assert str(tmp_path) not in str(caught.value)


def test_a_length_that_is_not_what_the_file_says(service, tmp_path):
    """A header that promises little, as of a compressed file that holds hours: decoding stops soon after the limit."""
    file = tmp_path / "long.flac"
    soundfile.write(file, np.zeros(8000 * 600, np.int16), 8000)
    data = bytearray(file.read_bytes())
    assert data[:4] == b"fLaC"
    data[21] &= 0xF0  # the header's number of samples, 36 bits: 0 is "unknown"
    data[22:26] = b"\0\0\0\0"
    file.write_bytes(data)
    began = time.monotonic()
    with pytest.raises(UserError, match=r"longer than 4 seconds|no samples"):
        service.listen(service.model, file)
    assert time.monotonic() - began < 2


def test_work_ends_when_its_time_is_over(service):
    hurried = dataclasses.replace(service, limits=dataclasses.replace(LIMITS, computing_seconds=0.0))
    with pytest.raises(UserError, match="longer than 0 seconds"):
        list(hurried.speak(service.model, [[0] * 100] * 3, "ann", Melody()))


# What reaches the server ----------------------------------------------------------------------------------------------


def sent(path="/gradio_api/upload", uploads=None, hosts=LOOPBACK, method="POST", **request):
    """The answer of a guarded application that reads all it is sent."""

    async def application(scope, receive, send):
        more = True
        while more:
            more = (await receive()).get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"taken"})

    async def ask():
        guard = Guard(application, LIMITS, ("/", "/parts/", "/examples"), uploads, hosts)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://127.0.0.1:7860") as client:
            return await client.request(method, path, **request)

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/parts/page.js", 200),
        ("/examples", 200),
        ("/config", 200),
        ("/gradio_api/queue/join", 200),
        ("/gradio_api/file=/tmp/a", 200),  # Gradio's to judge
        ("/partsx", 404),
        ("/examples/../docs", 404),
        ("/gradio_api/proxy=http://example.com", 404),
        ("/gradio_api/component_server", 404),
        ("/gradio_api/run/convert", 404),
        ("/gradio_api/openapi.json", 404),
        ("/gradio_api", 404),
        ("/monitoring", 404),
        ("/static/img/logo.svg", 404),
        ("/docs", 404),
    ],
)
def test_few_paths_are_answered(path, status):
    answer = sent(path, method="GET")
    assert answer.status_code == status
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "127.0.0.1" not in answer.text


def test_other_pages_and_names_are_refused(tmp_path):
    """A page elsewhere, and a name of the web that was made to point at this machine (DNS rebinding)."""
    for headers, hosts, status in (
        ({"Host": "evil.example"}, LOOPBACK, 421),
        ({"Host": "evil.example:7860"}, LOOPBACK, 421),
        ({"Host": "localhost:7860"}, LOOPBACK, 200),
        ({"Host": "[::1]:7860"}, LOOPBACK, 200),
        ({"Host": "speech.example"}, (), 200),
        ({"Origin": "http://evil.example"}, LOOPBACK, 403),
        ({"Origin": "null"}, LOOPBACK, 403),
        ({"Origin": "http://127.0.0.1:7860"}, LOOPBACK, 200),
    ):
        assert sent(uploads=tmp_path, headers=headers, hosts=hosts).status_code == status, headers


def test_too_much_is_not_taken(tmp_path):
    """By its stated length, by what comes, by how long it takes, and when the folder is full."""

    async def bytes_of(count, size, pause=0.0):
        for _ in range(count):
            await asyncio.sleep(pause)
            yield b"0" * size

    assert sent(uploads=tmp_path, content=b"0" * (1 << 20)).status_code == 200
    assert sent(uploads=tmp_path, content=b"0" * (2 << 20)).status_code == 413
    assert sent(uploads=tmp_path, content=bytes_of(20, 1 << 17)).status_code == 413
    assert sent(uploads=tmp_path, content=bytes_of(20, 1, pause=0.1)).status_code == 413
    assert sent("/gradio_api/queue/join", content=b"0" * (1 << 17)).status_code == 413
    assert sent("/gradio_api/queue/join", content=bytes_of(2, 1 << 16)).status_code == 413
    with (tmp_path / "old").open("wb") as file:
        file.truncate(LIMITS.stored_bytes + 1)
    assert sent(uploads=tmp_path, content=b"0").status_code == 507
