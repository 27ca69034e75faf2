"""What a wheel holds is enough, away from the checkout, with the dependencies that it names and no others."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

import numpy as np
import pytest
import soundfile
from packaging.requirements import Requirement

from audio_vq.pitch import track

ROOT = Path(__file__).parents[1]
# several commands in one process: each "audio-vq …" line of the argument, and how it ended
PROGRAM = """
import shlex, sys
from audio_vq.cli.main import main
for line in sys.argv[1].splitlines():
    sys.argv = shlex.split(line)
    print("$", line, file=sys.stderr)
    try:
        main()
    except SystemExit as end:
        print("exit", end.code or 0, file=sys.stderr)
"""
# hides modules as if they were not installed
HIDING = """
from importlib.machinery import PathFinder
find = PathFinder.find_spec
def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in HIDDEN else find(name, path, target)
PathFinder.find_spec = find_spec
"""
MEBIBYTE = 2**20
MEDIAN_HZ = {"slt": 174, "bdl": 123}  # of their recordings


def needed(name, extras=(), seen=None):
    """Names of the installed distributions that one needs, by what they say of themselves."""
    seen = set() if seen is None else seen
    for line in distribution(name).requires or ():
        requirement = Requirement(line)
        wanted = [{"extra": extra} for extra in (*extras, "")]
        if requirement.marker and not any(requirement.marker.evaluate(each) for each in wanted):
            continue
        key = (canonical(requirement.name), *sorted(requirement.extras))
        if key in seen:
            continue
        try:
            distribution(requirement.name)
        except PackageNotFoundError:
            continue
        seen.add(key)
        needed(requirement.name, requirement.extras, seen)
    return {key[0] for key in seen}


def canonical(name):
    return name.lower().replace("_", "-").replace(".", "-")


def modules_of_no_dependency():
    """Top-level modules that are installed here and that a user who installs no extra does not have."""
    ours = needed("audio-vq") | {"audio-vq"}
    return sorted(
        module
        for module, owners in packages_distributions().items()
        if module.isidentifier()
        and module not in sys.stdlib_module_names
        and not {canonical(owner) for owner in owners} & ours
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from the source distribution, as installers do."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(folder), "-t"]
    subprocess.run([*build, "sdist"], cwd=ROOT, check=True, capture_output=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    subprocess.run(
        [*build, "wheel"], cwd=folder / archive.name.removesuffix(".tar.gz"), check=True, capture_output=True
    )
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """A virtual environment with the wheel; of what is installed here, it sees what the wheel depends on."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin/python"
    install = ["install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), *install], check=True)
    site = next(folder.glob("lib/*/site-packages"))
    (site / "hiding.py").write_text(f"HIDDEN = {set(modules_of_no_dependency())}\n{HIDING}")
    (site / "dependencies.pth").write_text(f"{Path(np.__file__).parents[1]}\nimport hiding\n")
    warm(site / "audio_vq/kernels")
    return folder


def warm(kernels):
    """Gives kernels the compiled code of the checkout, as far as there is some: compiling is tested everywhere else."""
    sources = ROOT / "audio_vq/kernels"
    for source in sources.glob("*.py"):
        state = source.stat()
        os.utime(kernels / source.name, ns=(state.st_atime_ns, state.st_mtime_ns))
    (kernels / "__pycache__").mkdir(exist_ok=True)
    for compiled in sources.glob("__pycache__/*.nb[ci]"):
        shutil.copy(compiled, kernels / "__pycache__")


@pytest.fixture(scope="module")
def site(environment):
    return next(environment.glob("lib/*/site-packages"))


def call(environment, folder, *lines):
    """What commands print, by default in one process, with no home and no network behind any proxy."""
    nowhere = "http://127.0.0.1:9"
    variables = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    variables |= {"HOME": str(folder), "HTTPS_PROXY": nowhere, "HTTP_PROXY": nowhere, "PYTHONWARNINGS": "ignore"}
    command = [environment / "bin/python", "-c", PROGRAM, "\n".join(lines)]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)


def test_wheel_holds_what_it_needs(site):
    names = [str(path.relative_to(site)) for path in site.rglob("*") if path.is_file()]
    presets = {str(path.relative_to(ROOT)) for path in (ROOT / "conf").rglob("*.yaml")}
    assert presets
    assert {f"audio_vq/{preset}" for preset in presets} <= set(names)
    assert {"audio_vq/analysis/report/report.html.j2", "audio_vq/hub/card.md.j2", "audio_vq/py.typed"} <= set(names)
    assert not [name for name in names if name.startswith(("tests", "recipes"))]
    shipped = [path for path in (site / "audio_vq/pretrained_models").rglob("*") if path.is_file()]
    assert 0 < sum(path.stat().st_size for path in shipped) <= 16 * MEBIBYTE
    card = (site / "audio_vq/pretrained_models/voices/README.md").read_text()
    for licence in ("CC BY 4.0", "ODC-BY", "CMU ARCTIC"):
        assert licence in card


def buzz(seconds=2, rate=16000):
    """A man's voice, or nearly."""
    moments = np.arange(seconds * rate) / rate
    phase = 2 * np.pi * np.cumsum(120 + 15 * np.sin(3 * np.pi * moments)) / rate
    return sum(np.sin(k * phase) / k for k in range(1, 20)) * np.sin(np.pi * moments / seconds) * 0.1


