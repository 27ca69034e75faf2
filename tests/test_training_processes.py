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


def in_two_processes(corpus, folder):
    """What each rank of `two_processes.py` says of itself, and what it writes to stderr."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(corpus), str(folder)],
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
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in "01"], errors


@pytest.mark.slow
def test_two_processes_train_one_model(tiny_corpus, tmp_path):
    """One test, for two processes take long to start."""
    said, errors = in_two_processes(tiny_corpus, tmp_path)

    # an interrupt of either leaves both, with the state saved
    for name in ("interrupted first", "interrupted second"):
        assert [rank["codes"][name] for rank in said] == [130, 130], errors
        assert json.loads((tmp_path / name / "last/training.json").read_text())["step"] == 3
        assert f"{name} keeps step 3, and the same command" in errors[0]
    assert "interrupted" not in errors[1]

    # a loss of either that is not finite ends both, and nothing of it is saved
    assert [rank["codes"]["diverged"] for rank in said] == [1, 1]
    assert "training diverged by step 10" in errors[0]
    assert not (tmp_path / "diverged/last").exists()

    # after moving averages and restarts the codebooks are equal, the averaged ones too, and so is what is saved
    assert [rank["codes"]["finished"] for rank in said] == [0, 0]
    assert said[0]["codebooks"] == said[1]["codebooks"]
    saved = load_file(tmp_path / "finished/last/model.safetensors")["quantizer.codebook"]
    assert saved.tolist() == said[0]["codebooks"][1] != said[0]["codebooks"][0]

    # one run, of twice the audio
    assert sum(error.count("done at step 12") for error in errors) == 1
    (line,) = (tmp_path / "finished/metrics.jsonl").read_text().splitlines()
    hours = 2 * 12 * 2 * 2 * 640 / 16000 / 3600  # processes, steps, parts, crops, of which half is spoken
    assert json.loads(line)["audio_hours_seen"] == pytest.approx(hours, abs=1e-6)
