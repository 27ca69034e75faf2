"""The report in a real browser: it is quiet, fits narrow and wide, and can be walked, seen and heard."""

import io
import os
import shutil
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from matplotlib.image import imread
from report_case import make_case

from audio_vq.analysis.report import clips
from audio_vq.analysis.report.report import write_report
from audio_vq.audio.files import opus_bytes

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for name in NAMES if (path := shutil.which(name))), None)
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found")]
FLAGS = (
    "--headless=new --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
UNITS = 512
MOST_BYTES = 10e6
MOST_NODES = 6000
MOST_SECONDS = 10.0  # until the atlas stands; generous, since machines under test are busy


@dataclass
class Heard:
    """What a page said on its console and asked of the network."""

    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A page with 512 units, all but two of which occur."""
    folder = tmp_path_factory.mktemp("report")
    case = make_case(folder, UNITS, used=UNITS - 2, utterances=60)
    # the clips of one unit at their usual length; encoded once, they stand for those of every unit
    noise = (0.1 * np.random.default_rng(0).standard_normal(24000)).astype(np.float32)
    sound = opus_bytes(noise, 16000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clips, "opus_bytes", lambda *_: sound)
        write_report(case.model, case.analysis, case.metrics, {"checkpoint": "runs/<b>"}, folder / "out", seed=0)
    return folder / "out" / "report.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    flags = [*FLAGS.split(), *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def pages(browser, report):
    """Opens the report in a window; in the end, checks that it was quiet in all of them."""
    heard, opened = Heard(), {}

    def page(width=1280, height=900, scheme="light"):
        if (width, height, scheme) not in opened:
            window = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            opened[width, height, scheme] = window
            window.on("console", lambda message: heard.complaints.append(message.text))
            window.on("pageerror", lambda error: heard.complaints.append(str(error)))
            window.on("request", lambda request: heard.requests.append(request.url))
            window.goto(report.as_uri())
            window.wait_for_selector("#grid button", timeout=1000 * MOST_SECONDS)
        return opened[width, height, scheme]

    yield page
    for window in opened.values():
        window.close()
    assert heard.complaints == []
    assert [url for url in heard.requests if not url.startswith((report.as_uri(), "data:", "blob:"))] == []


def test_without_phones_the_atlas_can_be_walked(browser, tmp_path):
    case = make_case(tmp_path, 16, used=12)
    silent = {"scored": tuple(replace(each, alignment=None) for each in case.analysis.scored), "phones": None}
    groups = tuple(replace(group, phones=None, segments=None, abx=None) for group in case.analysis.groups)
    analysis = type(case.analysis)(**vars(case.analysis) | silent | {"coverage": None, "groups": groups})
    metrics = {key: value for key, value in case.metrics.items() if key not in ("phones", "segments", "abx")}
    write_report(case.model, analysis, metrics, {"checkpoint": "runs/x"}, tmp_path / "out", seed=0)
    window, complaints = browser.new_page(viewport={"width": 1280, "height": 900}), []
    window.on("console", lambda message: complaints.append(message.text))
    window.on("pageerror", lambda error: complaints.append(str(error)))
    window.goto((tmp_path / "out/report.html").as_uri())
    window.locator("#grid button").first.click()
    assert "Most typical stretches" in window.locator("#panel").inner_text()
    text = window.locator("body").inner_text()
    assert "No alignments were given" in text
    assert not any(word in text for word in ("null", "undefined", "NaN", "; read as"))
    window.fill("#find", "3")
    assert window.locator("#grid button:visible").count() == 1
    window.close()
    assert complaints == []


@pytest.fixture
def open_page(pages):
    """The report as it looks after loading, at the address `fragment`."""

    def opened(width=1280, height=900, scheme="light", fragment=""):
        page = pages(width, height, scheme)
        page.fill("#find", "")
        page.keyboard.press("Escape")
        page.evaluate("sound.last = null; delete document.documentElement.dataset.theme; scrollTo(0, 0)")
        if fragment:
            page.evaluate(f"location.hash = '{fragment}'")
            page.wait_for_function("document.querySelector('#panel h3') !== null")
        return page

    return opened


def focused(page) -> str:
    return page.evaluate("document.activeElement.dataset.unit")


def chosen(page) -> str | None:
    heading = page.query_selector("#panel h3")
    return heading and heading.inner_text().split()[1]


def test_512_units_are_light(open_page, report):
    assert report.stat().st_size < MOST_BYTES
    page = open_page()
    assert page.evaluate("document.querySelectorAll('#grid button').length") == UNITS
    assert page.evaluate("document.getElementsByTagName('*').length") < MOST_NODES


@pytest.mark.parametrize("width", [375, 1280])
def test_nothing_is_wider_than_the_window(open_page, width):
    page = open_page(width, fragment="#unit-3")
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_light_and_dark_are_two_pictures_of_one_page(open_page):
    light, dark = (picture(open_page(scheme=scheme)) for scheme in ("light", "dark"))
    assert light.shape == dark.shape
    for image in (light, dark):
        assert image.std() > 0.02  # not blank
    assert light.mean() > 0.8
    assert dark.mean() < 0.3


def test_the_button_turns_light_to_dark(open_page):
    page = open_page()
    page.click("#theme")
    assert picture(page).mean() < 0.3


def picture(page) -> np.ndarray:
    return imread(io.BytesIO(page.screenshot()), format="png")[..., :3]


def test_the_keyboard_walks_the_table(open_page):
    page = open_page()
    page.focus("#grid [tabindex='0']")
    page.keyboard.press("Home")
    first = focused(page)
    page.keyboard.press("ArrowRight")
    second = focused(page)
    assert first != second
    assert chosen(page) == second
    page.keyboard.press("ArrowDown")
    below = page.evaluate("document.activeElement.getBoundingClientRect().x")
    assert page.evaluate(f"document.querySelector('#grid [data-unit=\"{second}\"]').getBoundingClientRect().x") == below
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowLeft")
    assert focused(page) == first
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) == "solid"  # focus is visible
    page.keyboard.press("Escape")
    assert chosen(page) is None
    assert page.url.endswith(".html")


def test_the_keyboard_walks_the_map(open_page):
    page = open_page()
    page.focus("#map [tabindex='0']")
    before = page.evaluate("Number(document.activeElement.getAttribute('cx'))")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert page.evaluate("Number(document.activeElement.getAttribute('cx'))") > before or before > 600
    assert chosen(page) == focused(page)
    assert page.evaluate('document.querySelectorAll(\'#map [tabindex="0"], #grid [tabindex="0"]\').length') == 2


def test_a_unit_that_never_occurs_can_be_looked_up(open_page):
    page = open_page(fragment=f"#unit-{UNITS - 1}")
    assert "Does not occur" in page.inner_text("#panel")
    page.click(".near button")
    assert chosen(page) != str(UNITS - 1)


def test_finding_hides_the_others(open_page):
    page = open_page()
    page.fill("#find", "vowel")
    shown = page.evaluate(
        "[...document.querySelectorAll('#grid button:not([hidden]) b')].map((each) => each.innerText)"
    )
    assert set(shown) <= {"AA", "IY"}
    assert 0 < len(shown) < UNITS


@pytest.mark.parametrize(("strip", "button"), [("units", "click"), ("phones", "Enter")])
def test_a_stretch_of_speech_plays_from_its_begin_to_its_end(open_page, strip, button):
    page = open_page()
    box = page.locator(f".speech >> nth=0 >> [aria-label='{strip}'] .box >> nth=2")
    if button == "click":
        box.click()
    else:
        box.focus()
        page.keyboard.press(button)
    page.wait_for_function("sound.last !== null")
    played = page.evaluate("sound.last")
    assert played["from"] == pytest.approx(float(box.get_attribute("data-from")))
    assert played["to"] == pytest.approx(float(box.get_attribute("data-to")))
    assert played["seconds"] > played["to"]
    assert strip[:-1] in page.inner_text(".status >> nth=0")


def test_a_typical_stretch_plays_with_what_surrounds_it_or_alone(open_page):
    page = open_page(fragment="#unit-7")
    page.click(".clip >> nth=0", position={"x": 20, "y": 20})
    page.wait_for_function("sound.last !== null")
    wide = page.evaluate("sound.last.to - sound.last.from")
    page.evaluate("sound.last = null")
    page.click(".clip >> nth=0", position={"x": 20, "y": 20}, modifiers=["Shift"])
    page.wait_for_function("sound.last !== null")
    assert 0 < page.evaluate("sound.last.to - sound.last.from") < wide
    page.wait_for_function("document.querySelectorAll('.clip.sounding').length === 0")
    drawn = "(canvas) => new Set(canvas.getContext('2d').getImageData(0, 0, 360, 74).data).size"
    assert page.eval_on_selector(".clip canvas", drawn) > 20  # a spectrogram, not one colour


def test_on_a_narrow_screen_the_panel_comes_and_goes(open_page):
    page = open_page(375, 800)
    assert not page.is_visible("#panel")
    page.click("#grid button >> nth=5")
    assert page.is_visible("#panel")
    covered = "document.activeElement.getBoundingClientRect().bottom - panel.getBoundingClientRect().top"
    assert page.evaluate(covered) <= 0  # the unit is still seen
    page.click("#panel .close")
    assert not page.is_visible("#panel")
    assert focused(page) is not None  # back on the unit it came from
