"""The command `demo`: programs that ask it, visitors of good and ill will, and the page in a real browser."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from matplotlib.image import imread
from test_cli import mistake
from test_demo import QUICK, prior_of, speech_in
from test_encoding import ENCODERS, buzz, model_with, noise

from audio_vq.audio.files import read_audio, wav_bytes, write_audio
from audio_vq.checkpoint import save_checkpoint

gradio_client = pytest.importorskip("gradio_client", reason="gradio is not installed (extra demo)")
httpx = pytest.importorskip("httpx")
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for name in NAMES if (path := shutil.which(name))), None)
FLAGS = (
    "--headless=new --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --use-fake-ui-for-media-stream --use-fake-device-for-media-stream"
)
MOST_LOAD_SECONDS = 5.0  # generous, since machines under test are busy; alone it is a third of a second
QUICKLY = f"""
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # which work in a shell's background ignores
from audio_vq.codec import fitting
vars(fitting).update({QUICK})
from audio_vq.cli.main import main
main()
"""


@dataclass(frozen=True)
class Server:
    address: str
    model: Path
    folder: Path  # TMPDIR, below which uploads lie


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    file = tmp_path_factory.mktemp("recording") / "hello.wav"
    write_audio(file, np.concatenate([buzz(), noise(5000), buzz(0.4)]), 16000)
    return file


@pytest.fixture
def speech(tmp_path):
    return speech_in(tmp_path)


@pytest.fixture(scope="module")
def model():
    return model_with(ENCODERS["voice"], groups=2, pitch=9, bands=4, speaker_channels=4)


@pytest.fixture(scope="module")
def server(model, tmp_path_factory):
    """The command itself; in the end, Ctrl-C ends it quietly and leaves nothing behind."""
    folder, prior = tmp_path_factory.mktemp("demo"), prior_of(model)
    model.save_pretrained(folder / "model")
    save_checkpoint(folder / "prior", prior.info, prior.network.state_dict())
    temporary = Path(tempfile.mkdtemp(prefix="demo", dir=folder))
    command = [sys.executable, "-c", QUICKLY, "demo", folder / "model"]
    options = ["--prior", folder / "prior", "--no-open", "--port", "0", "--device", "cpu"]
    environment = {**os.environ, "TMPDIR": str(temporary), "NUMBA_CACHE_DIR": os.environ.get("NUMBA_CACHE_DIR", "")}
    with subprocess.Popen(
        [*map(str, command), *map(str, options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in environment.items() if value},
    ) as process:
        address = process.stdout.readline().strip()
        try:
            if address:
                yield Server(address, folder / "model", temporary)
        finally:
            process.send_signal(signal.SIGINT)
            rest, errors = process.communicate(timeout=60)
    assert address.startswith("http://127.0.0.1:"), errors
    assert process.returncode == 130, errors
    assert rest == ""
    assert [each.name for each in temporary.iterdir() if each.name.startswith("audio-vq")] == []


@pytest.fixture(scope="module")
def client(server):
    asking = gradio_client.Client(server.address, verbose=False)
    yield asking
    asking.close()


def asked(client, *given, **options):
    given = [gradio_client.handle_file(str(each)) if isinstance(each, Path) else each for each in given]
    return client.predict(*given, **options)


def read_pcm(file):
    return soundfile.read(file, dtype="int16")[0]


def pcm_of(waveform):
    return read_pcm(io.BytesIO(wav_bytes(waveform, 16000)))


def test_programs_ask_for_the_same(client, model, recording):
    heard = read_audio(recording, 16000).waveform
    assert [each["name"] for each in asked(client, api_name="/voices")] == ["ann", "ben"]
    sequence = asked(client, recording, api_name="/encode")
    np.testing.assert_array_equal([*sequence["units"], sequence["pitch"]], model.encode(heard, 16000))
    assert sequence["fingerprint"] == model.fingerprint
    converted = asked(client, recording, "ben", 2, True, 3, api_name="/convert")
    expected = model.convert(heard, 16000, "ben", seed=3, pitch=2, flat=True)
    np.testing.assert_array_equal(read_pcm(converted), pcm_of(expected))
    decoded = asked(client, sequence, "ben", api_name="/decode")
    np.testing.assert_array_equal(read_pcm(decoded), pcm_of(model.convert(heard, 16000, "ben")))
    between = asked(client, recording, "ann", "ben", 0.7, api_name="/morph")
    blended = model.blend("both", {"ann": 0.3, "ben": 0.7})
    np.testing.assert_array_equal(read_pcm(between), pcm_of(blended.convert(heard, 16000, "both")))
    sounds, units = asked(client, recording, "ann", 0.5, 2, api_name="/continue")
    assert len(sounds) == len(units) == 2
    longer = len(read_pcm(sounds[0])) - len(sequence["pitch"]) * model.hop_length
    assert longer == len(units[0][0]) * model.hop_length == 8000


def test_a_program_adds_a_voice_that_only_it_knows(server, client, recording, speech):
    files = [gradio_client.handle_file(str(speech))]
    learned = asked(client, "zoë", files, api_name="/add_speaker")
    assert learned["voices"][-1]["name"] == learned["name"] == "zoë"
    assert len(read_pcm(asked(client, recording, "zoë", api_name="/convert")))
    stranger = gradio_client.Client(server.address, verbose=False)
    with pytest.raises(gradio_client.exceptions.AppError, match="unknown speaker 'zoë'"):
        asked(stranger, recording, "zoë", api_name="/convert")
    stranger.close()


def test_mistakes_reach_a_program_in_one_line(client, recording, tmp_path):
    text = tmp_path / "text.wav"
    text.write_text("hello")
    for given, expected in (
        ((recording, "<b>bob</b>"), "unknown speaker '<b>bob</b>'; known: ann, ben"),
        ((text, "ann"), "the recording is not audio"),
        ((recording, "ann", 100), "semitones"),
        ((None, "ann"), "no recording"),
    ):
        with pytest.raises(gradio_client.exceptions.AppError, match=expected):
            asked(client, *given, api_name="/convert")


def test_nothing_that_is_sent_names_a_path_or_an_address(server, client, recording):
    """Straight to the queue, as no client of good will does it: in a file's place, and hidden in others' places."""
    numbers = {each["api_name"]: each["id"] for each in client.config["dependencies"]}
    before = stored(server)
    for place in (recording, f"../../../../../..{recording}", f"file://{recording}", f"{server.address}/parts/page.js"):
        file = {"path": str(place), "meta": {"_type": "gradio.FileData"}}
        for name, data in (
            ("convert", [file, "ann", 0, False, 0, None]),
            ("convert", [{**file, "path": "", "url": str(place)}, "ann", 0, False, 0, None]),
            ("decode", [file, "ann", 0, None]),
            ("decode", [[[file]], "ann", 0, None]),
            ("speak", [{"units": file, "voice": "ann"}, None]),
            ("speak", [{"units": [[0], [0], [0]], "voice": file}, None]),
        ):
            answer = joined(server, numbers[name], data)
            assert not answer["success"], (place, name)
            assert str(recording.parent) not in json.dumps(answer)
    assert stored(server) == before  # nothing was copied or fetched


def stored(server):
    return sorted(server.folder.rglob("*"))


def joined(server, number, data):
    """The last answer of the queue."""
    body = {"data": data, "fn_index": number, "session_hash": "0-0-0-1"}
    joining = httpx.post(f"{server.address}/gradio_api/queue/join", json=body)
    assert joining.status_code == 200
    events = f"{server.address}/gradio_api/queue/data?session_hash=0-0-0-1"
    with httpx.stream("GET", events, timeout=30) as lines:
        for line in lines.iter_lines():
            message = json.loads(line[6:]) if line.startswith("data: ") else {}
            if message.get("msg") == "process_completed":
                return message
    raise AssertionError("no answer")


def test_paths_lead_nowhere(server):
    for path, status in (
        ("/parts/page.html.j2", 404),
        ("/parts/service.py", 404),
        ("/parts/%2e%2e%2fpretrained.py", 404),
        ("/parts/..%2f..%2f..%2f..%2fetc%2fpasswd", 404),
        ("/examples/99", 404),
        ("/gradio_api/file=/etc/passwd", 403),
        ("/gradio_api/file=../../../../etc/passwd", 404),
        ("/gradio_api/file=http://example.com", 403),
        ("/gradio_api/openapi.json", 404),
    ):
        assert httpx.get(server.address + path).status_code == status, path
    for name in ('../../../../etc/passwd"><script>', "..", "/etc/passwd", "…" * 200):
        answer = httpx.post(f"{server.address}/gradio_api/upload", files={"files": (name, b"RIFF")})
        for path in answer.json() if answer.status_code == 200 else ():
            assert Path(path).resolve().is_relative_to(server.folder)


def test_many_visitors_wait_in_one_queue(server, model, recording):
    """All at once: each gets the same samples."""
    expected = pcm_of(model.convert(read_audio(recording, 16000).waveform, 16000, "ben"))
    sounds = []

    def visit():
        visitor = gradio_client.Client(server.address, verbose=False)
        sounds.append(read_pcm(asked(visitor, recording, "ben", api_name="/convert")))
        visitor.close()

    visitors = [threading.Thread(target=visit) for _ in range(5)]
    for each in visitors:
        each.start()
    for each in visitors:
        each.join()
    np.testing.assert_array_equal(sounds, [expected] * 5)


def test_without_gradio(monkeypatch):
    monkeypatch.setattr("audio_vq.extras.has_package", lambda _: False)
    assert "pip install 'audio-vq[demo]'" in mistake("demo", "--no-open")


def test_users_mistakes(server, model):
    port = server.address.rpartition(":")[2]
    for options, expected in (
        (["--port", port], f"port {port} is in use"),
        (["--port", 70000], "--port 70000"),
        (["--host", "no.such.host.invalid"], "--host"),
        (["--prior", "voices-prior"], "another checkpoint"),
    ):
        assert expected in mistake("demo", server.model, "--no-open", *options)


# In a browser ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(recording):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
    if CHROMIUM is None:
        pytest.skip("no Chromium found")
    flags = [*FLAGS.split(), f"--use-file-for-fake-audio-capture={recording}%noloop"]
    with playwright.sync_playwright() as driver:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=[*flags, *sandbox])
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser, server):
    """Opens the page in a window; in the end, checks that it was quiet and asked nothing of others."""
    complaints, requests, windows = [], [], []

    def opened(width=1280, scheme="light"):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        windows.append(page)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(server.address)
        return page

    yield opened
    for page in windows:
        page.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith((server.address, "blob:", "data:"))] == []


def give(page, recording):
    page.set_input_files("#file", recording)
    page.wait_for_selector("#figure:not([hidden])")
    page.wait_for_selector("body:not(.busy)")


def last_row(page, click):
    """Clicks, and waits until what is spoken then is whole: its samples, as they would be kept."""
    before = page.locator(".row").count()
    page.click(click)
    page.locator(".row:not(.making)").nth(before).wait_for()
    page.wait_for_selector("body:not(.busy)")
    with page.expect_download() as kept:
        page.click(".row >> nth=0 >> text=Download")
    return read_pcm(kept.value.path())


@pytest.mark.browser
def test_a_file_is_converted_edited_and_heard(open_page, model, recording):
    """Upload → conversion as the model makes it → other units, another sound; and what is said of it all."""
    page = open_page()
    load = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd") / 1000
    assert 0 < load < MOST_LOAD_SECONDS
    give(page, recording)
    heard = read_audio(recording, 16000).waveform
    page.check("#voices [value=ann]")
    page.uncheck("#voices [value=ben]")
    converted = last_row(page, "#convert")
    np.testing.assert_array_equal(converted, pcm_of(model.convert(heard, 16000, "ann")))
    assert page.evaluate("document.querySelector('.row audio').duration") == pytest.approx(len(heard) / 16000, abs=0.01)
    assert "real time), first sound after" in page.inner_text("#status")
    page.check("[name=melody][value=flat]")
    page.focus("#pitch")
    page.keyboard.press("ArrowRight")
    flat = pcm_of(model.convert(heard, 16000, "ann", pitch=1, flat=True))
    np.testing.assert_array_equal(last_row(page, "#convert"), flat)

    # by keyboard alone: a stretch is chosen and deleted, what remains is spoken
    page.focus("#tab-voices")
    page.keyboard.press("ArrowRight")
    assert page.is_visible("#panel-units")
    page.select_option("#units-voice", "ann")
    page.focus("#strip")
    for key in ("Home", "ArrowRight", *["Shift+ArrowRight"] * 9):
        page.keyboard.press(key)
    assert "10 units chosen" in page.get_attribute("#strip", "aria-valuetext")
    page.keyboard.press("Delete")
    units = model.encode(heard, 16000)
    kept = np.delete(units, np.s_[1:11], axis=1)
    np.testing.assert_array_equal(last_row(page, "#speak-all"), pcm_of(model.decode(kept, "ann")))
    page.keyboard.press("Shift+Tab")
    page.focus("#strip")
    page.keyboard.press("Control+z")
    assert page.get_attribute("#strip", "aria-valuemax") == str(units.shape[1])


@pytest.mark.browser
def test_units_are_repeated_stretched_and_swapped(open_page, recording):
    page = open_page()
    give(page, recording)
    page.click("#tab-units")
    page.locator("#canvas").scroll_into_view_if_needed()
    box = page.locator("#canvas").bounding_box()
    at = box["y"] + 20
    step = box["width"] / int(page.get_attribute("#strip", "aria-valuemax"))
    page.mouse.move(box["x"] + 2.5 * step, at)
    page.mouse.down()
    page.mouse.move(box["x"] + 5.5 * step, at, steps=3)
    page.mouse.up()
    count = int(page.get_attribute("#strip", "aria-valuemax"))
    shown = "Number(document.querySelector('#strip').getAttribute('aria-valuemax'))"
    assert "4 units" in page.inner_text("#chosen")
    for edit, longer in (("repeat", 4), ("undo", 0), ("stretch", 4), ("undo", 0), ("shorten", -2), ("reset", 0)):
        page.click(f"[data-edit={edit}]")
        assert page.evaluate(shown) == count + longer, edit
    page.focus("#strip")
    for key in ("Home", "Shift+ArrowRight", "Control+c", "End", "Shift+ArrowLeft"):
        page.keyboard.press(key)
    page.click("[data-edit=swap]")
    assert page.evaluate(shown) == count
    assert page.is_enabled("[data-edit=undo]")
    page.click("[data-edit=hear]")
    page.locator("#status", has_text="2 units").wait_for()


@pytest.mark.browser
def test_the_microphone_is_heard(open_page, server):
    """Chromium's fake one, which plays the recording."""
    page = open_page()
    page.context.grant_permissions(["microphone"], origin=server.address)
    page.click("#record")
    page.locator("#record", has_text="Stop (1 s)").wait_for()
    page.click("#record")
    page.wait_for_selector("#figure:not([hidden])")
    page.wait_for_selector("body:not(.busy)")
    text = page.inner_text("#picture-text")
    assert 1 <= float(text.split()[0]) < 3
    assert "Voiced for" in text  # it was no silence
    assert len(last_row(page, "#convert")) == pytest.approx(16000 * float(text.split()[0]), abs=1600)


