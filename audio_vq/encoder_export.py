"""A model's encoder and codebook as a graph for other programs: ONNX, or an exported PyTorch program.

    waveform ─▶ level ─▶ filterbank ─▶ mean spectrum taken off ─▶ convolutions ─▶ units
    (batch, time)                                                                 (batch, groups, units)

The waveform is a whole recording (of a batch: recordings of one length) at the model's sample rate, without a constant
offset. What is done to it as a whole is in the graph: it is brought to the loudness of the training corpus as
`loudness.py` does it, and where the encoder wants its mean spectrum, that is found as in `codec/statistics.py`. Outside
stay reading, resampling, the filter that takes a drifting offset away (`audio/resampling.py`), and pitch.

The graph is made of the operators that every runtime has: convolutions are `conv1d` here, where `models/` has matrix
products over overlapping rows. Sums are then rounded otherwise, and near ties between codebook vectors may flip.
"""

import copy
import json
import logging
import math
import warnings
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audio_vq.audio.waveform import Waveform
from audio_vq.codec.encode import encode_sources
from audio_vq.codec.source import Source
from audio_vq.codec.statistics import STEP, STEP_DB
from audio_vq.errors import UserError
from audio_vq.extras import require_package
from audio_vq.files import atomic_path, atomic_write_bytes
from audio_vq.loudness import ACTIVE_RANGE_DB as SPEECH_RANGE_DB
from audio_vq.loudness import FRAME_LENGTH, MAX_GAIN_DB, PEAK_LIMIT
from audio_vq.models.convolution import Convolution
from audio_vq.models.encoder import ResidualBlock
from audio_vq.models.filterbank import ACTIVE_RANGE_DB, CENTRE, FLOOR, LOG_SCALE, Filterbank
from audio_vq.models.vqvae import VQVAEModel
from audio_vq.pretrained import VQVAE
from audio_vq.units import Units

ONNX, PROGRAM = ".onnx", ".pt2"
OPSET = 20  # of ONNX, from September 2023
SCALE = 2.0**30  # a power of two changes no sum's rounding
TEST_SECONDS = 3.0  # of the sound by which an exported graph is compared with the model
METADATA_FILE = "audio_vq.json"  # inside .pt2


@dataclass(frozen=True)
class EncoderFacts:
    """What is written into the file, and what came of comparing it with the model."""

    sample_rate: int  # Hz
    hop_length: int  # samples per unit
    codebook_size: int
    groups: int
    least_samples: int  # of a waveform
    loudness_db: float | None  # to which the graph brings recordings; None: within full scale
    pitch_classes: int  # of the track beside the units, which the graph does not make; 0: there is none
    fingerprint: str
    audio_vq: str  # version
    opset: int | None  # of ONNX
    equal_units: float = float("nan")  # share, of a test sound


def export_encoder(model: VQVAE, out: Path) -> EncoderFacts:
    """Writes `out`, .onnx or .pt2 by its suffix, whole or not at all.

    Raises:
        UserError: another suffix, or packages of the extra `onnx` that are missing.
    """
    check_suffix(out)
    graph = EncoderGraph(copy.deepcopy(model.network), model.loudness_db).eval()
    for parameter in graph.parameters():  # the model's own may lie in memory as its matrix products want them
        parameter.data = parameter.data.contiguous()
    program = _program(graph, model.hop_length)
    facts = EncoderFacts(
        model.sample_rate,
        model.hop_length,
        model.codebook_size,
        model.groups,
        _least_samples(model.hop_length),
        model.loudness_db,
        model.pitch_classes,
        model.fingerprint,
        version("audio-vq"),
        OPSET if out.suffix == ONNX else None,
    )
    sound = _test_sound(model.sample_rate)
    if out.suffix == ONNX:
        content = _onnx_bytes(program, facts)
        units = _run_onnx(content, sound)
        atomic_write_bytes(out, content)
    else:
        units = program.module()(torch.from_numpy(sound)).numpy()
        with atomic_path(out) as temporary:
            torch.export.save(program, temporary, extra_files={METADATA_FILE: json.dumps(asdict(facts))})
    equal = float((units[0] == _own_units(model, sound[0])).mean())
    return replace(facts, equal_units=equal)


