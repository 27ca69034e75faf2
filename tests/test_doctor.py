"""The doctor finds each trouble, says what to do, and no trouble keeps it from looking at all else."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
from test_cli import call

from audio_vq.doctor import hardware, software
from audio_vq.doctor.examination import Finding, Trouble, examine


def only(finding):
    (trouble,) = finding.troubles
    return trouble


def test_a_healthy_machine_has_facts_and_exits_with_0():
    found = json.loads(call("doctor", "--json")[0])
    assert found["works"] is True
    assert not [trouble for trouble in found["troubles"] if trouble["serious"]]
    assert found["versions"]["torch"].startswith("2.11.")
    assert set(found["libraries"].values()) == {"works"}
    assert found["audio"]["flac"]
    assert found["cpu"]["cores"] >= 1
    assert found["cpu"]["decoder_weights"] in {"float32", "int8"}
    assert found["disk"]["here"]["free_gb"] > 0
    text, _ = call("doctor")
    assert all(section in text.splitlines() for section in found if section not in {"troubles", "works"})


def test_what_fails_to_be_looked_at_is_said_and_stops_nothing():
    def fails():
        raise OSError("libcudart.so.13: cannot open\nshared object file")

    found = examine({"gpu": fails, "disk": lambda: Finding({"free": 1})})
    assert found.findings["disk"].facts == {"free": 1}
    assert only(found.findings["gpu"]).what == "gpu cannot be looked at: OSError: libcudart.so.13: cannot open"
    assert found.works


def test_only_serious_troubles_are_failures(monkeypatch):
    monkeypatch.setattr(hardware, "find_memory", lambda: Finding({}, (Trouble("little memory", "get more"),)))
    text, _ = call("doctor")
    assert "note: little memory\n  → get more" in text
    broken = Trouble("torch cannot be imported: no", "pip install it", serious=True)
    monkeypatch.setattr(software, "find_libraries", lambda: Finding({}, (broken,)))
    text, err = call("doctor", code=1)
    assert "broken: torch cannot be imported: no\n  → pip install it" in text
    assert "cannot work" in err


@pytest.mark.parametrize(("installed", "said"), [("2.12.1", "2.12.1 is installed"), (None, "is not installed")])
def test_versions_that_do_not_fit(monkeypatch, installed, said):
    original = software.installed_version
    monkeypatch.setattr(software, "installed_version", lambda name: installed if name == "torch" else original(name))
    trouble = only(software.find_versions())
    assert trouble.serious
    assert trouble.what == f"torch {said}; audio-vq needs ==2.11.*"
    assert trouble.advice == "pip install 'torch==2.11.*' 'torchaudio==2.11.*'"


def test_extras_name_what_they_lack(monkeypatch):
    names = {each.extra for each in software.requirements()} - {None}
    assert names >= {"align", "judges"}
    assert "pocketsphinx" in {each.package for each in software.requirements() if each.extra == "judges"}  # by align
    monkeypatch.setattr(software, "installed_version", lambda name: None if name == "pocketsphinx" else "1")
    finding = software.find_extras()
    assert finding.facts["align"] == "pip install 'audio-vq[align]' (lacks pocketsphinx)"
    assert finding.facts["synthetic"] == "installed"
    assert not finding.troubles


def test_a_library_that_cannot_be_loaded(monkeypatch):
    def broken(name):
        if name == "torchaudio":
            raise OSError("libtorch_cuda.so: cannot open shared object file")
        return SimpleNamespace()

    monkeypatch.setattr(software, "import_module", broken)
    trouble = only(software.find_libraries())
    assert trouble.serious
    assert "torchaudio cannot be imported: OSError: libtorch_cuda.so" in trouble.what
    assert "'torch==2.11.*' 'torchaudio==2.11.*' --force-reinstall" in trouble.advice


@pytest.mark.parametrize(("formats", "serious"), [(["WAV", "FLAC", "OGG"], False), (["WAV", "MP3", "OGG"], True)])
def test_an_old_libsndfile(monkeypatch, formats, serious):
    library = SimpleNamespace(
        __libsndfile_version__="1.0.31",
        available_formats=lambda: dict.fromkeys(formats),
        available_subtypes=lambda _: {"OPUS": ""},
    )
    monkeypatch.setattr(software, "import_module", lambda _: library)
    trouble = only(software.find_audio())
    assert ("flac" if serious else "mp3") in trouble.what
    assert trouble.serious == serious


@pytest.mark.parametrize(("cuda", "said"), [(None, "without CUDA"), ("13.0", "built for CUDA 13.0")])
def test_a_gpu_that_torch_does_not_see(monkeypatch, cuda, said):
    torch = SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: False), version=SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(hardware, "import_module", lambda _: torch)
    monkeypatch.setattr(hardware, "_gpus", lambda: ["NVIDIA H100, 81559 MiB, 550.1"])
    assert said in only(hardware.find_gpu()).what
    monkeypatch.setattr(hardware, "_gpus", list)
    assert not hardware.find_gpu().troubles


@pytest.mark.parametrize("reply", [subprocess.TimeoutExpired("nvidia-smi", 20), OSError("no")])
def test_a_driver_that_does_not_answer(monkeypatch, reply):
    def run(*_, **__):
        raise reply

    monkeypatch.setattr(hardware.shutil, "which", lambda _: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(hardware.subprocess, "run", run)
    assert hardware._gpus() == []


def test_containers_that_get_less_time_than_they_see_cores(monkeypatch):
    for name in hardware.THREAD_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(hardware, "available_cpus", lambda: 64)
    monkeypatch.setattr(hardware, "cpu_quota", lambda: 2.5)
    assert only(hardware.find_cpu()).advice.startswith("set OMP_NUM_THREADS=2;")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert not hardware.find_cpu().troubles


def test_little_memory(monkeypatch):
    sizes = {"total": 64 * 10**9, "available": 50 * 10**9, "limit": 10**9}
    monkeypatch.setattr(hardware, "memory_bytes", lambda: sizes)
    assert "1.0 GB" in only(hardware.find_memory()).what
    monkeypatch.setattr(hardware, "memory_bytes", lambda: dict.fromkeys(sizes))
    assert not hardware.find_memory().troubles


def test_disks_that_are_full_or_closed(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hardware.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(hardware, "_hub_cache", lambda: tmp_path / "not" / "yet")
    monkeypatch.setattr(hardware, "free_bytes", lambda _: 10**8)
    assert only(hardware.find_disk()).what == f"{tmp_path} has 0.1 GB free"  # one disk, however many places on it
    monkeypatch.setattr(hardware, "free_bytes", lambda _: 10**12)
    assert not hardware.find_disk().troubles
    monkeypatch.setattr(hardware.os, "access", lambda *_: False)
    monkeypatch.setattr(hardware, "_kernel_cache", lambda: None)
    said = [trouble.what for trouble in hardware.find_disk().troubles]
    assert sum("cannot be written" in each for each in said) == 3
    assert said[-1].startswith("compiled code cannot be kept")


def test_settings_of_the_network_are_named_and_their_content_is_not(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://user:secret@proxy")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    facts = hardware.find_network().facts
    assert facts["settings"] == ["HTTPS_PROXY", "HF_HUB_OFFLINE"]
    assert facts["hub"].startswith("offline")
    assert "secret" not in json.dumps(facts)


def test_nothing_is_imported_before_it_is_looked_at():
    modules = "audio_vq.cli.doctor, audio_vq.doctor.examination, audio_vq.doctor.hardware, audio_vq.doctor.software"
    heavy = "{'torch', 'torchaudio', 'numba', 'numpy', 'soundfile', 'rich.progress'}"
    program = (
        f"import sys, audio_vq.cli.main, {modules}; assert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
