"""From a run's configuration to a finished run folder."""

import ctypes
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from omegaconf import OmegaConf

from audio_vq.config import TrainConfig, TrainPriorRun, TrainRun
from audio_vq.data.prepared import PreparedCorpus, untrained_line
from audio_vq.errors import UserError
from audio_vq.files import atomic_write_text
from audio_vq.pretrained import VQVAE, resolve_device
from audio_vq.training.gaussian_task import GaussianTask
from audio_vq.training.loop import train
from audio_vq.training.prior_task import PriorTask
from audio_vq.training.schedule import Budget
from audio_vq.training.task import Task
from audio_vq.training.vqvae_task import VQVAETask

# what may differ when a run is continued: how long, where, how often it reports
FREE_ON_RESUME = {"run", "device"}
FREE_TRAIN_ON_RESUME = {"minutes", "steps", "validations", "save_minutes", "threads"}


def run_vqvae(run: TrainRun) -> None:
    """`audio-vq train`. Raises UserError for a corpus, model or folder that does not fit."""

    def task(_device: torch.device) -> Task:
        corpus = _trainable(run.data, run.model.sample_rate, run.train.crop_length)
        kind = GaussianTask if run.model.bottleneck == "gaussian" else VQVAETask
        return kind(corpus, run.model, run.train, run.seed)

    _run(run, task)


def run_prior(run: TrainPriorRun) -> None:
    """`audio-vq train-prior`."""

    def task(device: torch.device) -> Task:
        model = VQVAE.from_pretrained(run.model, device.type)
        corpus = _trainable(run.data, model.sample_rate)
        return PriorTask(model, corpus, run.prior, run.train, run.seed, Path(run.run))

    _run(run, task)


def _trainable(data: str, sample_rate: int, crop_length: int = 1) -> PreparedCorpus:
    """The part of a corpus that can be trained on; who is left out is said."""
    corpus = PreparedCorpus.open(data, sample_rate)
    untrained = corpus.untrained(crop_length)
    if untrained and PartialState().is_main_process:
        print(untrained_line(untrained), file=sys.stderr)
    return corpus.trainable(crop_length)


def _run(run: TrainRun | TrainPriorRun, make_task: Callable[[torch.device], Task]) -> None:
    Budget.of(run.train)  # a wrong budget is told before anything is opened or written
    device = resolve_device(run.device)
    PartialState(cpu=device.type == "cpu")  # of several processes, each takes its GPU before anything is put on one
    _set_threads(run.train)
    if device.type == "cpu":
        keep_freed_memory()
    folder = Path(run.run)
    config = OmegaConf.to_yaml(OmegaConf.structured(run))
    _refuse_other_run(folder, config)
    task = make_task(device)
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write_text(folder / "config.yaml", config)
    record = train(task, run.train, folder, device.type, run.seed)
    if PartialState().is_main_process:
        print(f"{folder}: done at step {record.get('step', 0)}; best checkpoint: {folder / 'best'}", file=sys.stderr)


def _set_threads(config: TrainConfig) -> None:
    if config.threads:
        torch.set_num_threads(config.threads)


def keep_freed_memory() -> None:
    """Tells glibc to keep large freed blocks for the next step instead of giving them back to the system.

    Each training step asks for the same blocks again; fetching them anew, page by page, was a fifth of its time.
    Other C libraries have no such setting and need none of this.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        m_trim_threshold, m_mmap_max = -1, -4  # malloc.h
        libc.mallopt(m_mmap_max, 0)
        libc.mallopt(m_trim_threshold, 2**31 - 1)


def _refuse_other_run(folder: Path, config: str) -> None:
    """Raises UserError where the folder holds a run of another configuration: it would be continued wrongly."""
    file = folder / "config.yaml"
    if not file.exists() or not (folder / "last").exists():
        return
    before = _fixed_part(OmegaConf.to_container(OmegaConf.create(file.read_text(encoding="utf-8"))))
    now = _fixed_part(OmegaConf.to_container(OmegaConf.create(config)))
    changed = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if changed:
        shown = ", ".join(f"{key} {before.get(key)} → {now.get(key)}" for key in changed[:3])
        raise UserError(f"{folder} holds a run with another configuration ({shown}); give another run= folder")


def _fixed_part(config: Any, prefix: str = "") -> dict[str, Any]:
    """Leaves of a config under dotted names, without those that may change when a run is continued."""
    leaves: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            leaves |= _fixed_part(value, f"{name}.")
        else:
            leaves[name] = value
    free = FREE_ON_RESUME | {f"train.{key}" for key in FREE_TRAIN_ON_RESUME}
    return {key: value for key, value in leaves.items() if key not in free}
