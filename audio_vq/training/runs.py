"""From a run's configuration to a finished run folder."""

import ctypes
import platform
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
from accelerate import PartialState

from audio_vq.codec.threads import torch_threads
from audio_vq.config import TrainPriorRun, TrainRun
from audio_vq.data.prepared import PreparedCorpus, untrained_line
from audio_vq.files import locked
from audio_vq.pretrained import VQVAE, resolve_device
from audio_vq.training.continuing import describe_run, refuse_other_content, refuse_other_run, write_config
from audio_vq.training.gaussian_task import GaussianTask
from audio_vq.training.initial import begin_with
from audio_vq.training.loop import train
from audio_vq.training.prior_task import PriorTask
from audio_vq.training.schedule import Budget
from audio_vq.training.state import RunFolder
from audio_vq.training.task import Task
from audio_vq.training.vqvae_task import VQVAETask


def run_vqvae(run: TrainRun) -> None:
    """`audio-vq train`. Raises UserError for a corpus, model or folder that does not fit."""

    def task(folder: Path, _device: torch.device) -> Task:
        corpus = _trainable(run.data, run.model.sample_rate, run.train.crop_length)
        description = describe_run(run, corpus)
        refuse_other_run(folder, description)
        kind = GaussianTask if run.model.bottleneck == "gaussian" else VQVAETask
        made = kind(corpus, run.model, run.train, run.seed)
        if run.init and not RunFolder(folder).has_checkpoint():
            begin_with(made.network, run.model, corpus.speakers, run.init)
        write_config(folder, description)
        return made

    _run(run, task)


def run_prior(run: TrainPriorRun) -> None:
    """`audio-vq train-prior`."""

    def task(folder: Path, device: torch.device) -> Task:
        model = VQVAE.from_pretrained(run.model, device.type)
        corpus = _trainable(run.data, model.sample_rate)
        description = describe_run(run, corpus, model.fingerprint)
        refuse_other_run(folder, description)
        made = PriorTask(model, corpus, run.prior, run.train, run.seed, folder)
        write_config(folder, description)
        return made

    _run(run, task)


def _trainable(data: str, sample_rate: int, crop_length: int = 1) -> PreparedCorpus:
    """The part of a corpus that can be trained on; who is left out is said."""
    corpus = PreparedCorpus.open(data, sample_rate)
    untrained = corpus.untrained(crop_length)
    if untrained and PartialState().is_main_process:
        print(untrained_line(untrained), file=sys.stderr)
    return corpus.trainable(crop_length)


def _run(run: TrainRun | TrainPriorRun, make_task: Callable[[Path, torch.device], Task]) -> None:
    Budget.of(run.train)  # a wrong budget is told before anything is opened or written
    device = resolve_device(run.device)
    PartialState(cpu=device.type == "cpu")  # of several processes, each takes its GPU before anything is put on one
    if device.type == "cpu":
        keep_freed_memory()
    folder = Path(run.run)
    refuse_other_content(folder, Path(run.data))
    is_main = PartialState().is_main_process
    lock = locked(folder, "the run") if is_main else nullcontext()  # of several processes one for all
    with lock, torch_threads(run.train.threads or torch.get_num_threads()):
        record = train(make_task(folder, device), run.train, folder, device.type, run.seed)
    if is_main:
        print(f"{folder}: done at step {record.get('step', 0)}; best checkpoint: {folder / 'best'}", file=sys.stderr)


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
