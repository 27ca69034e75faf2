"""What a wheel holds is enough, away from the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_wheel_works_outside_the_checkout(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    presets = {str(path.relative_to(ROOT)) for path in (ROOT / "conf").rglob("*.yaml")}
    assert presets
    assert {f"audio_vq/{preset}" for preset in presets} <= set(names)
    assert "audio_vq/analysis/report/report.html.j2" in names
    assert not [name for name in names if name.startswith(("tests", "recipes"))]

    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    program = "import sys; sys.argv = ['audio-vq', *sys.argv[1:]]; from audio_vq.cli.main import main; main()"
    command = [sys.executable, "-c", program, "train", "data=x", "run=y", "model=paper", "--cfg", "job"]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert "codebook_size: 512" in result.stdout