def test_without_extras_and_network_it_works(environment, tmp_path):
    """A recording becomes units, other voices and a corpus; and a man's voice does not stay low as a woman's."""
    waveform = buzz()
    soundfile.write(tmp_path / "in.wav", waveform, 16000)
    done = call(
        environment,
        tmp_path,
        "audio-vq convert voices in.wav --to slt --to bdl --out converted/",
        "audio-vq encode voices in.wav --out units.jsonl",
        "audio-vq prepare folder . corpus",
        "audio-vq info voices --json",
        "audio-vq info voices-prior --json",
        "audio-vq train data=corpus run=run model=paper --cfg job",
    )
    assert "ModuleNotFoundError" not in done.stderr
    about, prior = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    assert len(about["speakers"]) == 14
    assert prior["speakers"] == about["speakers"]
    assert "codebook_size: 512" in done.stdout
    assert json.loads((tmp_path / "units.jsonl").read_text())["num_samples"] == len(waveform)
    assert (tmp_path / "corpus/corpus.json").exists()
    for speaker in ("slt", "bdl"):
        converted, _ = soundfile.read(tmp_path / f"converted/in_to_{speaker}.wav", dtype="float32")
        assert len(converted) == len(waveform)
        assert np.abs(converted).max() > 0.01
        f0 = track(converted, 16000)
        assert (f0 > 0).mean() > 0.8
        assert abs(12 * np.log2(np.median(f0[f0 > 0]) / MEDIAN_HZ[speaker])) < 1


def test_what_needs_an_extra_says_which(environment, tmp_path, tiny_corpus):
    verbs = {
        "prepare synthetic out --speakers 2 --utterances 6": "synthetic",
        f"align {tiny_corpus} out": "align",
        f"evaluate voices {tiny_corpus} --out out": "judges",
        f"encode voices {tiny_corpus} --out units.parquet": "parquet",
        "export-encoder voices encoder.onnx": "onnx",
    }
    done = call(environment, tmp_path, *(f"audio-vq {verb}" for verb in verbs))
    told = [line for line in done.stderr.splitlines() if line.startswith("audio-vq: ")]
    assert done.stderr.count("exit 2") == len(verbs)
    for line, extra in zip(told, verbs.values(), strict=True):
        assert line.endswith(f"run pip install 'audio-vq[{extra}]'")
    assert not any(tmp_path.iterdir())


def test_the_command_is_installed(environment):
    shown = subprocess.run([environment / "bin/audio-vq", "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("audio-vq ")


def test_programs_see_types(environment, tmp_path):
    """PEP 561: what a user's program does with a model is checked."""
    program = (
        "from audio_vq import VQVAE\n"
        'model = VQVAE.from_pretrained("voices")\n'
        "reveal_type(model.speakers)\n"
        'model.decode([1, 2], speaker="slt")\n'
        "model.decode([1, 2], speaker=3)\n"
    )
    (tmp_path / "program.py").write_text(program)
    # the rest of the package is checked by itself, and reading the types of torch takes a minute
    read = "".join(
        f"[mypy-audio_vq{name}]\nfollow_imports = silent\n" for name in ("", ".pretrained", ".checkpoint_info")
    )
    (tmp_path / "mypy.ini").write_text(f"[mypy]\nfollow_imports = skip\n{read}")
    command = [sys.executable, "-m", "mypy", "--python-executable", str(environment / "bin/python"), "program.py"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout
    lines = [line for line in said.splitlines() if line.startswith("program.py")]
    assert len(lines) == 2, said
    assert 'program.py:3: note: Revealed type is "tuple[' in lines[0]
    assert "program.py:5: error:" in lines[1]
    assert "[arg-type]" in lines[1]


@pytest.mark.slow
@pytest.mark.skipif(
    "AUDIO_VQ_INSTALL" not in os.environ, reason="takes gigabytes and minutes; AUDIO_VQ_INSTALL=1 asks for it"
)
def test_an_empty_environment_gets_all_it_needs_from_the_index(wheel, tmp_path):
    """What `pip install` brings is enough, the judges' packages without a C compiler too."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "new")], check=True)
    install = [tmp_path / "new/bin/python", "-m", "pip", "install", "--quiet"]
    without_compiler = {**os.environ, "CC": "/bin/false", "CXX": "/bin/false", "PYTHONPATH": ""}

    def done(name, *arguments, **options):
        start = time.perf_counter()
        result = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False, **options)
        print(f"{name}: {time.perf_counter() - start:.0f} s")
        assert result.returncode == 0, result.stderr
        return result.stdout

    done("install", *install, str(wheel), env=without_compiler)
    soundfile.write(tmp_path / "in.wav", buzz(), 16000)
    command = [tmp_path / "new/bin/audio-vq", "convert", "voices", "in.wav", "--to", "slt", "--out"]
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done("first conversion, compiling", *command, "first", env=plain)
    done("second conversion", *command, "second", env=plain)
    done("judges", *install, f"{wheel}[judges-wheels]", env=without_compiler)
    done("Resemblyzer", *install, "--no-deps", "resemblyzer==0.1.4", env=without_compiler)
    judging = (
        "from audio_vq.analysis.judges import panel; panel.require_judges(); panel._voice_encoder(); panel._dnsmos()"
    )
    done("judges load", tmp_path / "new/bin/python", "-c", judging, env=plain)
