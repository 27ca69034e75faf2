"""How fast the decoder speaks, against the best plain PyTorch step and against what the core can do at all."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from audio_vq.bench.decoder import Decoder
from audio_vq.bench.machine import multiply_adds
from audio_vq.bench.measurement import Budget, Measurement, Rates, take_turns
from audio_vq.codec.decode import sample_waveforms
from audio_vq.codec.drawing import SamplingOptions, draw
from audio_vq.codec.sampler import Precision, choose_precision
from audio_vq.codec.slots import empty_slots, shifted, stack_weights, step
from audio_vq.machine import available_cpus

PLAIN, PLAIN_BATCHED = "wavenet_plain_samples_per_s", "wavenet_plain_batched_samples_per_s"
SINGLE, BATCHED = "wavenet_single_samples_per_s", "wavenet_batched_samples_per_s"
BATCHED_FLOAT32 = "wavenet_batched_float32_samples_per_s"
PEAK = "machine_gmacs"
STREAMS = 32
PLAIN_STEPS = 64  # at a time
REAL_TIME = {
    SINGLE: "wavenet_single_realtime",
    BATCHED: "wavenet_batched_realtime",
    "wavenet_4_streams_samples_per_s": "wavenet_4_streams_realtime",
}


@dataclass(frozen=True)
class Setting:
    """How `sample_waveforms` is called; threads None = those of the budget."""

    streams: int
    precision: Precision = "auto"
    threads: int | None = None
    baseline: str = PLAIN


SETTINGS = {
    SINGLE: Setting(1),
    "wavenet_single_float32_samples_per_s": Setting(1, "float32"),
    "wavenet_single_int8_samples_per_s": Setting(1, "int8"),
    "wavenet_4_streams_samples_per_s": Setting(4),
    BATCHED: Setting(STREAMS),
    BATCHED_FLOAT32: Setting(STREAMS, "float32"),
    "wavenet_batched_one_thread_samples_per_s": Setting(STREAMS, threads=1),
    "wavenet_batched_two_threads_samples_per_s": Setting(
        STREAMS, threads=2, baseline="wavenet_batched_one_thread_samples_per_s"
    ),
}
FRACTION = "wavenet_fraction_of_peak"
NAMES = (PLAIN, PLAIN_BATCHED, *SETTINGS, *REAL_TIME.values(), FRACTION)


def measure_sampling(decoder: Decoder, budget: Budget, wanted: Callable[[str], bool]) -> list[Measurement]:
    """All that take turns with the plain step; `wanted` says which names are asked for."""

    def asked(name: str) -> bool:
        return wanted(decoder.prefix + name)

    settings = {
        name: setting
        for name, setting in SETTINGS.items()
        if (setting.threads or 1) <= available_cpus()
        and (asked(name) or asked(REAL_TIME.get(name, name)) or (name == BATCHED_FLOAT32 and asked(FRACTION)))
    }
    baselines = {setting.baseline for setting in settings.values()}
    settings |= {name: SETTINGS[name] for name in baselines if name in SETTINGS}
    contenders = {PLAIN: plain_sampler(decoder, 1)}
    if asked(PLAIN_BATCHED):
        contenders[PLAIN_BATCHED] = plain_sampler(decoder, STREAMS)
    for name, setting in settings.items():
        contenders[name] = _sampler(decoder, setting, budget)
    if BATCHED_FLOAT32 in settings:
        contenders[PEAK] = multiply_adds()
    rates = take_turns(contenders, budget.seconds)
    rows = [_speed(decoder, rates, name) for name in contenders if name != PEAK]
    rows += [_real_time(decoder, rates, name) for name in settings if name in REAL_TIME]
    if BATCHED_FLOAT32 in settings:
        rows.append(_fraction_of_peak(decoder, rates))
    return rows


@torch.inference_mode()
def plain_sampler(decoder: Decoder, streams: int) -> Callable[[], float]:
    """Some samples from the best step that PyTorch makes without compiling, and how many that is.

    The one that is recorded on GPUs: of several ways to write it, the fastest on CPUs, too.
    """
    weights = stack_weights(decoder.wavenet)
    device = decoder.latents.device
    conditioning = decoder.wavenet.conditioner(decoder.latents[None, :, :1], decoder.voice)[:, :, 0]
    frame = shifted(weights, conditioning).transpose(0, 1)  # (rows, 1, 2R)
    slots = empty_slots(weights, streams, 1)
    bands = decoder.wavenet.bands.bands
    uniforms = torch.rand(PLAIN_STEPS, streams, bands, dtype=torch.float64, device=device)
    options = SamplingOptions()

    @torch.inference_mode()
    def work() -> float:
        for t in range(PLAIN_STEPS):
            logits = step(weights, slots, frame.expand(-1, streams, -1))
            slots.previous.copy_(draw(logits, uniforms[t], options))
        slots.previous.cpu()  # a GPU is done only now
        return PLAIN_STEPS * streams * bands

    return work


def _sampler(decoder: Decoder, setting: Setting, budget: Budget) -> Callable[[], float]:
    """Clips of a fixed length from `sample_waveforms`, and how many samples that is."""
    # long enough that what is done once per call is a small part of it
    units = round(budget.seconds / 4 * decoder.sample_rate / decoder.hop_length / setting.streams**0.5)
    latents = decoder.latents[:, : max(1, units)]
    threads = setting.threads or budget.threads

    def work() -> float:
        clips = sample_waveforms(
            decoder.wavenet,
            [latents] * setting.streams,
            [decoder.speaker] * setting.streams,
            SamplingOptions(),
            precision=setting.precision,
            threads=threads,
        )
        return sum(map(len, clips))

    return work


def _speed(decoder: Decoder, rates: Rates, name: str) -> Measurement:
    setting = SETTINGS.get(name)
    baseline = setting.baseline if setting else PLAIN if name == PLAIN_BATCHED else None
    streams = setting.streams if setting else STREAMS if name == PLAIN_BATCHED else 1
    return Measurement(
        decoder.prefix + name,
        rates.median(name),
        "samples/s",
        ratio=rates.ratio(name, baseline) if baseline else None,
        baseline=decoder.prefix + baseline if baseline else None,
        context={
            **decoder.context,
            "best_round": rates.best(name),
            "streams": streams,
            "precision": choose_precision(setting.precision) if setting else "float32",
            **({"threads": setting.threads} if setting and setting.threads else {}),
        },
    )


def _real_time(decoder: Decoder, rates: Rates, name: str) -> Measurement:
    times = rates.median(name) / decoder.sample_rate
    setting = SETTINGS[name]
    context = {**decoder.context, "streams": setting.streams, "precision": choose_precision(setting.precision)}
    return Measurement(
        decoder.prefix + REAL_TIME[name],
        times,
        "seconds of audio/s",
        ratio=times,
        baseline="real time",
        context=context,
    )


def _fraction_of_peak(decoder: Decoder, rates: Rates) -> Measurement:
    fraction = rates.ratio(BATCHED_FLOAT32, PEAK) * decoder.multiply_adds
    return Measurement(
        decoder.prefix + FRACTION,
        fraction,
        "of one core's peak",
        ratio=fraction,
        baseline=PEAK,
        context={
            **decoder.context,
            "streams": STREAMS,
            "precision": "float32",
            "macs_per_sample": decoder.multiply_adds,
        },
    )
