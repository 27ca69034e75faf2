"""What a wheel holds is enough, away from the checkout."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_vq.pitch import track

ROOT = Path(__file__).parents[1]
PROGRAM = "import sys; sys.argv = ['audio-vq', *sys.argv[1:]]; from audio_vq.cli.main import main; main()"
MEBIBYTE = 2**20
MEDIAN_HZ = {"slt": 174, "bdl": 123}  # of their recordings


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The wheel, installed by itself."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def call(site, folder, *arguments):
    """The command's output, in a folder of its own, with no home and no network behind any proxy."""
    nowhere = "http://127.0.0.1:9"
    environment = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    environment |= {"PYTHONPATH": str(site), "HOME": str(folder), "HTTPS_PROXY": nowhere, "HTTP_PROXY": nowhere}
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_wheel_holds_what_it_needs(site, tmp_path):
    names = [str(path.relative_to(site)) for path in site.rglob("*") if path.is_file()]
    presets = {str(path.relative_to(ROOT)) for path in (ROOT / "conf").rglob("*.yaml")}
    assert presets
    assert {f"audio_vq/{preset}" for preset in presets} <= set(names)
    assert "audio_vq/analysis/report/report.html.j2" in names
    assert not [name for name in names if name.startswith(("tests", "recipes"))]

    assert "codebook_size: 512" in call(site, tmp_path, "train", "data=x", "run=y", "model=paper", "--cfg", "job")


def test_the_model_in_the_wheel_converts_without_a_network(site, tmp_path):
    """And a man's voice does not stay low when it becomes a woman's."""
    rate = 16000
    time = np.arange(2 * rate) / rate
    phase = 2 * np.pi * np.cumsum(120 + 15 * np.sin(3 * np.pi * time)) / rate
    buzz = sum(np.sin(k * phase) / k for k in range(1, 20)) * np.sin(np.pi * time / 2) * 0.1
    soundfile.write(tmp_path / "in.wav", buzz, rate)
    call(site, tmp_path, "convert", "voices", "in.wav", "--to", "slt", "--to", "bdl", "--out", "converted/")
    for speaker in ("slt", "bdl"):
        converted, _ = soundfile.read(tmp_path / f"converted/in_to_{speaker}.wav", dtype="float32")
        assert len(converted) == len(buzz)
        assert np.abs(converted).max() > 0.01
        f0 = track(converted, rate)
        assert (f0 > 0).mean() > 0.8
        assert abs(12 * np.log2(np.median(f0[f0 > 0]) / MEDIAN_HZ[speaker])) < 1


def test_the_model_in_the_wheel_is_as_described(site, tmp_path):
    shipped = [path for path in (site / "audio_vq/pretrained_models").rglob("*") if path.is_file()]
    assert 0 < sum(path.stat().st_size for path in shipped) <= 16 * MEBIBYTE
    about = json.loads(call(site, tmp_path, "info", "voices", "--json"))
    assert len(about["speakers"]) == 14
    prior = json.loads(call(site, tmp_path, "info", "voices-prior", "--json"))
    assert prior["speakers"] == about["speakers"]
    card = (site / "audio_vq/pretrained_models/voices/README.md").read_text()
    for licence in ("CC BY 4.0", "ODC-BY", "CMU ARCTIC"):
        assert licence in card
