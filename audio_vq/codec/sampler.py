"""A WaveNet made ready to sample on this machine's processor.

Two formats of weights: `float32` computes as the network does, `int8` rounds weights to 255 steps per output and
activations to 255 steps per layer and stream. `audio-vq bench --speech` measures what this costs: the Kullback–Leibler
divergence of its predictions from those of float32, in nats per class of real speech.
"""

from typing import Literal, cast, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audio_vq.codec.drawing import SamplingOptions
from audio_vq.errors import UserError
from audio_vq.kernels import sampling
from audio_vq.kernels.dots import INTEGER, PANEL
from audio_vq.kernels.sampling import Memory, Network, StreamStates
from audio_vq.kernels.weights import FASTEST_FAITHFUL, Format, pack
from audio_vq.models.wavenet import GatedLayer, WaveNet

Precision = Literal["auto", "float32", "int8"]
Classes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


def choose_precision(wanted: str) -> Format:
    """What `auto` means. Raises UserError for unknown formats."""
    if wanted not in get_args(Precision):
        raise UserError(f"precision {wanted!r}; expected one of {', '.join(get_args(Precision))}")
    return FASTEST_FAITHFUL if wanted == "auto" else cast("Format", wanted)


class Sampler:
    """Samples many streams of one WaveNet side by side.

    Args:
        wavenet: whose weights are copied in the kernel's layout.
        precision: of the weights; `auto` is the fastest that is faithful.
    """

    def __init__(self, wavenet: WaveNet, precision: Precision = "auto") -> None:
        self.precision = choose_precision(precision)
        self.silence = wavenet.silence
        self.bands, self.classes = wavenet.bands.bands, wavenet.classes
        self.frame_length = wavenet.frame_length  # steps per conditioning frame
        self._network = pack_network(wavenet, self.precision)
        self._remembered = remembered_steps(wavenet)
        self._memories: dict[int, Memory] = {}

    def fork(self) -> "Sampler":
        """The same weights with working memory of its own: one for each thread."""
        twin = object.__new__(Sampler)
        twin.__dict__.update(self.__dict__)
        twin._memories = {}
        return twin

    def streams(self, count: int) -> StreamStates:
        """Streams before their first step: nothing but zeros lies behind, and the class of amplitude zero."""
        entries = (self._network.kernel_size - 1) * int(self._network.dilations.sum())
        return StreamStates(
            past=np.zeros((count, entries, self._network.embedding.shape[1]), np.float32),
            next=np.zeros((count, len(self._network.dilations)), np.int64),
            previous=np.full((count, self.bands), self.silence, np.int64),
            said=np.zeros((count, self._remembered, self.bands), np.int64),
            steps=np.zeros(count, np.int64),
        )

    def begin_again(self, states: StreamStates, slot: int) -> None:
        """Makes one stream as it was before its first step."""
        states.past[slot] = 0
        states.next[slot] = 0
        states.previous[slot] = self.silence
        states.steps[slot] = 0

    def sample(
        self,
        states: StreamStates,
        slots: npt.NDArray[np.int64],
        conditioning: Floats,
        uniforms: npt.NDArray[np.float64],
        options: SamplingOptions,
    ) -> Classes:
        """Draws the next classes `(rows, bands, steps)` of the streams `slots` `(rows,)`, whose states move on.

        Conditioning is `(rows, frames, layers, 2R)`, uniforms `(rows, bands, frames · frame_length)` in [0, 1).

        Raises:
            UserError: the options have temperatures for another number of bands.
        """
        frames, memory = self.__wide(conditioning), self._memory(len(slots))
        temperatures, classes = np.array(options.temperatures(self.bands)), np.empty(uniforms.shape, np.int64)
        sampling.sample(self._network, states, slots, frames, uniforms, temperatures, options.top_p, memory, classes)
        return classes

    def logits(self, targets: Classes, conditioning: Floats) -> Floats:
        """Logits `(rows, time, bands, classes)` from the sampling kernel, every step after the targets before it.

        Targets are `(rows, bands, time)`, conditioning `(rows, frames, layers, 2R)`.
        """
        rows = len(targets)
        states, slots, frames = self.streams(rows), np.arange(rows), self.__wide(conditioning)
        logits = np.empty((rows, targets.shape[2], self.bands, self.classes), np.float32)
        sampling.teacher_forced(self._network, states, slots, frames, targets, self._memory(rows), logits)
        return logits

    def __wide(self, conditioning: Floats) -> Floats:
        """Both halves of `(…, 2R)` as wide as the kernel's channels."""
        channels = self._network.embedding.shape[1]
        halves = conditioning.reshape(*conditioning.shape[:-1], 2, -1)
        if halves.shape[-1] < channels:
            halves = _pad(halves, *halves.shape[:-1], channels)
        return np.ascontiguousarray(halves.reshape(*conditioning.shape[:-1], 2 * channels))

    def _memory(self, rows: int) -> Memory:
        if rows not in self._memories:
            activations = INTEGER if self.precision == "int8" else np.float32
            self._memories[rows] = sampling.working_memory(self._network, rows, self.classes, activations)
        return self._memories[rows]