@pytest.mark.browser
def test_the_prior_goes_on_in_several_takes(open_page, recording, model):
    page = open_page()
    give(page, recording)
    page.click("#tab-on")
    page.fill("#seconds", "1")
    page.fill("#takes", "2")
    page.click("#go-on")
    page.locator(".row:not(.making)").nth(1).wait_for()
    texts = page.locator(".row .hint").all_inner_texts()
    seconds = 1 + len(read_audio(recording, 16000).waveform) / 16000
    assert [float(text.split()[0]) for text in texts] == pytest.approx([seconds] * 2, abs=0.1)


@pytest.mark.browser
def test_a_new_voice_is_learned_and_spoken(open_page, recording, speech):
    """Watched while it is learned, then among the voices, between them, and unknown to others."""
    page, other = open_page(), open_page()
    give(page, recording)
    page.click("#tab-new")
    page.fill("#name", "<b>zoë")
    page.set_input_files("#voice-file", speech)
    page.locator("#voice-said", has_text="6 seconds").wait_for()
    page.click("#learn")
    page.locator("#status", has_text="<b>zoë is among the voices now").wait_for()
    assert "bits per" in page.inner_text("#fit-said")
    page.click("#tab-voices")
    assert page.is_checked("#voices label:has-text('zoë') input")
    own = last_row(page, "#convert")
    page.click("#tab-between")
    page.select_option("#from", "ben")
    assert (last_row(page, "#morph") != own).any()
    assert page.locator("b:text-is('zoë')").count() == 0
    assert other.locator("#voices label").count() == 2


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_reads_at_every_width(open_page, recording, scheme):
    brightness = {"light": (0.8, 1.0), "dark": (0.0, 0.3)}[scheme]
    page = open_page(scheme=scheme)
    give(page, recording)
    for width in (375, 768, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        for tab in ("voices", "units", "between", "on", "new"):
            page.click(f"#tab-{tab}")
            assert page.evaluate("document.documentElement.scrollWidth") == width, tab
        image = imread(io.BytesIO(page.screenshot(full_page=True)), format="png")[..., :3]
        assert brightness[0] <= image.mean() <= brightness[1]
        assert image.std() > 0.02
    nameless = """[...document.querySelectorAll('button, input, select, canvas[role], [role=slider], meter, progress')]
        .filter((each) => each.getAttribute('role') !== 'presentation')
        .filter((each) => !(each.innerText || each.ariaLabel || each.labels?.length))
        .map((each) => each.outerHTML)"""
    assert page.evaluate(nameless) == []


@pytest.mark.browser
def test_what_a_visitor_writes_is_text(open_page, recording, tmp_path):
    """A file that is none, with a name that is markup: the fault is said, nothing runs."""
    page = open_page()
    page.evaluate("addEventListener('securitypolicyviolation', (event) => console.log(event.violatedDirective))")
    file = tmp_path / "<img src=x onerror=alert(1)>.wav"
    file.write_text("<script>alert(1)</script>")
    page.set_input_files("#file", file)
    page.wait_for_selector("#fault:not(:empty)")
    assert page.inner_text("#fault").startswith("The recording is not audio that can be read")
    assert page.locator("img[src=x]").count() == 0
    give(page, recording)  # and it goes on as if nothing had been
    assert page.inner_text("#fault") == ""
