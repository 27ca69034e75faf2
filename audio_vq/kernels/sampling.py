"""One WaveNet step after another, many streams side by side: plain loops over layers, streams and channels.

A step draws one class per band. It needs the inputs of `dilation`, 2 · dilation … steps ago in every layer. Each layer
keeps them in a ring, so that a step costs two products per layer, not a pass over the receptive field (Le Paine et al.
2016, "Fast WaveNet generation algorithm"). All streams go through a layer before the next one: its weights stay in the
cache.

Two formats, told apart by the types of weights and activations (`dots.py`). In float32 the equations are those of
`models/wavenet.py`; `tests/test_sampling.py` proves the logits equal. In int8, activations are whole numbers up to
±127 times a scale per stream, weights the same times a scale per output.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from audio_vq.kernels.arithmetic import LOG2_E, exp2
from audio_vq.kernels.compiling import INLINED, UNCOUNTED, compiled
from audio_vq.kernels.dots import ZERO, Array, multiply
from audio_vq.kernels.drawing import draw_class
from audio_vq.kernels.weights import LARGEST, Floats, Matrices

Ints = npt.NDArray[np.int64]

_F = np.float32
_CONTRACT = {"contract"}  # products and sums may become one instruction; nothing that depends on a stream's company


class Network(NamedTuple):
    """One WaveNet as the step reads it. R residual and S skip channels, padded with zeros."""

    embedding: Floats  # (rows, R); see `WaveNet.embedding`
    taps: Matrices  # (kernel · R, 2R): the present step, then those 1, 2 … dilations back
    onward: Matrices  # (R, R + S): residual beside skip
    onward_bias: Floats  # (layers, R + S)
    skip_bias: Floats  # (S,)
    hidden: Matrices  # (S, S), one "layer"
    hidden_bias: Floats  # (S,)
    output: Matrices  # (S, bands · padded classes), one "layer"
    output_bias: Floats  # (bands · padded classes,)
    dilations: Ints  # (layers,), steps
    kernel_size: int
    bands: int
    pitch_taps: int


class StreamStates(NamedTuple):
    """Where the sampling of some streams stands, changed in place from step to step."""

    past: Floats  # (streams, Σ ring lengths, R): the layers' rings, (kernel − 1) · dilation inputs each
    next: Ints  # (streams, layers): where in its ring each layer writes next, over its oldest entry
    previous: Ints  # (streams, bands): classes of the last step
    said: Ints  # (streams, longest period + taps, bands): those of the last steps, step t at t modulo their number
    steps: Ints  # (streams,): so far


class Memory(NamedTuple):
    """Working memory of one step of some rows, streams side by side."""

    activations: Array  # (rows, max(kernel · R, S)): what a product reads
    scales: Floats  # (rows,): of activations
    sums: Array  # (rows, most outputs): what a product makes
    x: Floats  # (rows, R + S): the next layer's input beside the sum of skips
    gate: Floats  # (R,): of one row
    hidden: Floats  # (rows, S)
    logits: Floats  # (rows, bands · padded classes)
    weights: Floats  # (classes,): of one draw
    candidates: Floats  # (classes,)


def working_memory(network: Network, rows: int, classes: int, activations: type[np.generic]) -> Memory:
    channels, skip, logits = network.embedding.shape[1], len(network.skip_bias), len(network.output_bias)
    products = (network.taps, network.onward, network.hidden, network.output)
    return Memory(
        activations=np.zeros((rows, max(network.kernel_size * channels, skip)), activations),
        scales=np.ones(rows, np.float32),
        sums=np.zeros((rows, max(each.starts.shape[1] for each in products)), network.taps.starts.dtype),
        x=np.zeros((rows, channels + skip), np.float32),
        gate=np.zeros(channels, np.float32),
        hidden=np.zeros((rows, skip), np.float32),
        logits=np.zeros((rows, logits), np.float32),
        weights=np.zeros(classes, np.float32),
        candidates=np.zeros(classes, np.float32),
    )


@compiled(**UNCOUNTED)
def sample(
    network: Network,
    states: StreamStates,
    slots: Ints,
    conditioning: Floats,
    uniforms: npt.NDArray[np.float64],
    temperatures: npt.NDArray[np.float64],
    top_p: float,
    memory: Memory,
    classes: Ints,
) -> None:
    """Draws one class per step and band for every row.

    Args:
        network: whose format is that of the memory.
        states: of all streams; those of `slots` are changed.
        slots: `(rows,)` the streams to continue.
        conditioning: `(rows, frames, layers, 2R)`, padded, each for time / frames steps; with pitch taps one row more
            than layers, the pitch period.
        uniforms: `(rows, bands, time)` in [0, 1).
        temperatures: `(bands,)`, divide the logits.
        top_p: keeps the most likely classes that together have this probability.
        memory: for as many rows.
        classes: `(rows, bands, time)`, to be drawn.
    """
    rows, bands, time = uniforms.shape
    frame_length, width = time // max(conditioning.shape[1], 1), memory.logits.shape[1] // bands
    for t in range(time):
        _step(network, states, slots, conditioning, t // frame_length, memory)
        for r in range(rows):
            for band in range(bands):
                logits = memory.logits[r, band * width : (band + 1) * width]
                temperature, uniform = temperatures[band], uniforms[r, band, t]
                drawn = draw_class(logits, uniform, temperature, top_p, memory.weights, memory.candidates)
                classes[r, band, t] = drawn
                states.previous[slots[r], band] = drawn
            _remember(states, slots[r])


@compiled(**UNCOUNTED)
def teacher_forced(
    network: Network,
    states: StreamStates,
    slots: Ints,
    conditioning: Floats,
    targets: Ints,
    memory: Memory,
    logits: Floats,
) -> None:
    """Logits `(rows, time, bands, classes)`, every step after the targets `(rows, bands, time)` before it."""
    rows, bands, time = targets.shape
    frame_length, width = time // max(conditioning.shape[1], 1), memory.logits.shape[1] // bands
    for t in range(time):
        _step(network, states, slots, conditioning, t // frame_length, memory)
        for r in range(rows):
            for band in range(bands):
                for c in range(logits.shape[3]):
                    logits[r, t, band, c] = memory.logits[r, band * width + c]
                states.previous[slots[r], band] = targets[r, band, t]
            _remember(states, slots[r])


@compiled(**UNCOUNTED)
def _step(
    network: Network, states: StreamStates, slots: Ints, conditioning: Floats, frame: int, memory: Memory
) -> None:
    """Logits of the next step of all rows into the memory."""
    channels, skip = network.embedding.shape[1], len(network.skip_bias)
    classes = len(memory.weights)
    for r in range(len(slots)):
        previous = states.previous[slots[r]]
        for j in range(channels):
            memory.x[r, j] = network.embedding[previous[0], j]
        for band in range(1, network.bands):
            said = network.embedding[band * classes + previous[band]]
            for j in range(channels):
                memory.x[r, j] += said[j]
        if network.pitch_taps:
            _add_period(network, states, slots[r], int(conditioning[r, frame, len(network.dilations), 0]), memory, r)
        for j in range(skip):
            memory.x[r, channels + j] = network.skip_bias[j]
    ring = 0
    for layer in range(len(network.dilations)):
        ring = _gather(network, states, slots, layer, ring, memory)
        multiply(memory.sums, memory.activations, network.taps.weights, network.taps.starts, layer)
        _gate(memory, network.taps.scales, conditioning, frame, layer)
        multiply(memory.sums, memory.activations, network.onward.weights, network.onward.starts, layer)
        _add(memory, network.onward.scales, network.onward_bias, layer)
    _dense(memory, memory.x[:, channels:], network.hidden, network.hidden_bias, memory.hidden)
    _dense(memory, memory.hidden, network.output, network.output_bias, memory.logits)


@compiled(**INLINED)
def _remember(states: StreamStates, slot: int) -> None:
    """The last step's classes, for as long as a pitch period may last."""
    place = states.steps[slot] % states.said.shape[1]
    for band in range(states.previous.shape[1]):
        states.said[slot, place, band] = states.previous[slot, band]
    states.steps[slot] += 1