def _own_units(model: VQVAE, sound: Waveform) -> Units:
    """`(groups, units)` that the model makes of a waveform just as it is."""
    as_it_is = Source("sound", "", "", lambda _: iter([sound]))
    (encoding,) = encode_sources(model.codec, [as_it_is])
    return encoding.sequence.groups


def check_suffix(out: Path) -> None:
    """Raises UserError for a name of another kind of file, or where what it needs is not installed."""
    if out.suffix not in {ONNX, PROGRAM}:
        raise UserError(f"{out}: an encoder is exported as {ONNX} or {PROGRAM}, not {out.suffix or 'without a suffix'}")
    for package in ("onnx", "onnxscript") if out.suffix == ONNX else ():
        require_package(package, "onnx")


class EncoderGraph(nn.Module):
    """Waveforms `(batch, time)` of recordings → units `(batch, groups, units)`; silence completes the last one."""

    def __init__(self, network: VQVAEModel, loudness_db: float | None) -> None:
        super().__init__()
        self.encoder = network.encoder
        self.loudness_db = loudness_db
        self.hop_length = network.hop_length
        self.codebook: Tensor
        self.register_buffer("codebook", network.quantizer.codebook.detach().float())  # (groups, K, dim / groups)

    def forward(self, waveform: Tensor) -> Tensor:
        units = (waveform.shape[1] + self.hop_length - 1) // self.hop_length
        x = waveform * _gain(waveform, self.loudness_db)[:, None]
        x = F.pad(x, (0, units * self.hop_length - waveform.shape[1]))[:, None]  # (B, 1, T)
        if self.encoder.filterbank is not None:
            x = _filtered(self.encoder.filterbank, x)  # (B, filters, frames)
        if self.encoder.centred:
            x = x - _mean_spectrum(x)[..., None]
        for layer in self.encoder.layers:
            x = _layer(layer, x)
        parts = x.unflatten(1, (self.codebook.shape[0], -1))  # (B, G, dim / G, units)
        # ‖z‖² is the same for every vector and left out
        distance = self.codebook.square().sum(2)[..., None] - 2 * torch.matmul(self.codebook, parts)  # (B, G, K, units)
        return distance.argmin(2)


def _gain(waveform: Tensor, loudness_db: float | None) -> Tensor:
    """As `codec.source.levelled` has it of waveforms `(batch, time)`: `(batch,)`."""
    peak = waveform.abs().amax(1).double()
    if loudness_db is None:
        return (1 / peak.clamp_min(1.0)).float()
    frames = (waveform.shape[1] + FRAME_LENGTH - 1) // FRAME_LENGTH
    samples = F.pad(waveform, (0, frames * FRAME_LENGTH - waveform.shape[1])).double()
    power = samples.view(-1, frames, FRAME_LENGTH).square().mean(2)  # (B, frames)
    active = (power >= power.amax(1, keepdim=True) * 10 ** (-SPEECH_RANGE_DB / 10)).double()
    mean = (power * active).sum(1) / active.sum(1)
    silent = mean == 0
    wanted = 10 ** (loudness_db / 20) / torch.where(silent, 1.0, mean).sqrt()
    within = PEAK_LIMIT / torch.where(silent, 1.0, peak)
    decibels = torch.round(20 * torch.log10(torch.minimum(wanted, within).clamp_max(10 ** (MAX_GAIN_DB / 20))))
    return torch.where(silent, 1.0, torch.pow(10.0, decibels / 20)).float()


