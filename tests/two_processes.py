"""What `test_training_processes` starts twice: several trainings, all but the last ended early.

Example: RANK=0 WORLD_SIZE=2 … python tests/two_processes.py CORPUS FOLDER
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch

from audio_vq.cli.main import main
from audio_vq.training.vqvae_task import VQVAETask

SETTINGS = [
    "device=cpu", "model.encoder.channels=16", "model.encoder.filterbank=16", "model.encoder.residual_blocks=0",
    "model.wavenet.layers=2", "model.wavenet.residual_channels=8", "model.quantizer.codebook_size=8",
    "model.quantizer.continuous_share=0.3", "model.quantizer.restart_after=2", "train.steps=12", "train.validations=1",
    "train.validation_crops=2", "train.batch_size=2", "train.crop_length=1280",
    "train.spoken_length=640", "train.gradient_accumulation=2",
]  # fmt: skip
RANK = int(os.environ["RANK"])
after_step = VQVAETask.after_step


def interrupted_at_step_2(number):
    """As Ctrl-C in the terminal of one of two machines."""

    def after(task, accelerator, network, averaged, parts, step):
        after_step(task, accelerator, network, averaged, parts, step)
        if step == 2:
            signal.raise_signal(number)

    return after


def wild_at_step_9(task, accelerator, network, averaged, parts, step):
    """The loss of one process is not finite in the step in which all look."""
    after_step(task, accelerator, network, averaged, parts, step)
    if step == 9:
        parts[-1].loss.detach().fill_(torch.nan)


def remembered(task, accelerator, network, averaged, parts, step):
    """Keeps hold of the models whose codebooks are compared in the end."""
    after_step(task, accelerator, network, averaged, parts, step)
    models[:] = [network, averaged]


def trained(corpus, folder, after):
    """Exit code of a training in which this process does `after` each step."""
    sys.argv = ["audio-vq", "train", f"data={corpus}", f"run={folder}", *SETTINGS]
    VQVAETask.after_step = after
    try:
        main()
    except SystemExit as end:
        return end.code
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    corpus, folder = sys.argv[1:]
    models = []
    codes = {}
    for name, rank, after in (
        ("interrupted first", 0, interrupted_at_step_2(signal.SIGINT)),
        ("interrupted second", 1, interrupted_at_step_2(signal.SIGTERM)),
        ("diverged", 1, wild_at_step_9),
    ):
        codes[name] = trained(corpus, f"{folder}/{name}", after if rank == RANK else after_step)
    codes["finished"] = trained(corpus, f"{folder}/finished", remembered)
    result = {"codes": codes, "codebooks": [model.quantizer.codebook.tolist() for model in models]}
    Path(folder, f"rank-{RANK}.json").write_text(json.dumps(result), encoding="utf-8")