@compiled(**INLINED)
def _add_period(network: Network, states: StreamStates, slot: int, period: int, memory: Memory, r: int) -> None:
    """What was said around one pitch period ago, to the first layer's inputs."""
    classes, now, nothing = len(memory.weights), states.steps[slot], len(network.embedding) - 1
    for tap in range(network.pitch_taps):
        ago = now - period + tap - network.pitch_taps // 2
        for band in range(network.bands):
            row = nothing
            if period > 0 and ago >= 0:
                row = ((1 + tap) * network.bands + band) * classes + states.said[slot, ago % states.said.shape[1], band]
            for j in range(network.embedding.shape[1]):
                memory.x[r, j] += network.embedding[row, j]


@compiled(**INLINED)
def _gather(network: Network, states: StreamStates, slots: Ints, layer: int, ring: int, memory: Memory) -> int:
    """Activations of a layer, the present inputs beside those 1, 2 … dilations ago; returns where its ring ends.

    All of a row share one scale. The present inputs are written over the oldest in the ring.
    """
    channels, dilation, taps = network.embedding.shape[1], network.dilations[layer], network.kernel_size
    length = (taps - 1) * dilation
    for r in range(len(slots)):
        slot, row, x = slots[r], memory.activations[r], memory.x[r, :channels]
        newest = states.next[slot, layer]
        top = _peak(row, x)
        for k in range(1, taps):
            top = max(top, _peak(row, states.past[slot, ring + _back(newest, k * dilation, length)]))
        memory.scales[r] = top
        _store(row, 0, x, top)
        for k in range(1, taps):
            _store(row, k * channels, states.past[slot, ring + _back(newest, k * dilation, length)], top)
        if length:
            for j in range(channels):
                states.past[slot, ring + newest, j] = x[j]
            states.next[slot, layer] = newest + 1 if newest + 1 < length else 0
    return ring + length


