"""Two processes (gloo) train one model: they share a codebook, and what ends one ends both."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

SCRIPT = Path(__file__).with_name("two_processes.py")


@pytest.fixture(scope="module")
def runs(tiny_corpus, tmp_path_factory):
    """What each rank says of itself, the folder of their runs, and what they wrote to stderr."""
    folder = tmp_path_factory.mktemp("two processes")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(tiny_corpus), str(folder)],
            env={**os.environ, **both, "RANK": rank, "LOCAL_RANK": rank, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    try:
        errors = [process.communicate(timeout=240)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert all((folder / f"rank-{rank}.json").exists() for rank in "01"), errors
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in "01"], folder, errors


@pytest.mark.parametrize("name", ["interrupted first", "interrupted second"])
def test_an_interrupt_of_either_leaves_both_with_the_state_saved(runs, name):
    said, folder, errors = runs
    assert [rank["codes"][name] for rank in said] == [130, 130]
    assert json.loads((folder / name / "last/training.json").read_text())["step"] == 3
    assert f"{name} keeps step 3, and the same command" in errors[0]
    assert "interrupted" not in errors[1]


def test_a_loss_that_is_not_finite_on_either_ends_both_and_is_not_saved(runs):
    said, folder, errors = runs
    assert [rank["codes"]["diverged"] for rank in said] == [1, 1]
    assert "training diverged by step 10" in errors[0]
    assert not (folder / "diverged/last").exists()


def test_codebooks_are_equal(runs):
    """After moving averages and restarts, and so is what is saved."""
    said, folder, _ = runs
    assert [rank["codes"]["finished"] for rank in said] == [0, 0]
    assert said[0]["codebooks"] == said[1]["codebooks"]
    saved = load_file(folder / "finished/last/model.safetensors")["quantizer.codebook"]
    assert saved.tolist() == said[0]["codebooks"][1] != said[0]["codebooks"][0]  # the averaged one


def test_one_run_of_twice_the_audio(runs):
    _, folder, errors = runs
    assert sum(error.count("done at step 12") for error in errors) == 1
    (line,) = (folder / "finished/metrics.jsonl").read_text().splitlines()
    hours = 2 * 12 * 2 * 2 * 1280 / 16000 / 3600  # processes, steps, parts, crops
    assert json.loads(line)["audio_hours_seen"] == pytest.approx(hours, abs=1e-6)
