"""Everything `audio-vq bench` measures, one theme after another, each only where it is asked for."""

import dataclasses
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from audio_vq.bench import formats, gpu, prior, sampling
from audio_vq.bench.decoder import Decoder, Speech, make_decoder
from audio_vq.bench.encoding import measure_encoding
from audio_vq.bench.machine import NAMES as MACHINE_NAMES
from audio_vq.bench.machine import measure_machine
from audio_vq.bench.measurement import Budget, Measurement
from audio_vq.bench.training import NAMES as TRAINING_NAMES
from audio_vq.bench.training import measure_training
from audio_vq.codec.threads import torch_threads
from audio_vq.config import PriorConfig, TrainConfig
from audio_vq.errors import UserError
from audio_vq.machine import describe_machine
from audio_vq.pretrained import VQVAE
from audio_vq.progress import progress_bar

Wanted = Callable[[str], bool]

ENCODE = "encode_realtime"
ENCODE_SPEED = 20  # times real time, a guess that says how long a recording is encoded


@dataclass(frozen=True)
class Model:
    """A model to measure.

    Attributes:
        vqvae: on a CPU.
        label: what it is called in the context of its figures.
        trained: whether its weights mean something.
        prefix: of the names of its measurements.
    """

    vqvae: VQVAE
    label: str
    trained: bool
    prefix: str = ""


@dataclass(frozen=True)
class Subjects:
    """What is measured.

    Attributes:
        decoders: models whose decoder is measured.
        whole: the model whose training and encoding are measured.
        train: how it is trained.
        prior: of the prior.
        speech: what decoders are to say, if not something made up.
    """

    decoders: Sequence[Model]
    whole: Model
    train: TrainConfig
    prior: PriorConfig
    speech: Speech | None = None


@dataclass(frozen=True)
class Theme:
    """Measurements that are made together."""

    title: str
    names: Sequence[str]
    measure: Callable[[], list[Measurement]]


def run_benchmark(subjects: Subjects, budget: Budget, only: Sequence[str] = ()) -> list[Measurement]:
    """Measurements whose name contains one of `only`, or all.

    Raises:
        UserError: none does.
    """

    def wanted(name: str) -> bool:
        return not only or any(part in name for part in only)

    themes = [theme for theme in _themes(subjects, budget, wanted) if any(map(wanted, theme.names))]
    if not themes:
        raise UserError(f"nothing measured is called {' or '.join(only)}; see audio-vq bench without --only")
    rows: list[Measurement] = []
    with torch_threads(budget.threads), progress_bar("measuring", total=len(themes)) as bar:
        for theme in themes:
            bar.say(theme.title)
            rows += theme.measure()
            bar.advance()
    machine = describe_machine()
    shared = {"cpu": machine["cpu"], "gpu": machine["gpu"], "threads": budget.threads}
    return [dataclasses.replace(row, context={**shared, **row.context}) for row in rows if wanted(row.name)]


def _themes(subjects: Subjects, budget: Budget, wanted: Wanted) -> Iterator[Theme]:
    whole = subjects.whole
    config = whole.vqvae.config
    yield Theme("machine", MACHINE_NAMES, lambda: measure_machine(budget.seconds))
    for model in subjects.decoders:
        yield from _decoder_themes(model, subjects.speech, budget, wanted)
    yield Theme(f"training of {whole.label}", TRAINING_NAMES, lambda: measure_training(config, budget, subjects.train))
    yield Theme(f"encoding by {whole.label}", (ENCODE,), lambda: _measure_encoding(whole, budget))
    track_sizes = whole.vqvae.network.track_sizes
    yield Theme("prior", prior.NAMES, lambda: prior.measure_prior(subjects.prior, track_sizes, budget))


def _measure_encoding(model: Model, budget: Budget) -> list[Measurement]:
    seconds = ENCODE_SPEED * budget.seconds
    times = statistics.median(measure_encoding(model.vqvae, seconds) for _ in range(3))
    context = {"model": model.label, "recording": f"{seconds:g} s"}
    return [Measurement(ENCODE, times, "seconds of audio/s", times, "real time", context)]


def _decoder_themes(model: Model, speech: Speech | None, budget: Budget, wanted: Wanted) -> Iterator[Theme]:
    def decoder() -> Decoder:
        context = {"decoder": model.label, "weights": "trained" if model.trained else "fresh"}
        return make_decoder(model.vqvae, speech, budget.seconds, model.prefix, context, model.trained)

    def names(of: Sequence[str]) -> list[str]:
        return [model.prefix + name for name in of]

    yield Theme(
        f"sampling by {model.label}",
        names(sampling.NAMES),
        lambda: sampling.measure_sampling(decoder(), budget, wanted),
    )
    yield Theme(
        f"weight formats of {model.label}",
        names(formats.NAMES),
        lambda: formats.measure_formats(decoder()),
    )
    if torch.cuda.is_available():
        yield Theme(
            f"sampling by {model.label} on the GPU", names(gpu.NAMES), lambda: gpu.measure_gpu(decoder(), budget)
        )