@compiled(**INLINED)
def _back(newest: int, steps: int, length: int) -> int:
    """Place in a ring of so many steps ago."""
    return newest - steps if newest >= steps else newest - steps + length


@compiled(**INLINED)
def _peak(row: Array, x: Floats) -> np.float32:
    """The scale with which x is put into a row of activations: 1 for floats, else the largest size, 1e-30 at least."""
    if row.itemsize == 4:
        return _F(1)
    # sizes are compared by their bits: vector instructions take the largest of whole numbers in any order
    top = _F(1e-30).view(np.int32)
    for j in range(len(x)):
        top = max(top, _F(abs(x[j])).view(np.int32))
    return np.int32(top).view(np.float32)


@compiled(**INLINED, fastmath=_CONTRACT)
def _store(row: Array, first: int, x: Floats, top: float) -> None:
    """Puts x into a row of activations from a place on: as it is, or whole numbers up to ±127 for sizes up to `top`."""
    if row.itemsize == 4:
        for j in range(len(x)):
            row[first + j] = x[j]
    else:
        inverse = _F(LARGEST) / top
        for j in range(len(x)):
            row[first + j] = np.int32(x[j] * inverse + _F(128.5)) + np.int32(ZERO - 128)


@compiled(**INLINED, fastmath=_CONTRACT)
def _gate(memory: Memory, scales: Floats, conditioning: Floats, frame: int, layer: int) -> None:
    """tanh(a) · σ(c) = (1 − e^−2a) / ((1 + e^−2a) (1 + e^−c)) of the sums: two exponentials and one division."""
    channels = conditioning.shape[3] // 2
    for r in range(len(memory.sums)):
        scale, row = memory.scales[r], memory.activations[r]
        for j in range(channels):
            k = channels + j
            a = _F(memory.sums[r, j]) * (scales[layer, 0, j] * scale) + conditioning[r, frame, layer, j]
            c = _F(memory.sums[r, k]) * (scales[layer, 0, k] * scale) + conditioning[r, frame, layer, k]
            # beyond these limits float32 knows no difference, within them all stays finite
            ea = exp2(min(max(a, _F(-15)), _F(15)) * (_F(-2) * LOG2_E))
            ec = exp2(min(max(c, _F(-30)), _F(30)) * -LOG2_E)
            memory.gate[j] = (_F(1) - ea) / ((_F(1) + ea) * (_F(1) + ec))
        _store(row, 0, memory.gate, _F(1))


@compiled(**INLINED, fastmath=_CONTRACT)
def _add(memory: Memory, scales: Floats, bias: Floats, layer: int) -> None:
    """The layer's outputs to its inputs and to the sum of skips."""
    for r in range(len(memory.sums)):
        for j in range(bias.shape[1]):
            memory.x[r, j] += _F(memory.sums[r, j]) * scales[layer, 0, j] + bias[layer, j]


@compiled(**INLINED, fastmath=_CONTRACT)
def _dense(memory: Memory, x: Floats, matrix: Matrices, bias: Floats, y: Floats) -> None:
    """Puts bias + relu(x) @ matrix into y, for all rows; x is overwritten."""
    terms, outputs = matrix.scales.shape[1:]
    for r in range(len(x)):
        row = x[r]
        for j in range(len(row)):
            row[j] = max(row[j], _F(0))
        memory.scales[r] = _peak(memory.activations[r], row)
        _store(memory.activations[r], 0, row, memory.scales[r])
    multiply(memory.sums, memory.activations, matrix.weights, matrix.starts, 0)
    for r in range(len(x)):
        for j in range(outputs):
            y[r, j] = bias[j]
        for term in range(terms):
            for j in range(outputs):
                y[r, j] += _F(memory.sums[r, term * outputs + j]) * (matrix.scales[0, term, j] * memory.scales[r])