def _filtered(filterbank: Filterbank, waveform: Tensor) -> Tensor:
    """As `Filterbank.forward`: `(batch, 1, time)` → `(batch, filters, frames)`."""
    filters, pool = filterbank.filters, filterbank.pool
    reach = filterbank.kernel.shape[-1] - filterbank.stride
    padded = F.pad(waveform, (reach // 2, reach - reach // 2))
    x = F.conv1d(padded, filterbank.kernel, stride=filterbank.stride)
    energy = x[:, :filters].square() + x[:, filters:].square()
    reach = len(pool) - filterbank.OVERSAMPLING
    padded = F.pad(energy, (reach // 2, reach - reach // 2))
    # scaled, and the logarithm shifted back: the exporter takes an addition of FLOOR, 1e-9, for one of zero
    kernel = (pool * SCALE).expand(filters, 1, -1)
    energy = F.conv1d(padded, kernel, stride=filterbank.OVERSAMPLING, groups=filters)
    return (torch.log(energy + FLOOR * SCALE) + (CENTRE - math.log(SCALE))) / LOG_SCALE


def _mean_spectrum(spectrum: Tensor) -> Tensor:
    """As `SpectrumMeter` has it of `(batch, filters, frames)`: `(batch, filters)`, over frames of speech."""
    exact = spectrum.double()
    steps = torch.floor(exact.mean(1) / STEP)
    active = (steps >= steps.amax(1, keepdim=True) - round(ACTIVE_RANGE_DB / STEP_DB)).double()[:, None]
    return ((exact * active).sum(2) / active.sum(2)).float()


def _layer(layer: nn.Module, x: Tensor) -> Tensor:
    """A layer of the encoder, on `(batch, channels, time)`."""
    if isinstance(layer, Convolution):
        window, stride = layer.kernel_size[0], layer.stride[0]
        left = (window - stride) // 2
        return F.conv1d(F.pad(x, (left, window - stride - left)), layer.weight, layer.bias, stride)
    if isinstance(layer, nn.LayerNorm):
        return cast("Tensor", layer(x.transpose(1, 2))).transpose(1, 2)
    if isinstance(layer, ResidualBlock):
        y = x
        for inner in layer.layers:
            y = _layer(inner, y)
        return x + y
    return cast("Tensor", layer(x))


def _least_samples(hop_length: int) -> int:
    """Of a waveform: two units and two frames of loudness have begun; what has a size of one is exported as fixed."""
    return max(hop_length, FRAME_LENGTH) + 1


def _program(graph: EncoderGraph, hop_length: int) -> torch.export.ExportedProgram:
    time = torch.export.Dim("time", min=_least_samples(hop_length))
    example = torch.zeros(2, 10 * max(hop_length, FRAME_LENGTH) + 1)
    with torch.no_grad():
        return torch.export.export(graph, (example,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC, 1: time},))


def _onnx_bytes(program: torch.export.ExportedProgram, facts: EncoderFacts) -> bytes:
    from onnxscript import ir

    # it tells of operators of packages that are not there
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's about itself
        exported = torch.onnx.export(
            program,
            input_names=["waveform"],
            output_names=["units"],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert exported is not None
    exported.model.graph.inputs[0].shape = ir.Shape(["batch", "time"])
    exported.model.graph.outputs[0].shape = ir.Shape(["batch", facts.groups, "units"])
    known = {key: value for key, value in asdict(facts).items() if key != "equal_units"}
    exported.model.metadata_props.update({key: json.dumps(value).strip('"') for key, value in known.items()})
    return exported.model_proto.SerializeToString()


def _run_onnx(content: bytes, sound: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["units"], {"waveform": sound})[0])


def _test_sound(sample_rate: int) -> np.ndarray:
    """Noise that swells and pauses `(1, time)`, of a length that is no multiple of anything."""
    random = np.random.default_rng(0)
    samples = round(TEST_SECONDS * sample_rate) + 7
    loudness = np.abs(np.sin(np.arange(samples) * (7.0 / sample_rate))) ** 4
    return (0.3 * loudness * random.uniform(-1, 1, samples)).astype(np.float32)[None]