def pack_network(wavenet: WaveNet, precision: Format) -> Network:
    """The network's weights laid out for the kernel, channels padded with zeros."""
    layers = cast("list[GatedLayer]", list(wavenet.layers))
    embedding = _array(wavenet.embedding.weight)
    bands, classes, narrow = wavenet.bands.bands, wavenet.classes, embedding.shape[1]
    channels, skip = _wide(narrow), _wide(wavenet.hidden.in_features)
    # of each tap both halves of the gate: (layers, kernel, R, 2, R)
    taps = _array(torch.stack([layer.weight.mT.unflatten(2, (2, narrow)) for layer in layers]))
    onward = np.zeros((len(layers), channels, channels + skip), np.float32)
    onward_bias = np.zeros((len(layers), channels + skip), np.float32)
    skips = _array(wavenet.skip.weight.T).reshape(len(layers), narrow, -1)
    onward[:, :narrow, channels : channels + skips.shape[2]] = skips
    for i, layer in enumerate(layers):
        if layer.residual is not None:  # nothing reads the last layer's output
            onward[i, :narrow, :narrow] = _array(layer.residual.weight.T)
            onward_bias[i, :narrow] = _array(layer.residual.bias)
    # rounded once, the two output layers would alone cost three times what all other rounding does
    head_terms = 2 if precision == "int8" else 1
    hidden, output = _array(wavenet.hidden.weight.T), _array(wavenet.output.weight.T.unflatten(1, (bands, classes)))
    return Network(
        embedding=_pad(embedding, len(embedding), channels),
        taps=pack(_pad(taps, *taps.shape[:2], channels, 2, channels).reshape(len(layers), -1, 2 * channels), precision),
        onward=pack(onward, precision),
        onward_bias=onward_bias,
        skip_bias=_pad(_array(wavenet.skip.bias), skip),
        hidden=pack(_pad(hidden, skip, skip)[None], precision, head_terms),
        hidden_bias=_pad(_array(wavenet.hidden.bias), skip),
        output=pack(_pad(output, skip, bands, _wide(classes)).reshape(1, skip, -1), precision, head_terms),
        output_bias=_pad(_array(wavenet.output.bias.unflatten(0, (bands, classes))), bands, _wide(classes)).ravel(),
        dilations=np.array(wavenet.dilations, np.int64),
        kernel_size=wavenet.kernel_size,
        bands=bands,
        pitch_taps=wavenet.pitch_taps,
    )


def remembered_steps(wavenet: WaveNet) -> int:
    """So many of the last steps pitch taps may ask for."""
    period = wavenet.conditioner.period
    return period.longest + wavenet.pitch_taps if period else 1


def _wide(size: int) -> int:
    """A number of channels as the kernel takes them."""
    return -(-size // PANEL) * PANEL


def _pad(array: Floats, *shape: int) -> Floats:
    """With zeros behind, to a shape."""
    out = np.zeros(shape, np.float32)
    out[tuple(slice(size) for size in array.shape)] = array
    return out


def _array(tensor: Tensor) -> Floats:
    return np.ascontiguousarray(tensor.detach().float().cpu().numpy())
