"""A WaveNet made ready to sample on this machine's processor.

Three formats of weights: `float32` computes as the network does. `bfloat16` rounds weights to 8 bits of mantissa;
`int8` rounds them to 255 steps per output and activations to 255 steps per row. The speed of a single stream is that of
reading the weights, so that each is faster than the one before it. `audio-vq bench --speech` measures what a format
costs: the Kullback–Leibler divergence of its predictions from those of float32, in nats per sample of real speech.
"""

from typing import Literal, cast, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audio_vq.codec.drawing import SamplingOptions
from audio_vq.errors import UserError
from audio_vq.kernels import packed_step, wavenet_step
from audio_vq.kernels.cpu import HAS_VECTORS, HAS_VNNI
from audio_vq.kernels.packed_memory import Workspace, workspace
from audio_vq.kernels.packing import Precision as Format
from audio_vq.kernels.packing import activation_dtype, pack, padded_conditioning
from audio_vq.kernels.streams import StreamStates, silent_streams
from audio_vq.kernels.wavenet_step import Rings, StepWeights
from audio_vq.models.wavenet import GatedLayer, WaveNet

Precision = Literal["auto", "float32", "bfloat16", "int8"]
Classes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

# the fastest format below 1e-3 nats per sample: on held-out recordings of VCTK int8 has 8e-5 for a trained
# `wavenet_reference` and 4e-4 for a trained `small`, bfloat16 1e-5 and 3e-5; `audio-vq bench CHECKPOINT --speech
# PREPARED` measures it for any model. Without VNNI
# instructions, products of bytes are slower than those of bfloat16
FASTEST_FAITHFUL: Format = "int8" if HAS_VNNI else "bfloat16"


def choose_precision(wanted: str) -> Format:
    """What `auto` means here. Raises UserError for unknown formats and for those this processor has no kernel for."""
    if wanted not in get_args(Precision):
        raise UserError(f"precision {wanted!r}; expected one of {', '.join(get_args(Precision))}")
    if wanted == "auto":
        return FASTEST_FAITHFUL if HAS_VECTORS else "float32"
    if wanted != "float32" and not HAS_VECTORS:
        raise UserError(
            f"precision {wanted} needs a processor with AVX2 and FMA; this one has not: give float32 or auto"
        )
    return cast("Format", wanted)


class Sampler:
    """Samples many streams of one WaveNet side by side.

    Args:
        wavenet: whose weights are copied in the kernel's layout.
        precision: of the weights; `auto` is the fastest that is faithful.
        vectors: False takes the plain kernel, which runs on any processor (float32).
    """

    def __init__(self, wavenet: WaveNet, precision: Precision = "auto", vectors: bool = HAS_VECTORS) -> None:
        self.precision: Format = choose_precision(precision) if vectors else "float32"
        self.silence = wavenet.silence
        self.hop_length = wavenet.hop_length  # samples per conditioning frame
        self._plain = step_weights(wavenet)
        self._packed = pack(self._plain, self.precision) if vectors else None
        self._workspaces: dict[int, Workspace] = {}
        self._scratch = wavenet_step.working_memory(self._plain)

    def fork(self) -> "Sampler":
        """The same weights with working memory of its own: one for each thread."""
        twin = object.__new__(Sampler)
        twin.__dict__.update(self.__dict__)
        twin._workspaces = {}
        twin._scratch = wavenet_step.working_memory(self._plain)
        return twin

    def streams(self, count: int) -> StreamStates:
        """Streams before their first sample."""
        layers, kernel_size, channels, _ = self._plain.taps.shape
        entries = int((kernel_size - 1) * self._plain.dilations.sum())
        if self._packed is None:
            return silent_streams(count, entries, channels, layers, np.float32, self.silence)
        channels, dtype = self._packed.embedding.shape[1], activation_dtype(self._packed)
        return silent_streams(count, entries, channels, layers, dtype, self.silence)

    def sample(
        self,
        states: StreamStates,
        slots: npt.NDArray[np.int64],
        conditioning: Floats,
        uniforms: npt.NDArray[np.float64],
        options: SamplingOptions,
    ) -> Classes:
        """Draws the next classes `(rows, frames · hop_length)` of the streams `slots` `(rows,)`, whose states move on.

        Conditioning is `(rows, frames, layers, 2R)`, uniforms `(rows, frames · hop_length)` in [0, 1).
        """
        temperature, top_p = options.temperature, options.top_p
        if self._packed is None:
            rows = []
            for slot, frames, draws in zip(slots, conditioning, uniforms, strict=True):
                rings, previous = _rings(states, slot)
                rows.append(
                    wavenet_step.sample(self._plain, rings, previous, frames, draws, temperature, top_p, self._scratch)
                )
                states.previous[slot] = rows[-1][-1]
            return np.stack(rows)
        frames = padded_conditioning(conditioning)
        work = self._workspace(len(slots))
        return packed_step.sample(self._packed, states, slots, frames, uniforms, temperature, top_p, work)

    def logits(self, targets: Classes, conditioning: Floats) -> Floats:
        """Logits `(rows, time, classes)` from the sampling kernel, every sample after the targets before it.

        Targets are `(rows, time)`, conditioning `(rows, frames, layers, 2R)`.
        """
        states, slots = self.streams(len(targets)), np.arange(len(targets))
        if self._packed is None:
            rows = []
            for slot, frames, classes in zip(slots, conditioning, targets, strict=True):
                rings, previous = _rings(states, slot)
                rows.append(wavenet_step.teacher_forced(self._plain, rings, previous, frames, classes, self._scratch))
            return np.stack(rows)
        frames = padded_conditioning(conditioning)
        return packed_step.teacher_forced(self._packed, states, slots, frames, targets, self._workspace(len(targets)))

    def _workspace(self, rows: int) -> Workspace:
        assert self._packed is not None
        if rows not in self._workspaces:
            self._workspaces[rows] = workspace(self._packed, rows)
        return self._workspaces[rows]


def step_weights(wavenet: WaveNet) -> StepWeights:
    """The network's weights laid out for the plain kernel: `(in, out)`, float32."""
    embedding = wavenet.embedding.weight
    channels = embedding.shape[1]
    layers = cast("list[GatedLayer]", list(wavenet.layers))
    residuals = [layer.residual for layer in layers if layer.residual is not None]
    # a WaveNet of one layer has no residual matrices: none is still an array of three axes
    residual = [embedding.new_empty(0, channels, channels), *(linear.weight.T[None] for linear in residuals)]
    residual_bias = [embedding.new_empty(0, channels), *(linear.bias[None] for linear in residuals)]
    return StepWeights(
        embedding=_array(embedding),
        taps=_array(torch.stack([layer.weight for layer in layers]).transpose(2, 3)),
        dilations=np.array(wavenet.dilations, np.int64),
        residual=_array(torch.cat(residual)),
        residual_bias=_array(torch.cat(residual_bias)),
        skip=_array(wavenet.skip.weight.T),
        skip_bias=_array(wavenet.skip.bias),
        hidden=_array(wavenet.hidden.weight.T),
        hidden_bias=_array(wavenet.hidden.bias),
        output=_array(wavenet.output.weight.T),
        output_bias=_array(wavenet.output.bias),
    )


def _rings(states: StreamStates, slot: np.int64) -> tuple[Rings, int]:
    past = cast("Floats", states.past)
    return Rings(past[slot], states.next[slot]), int(states.previous[slot])


def _array(tensor: Tensor) -> Floats:
    return np.ascontiguousarray(tensor.detach().float().cpu().numpy())
