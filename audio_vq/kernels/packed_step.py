"""The WaveNet's step over samples for x86-64, many streams side by side: `wavenet_step.py` at the speed of the machine.

Streams are rows: every product takes the rows of all streams, so that weights are read once for all. A single stream
is bound by reading its weights; therefore the taps into the past are multiplied for `ahead` samples at once in all
layers whose dilation is at least that: their inputs are known, and their weights are then read once in `ahead` samples.

A stream's samples depend neither on `ahead` nor on the streams beside it, bit for bit: every sum adds its products in
the order of the inputs, past taps before the present one.

Inner functions take addresses in bytes, not arrays; see `panels.py`. `Workspace` keeps the memory
alive.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from audio_vq.kernels.compiling import compiled
from audio_vq.kernels.drawing import draw_class
from audio_vq.kernels.packed_memory import FLOAT_BYTES, INT_BYTES, SCALE_BYTES, Step, Workspace, step_of
from audio_vq.kernels.packing import PANEL, Floats, Ints, PackedWeights
from audio_vq.kernels.panels import add_panel
from audio_vq.kernels.rows import add_row, copy_bytes, gate, read_int, relu, store_activations, write_int
from audio_vq.kernels.simd import LANES
from audio_vq.kernels.streams import StreamStates


@compiled()
def sample(
    packed: PackedWeights,
    states: StreamStates,
    slots: Ints,
    conditioning: Floats,
    uniforms: npt.NDArray[np.float64],
    temperature: float,
    top_p: float,
    work: Workspace,
) -> Ints:
    """Draws one class per uniform number for every stream.

    Args:
        packed: the network.
        states: of all streams; those of `slots` are changed in place.
        slots: `(rows,)` the streams to continue.
        conditioning: `(rows, frames, layers, 2R)`, padded, each for time / frames samples.
        uniforms: `(rows, time)` in [0, 1).
        temperature: divides the logits.
        top_p: keeps the most likely classes that together have this probability.
        work: for as many rows.

    Returns:
        Classes `(rows, time)`.
    """
    rows, time = uniforms.shape
    classes = np.empty((rows, time), np.int64)
    kind = packed.weights[0]
    step = step_of(packed, states, slots, conditioning, time, work)
    for t in range(time):
        _predict(kind, step, t, time)
        for r in range(rows):
            drawn = draw_class(work.logits[r], uniforms[r, t], temperature, top_p, work.draw)
            classes[r, t] = drawn
            states.previous[slots[r]] = drawn
    return classes


@compiled()
def teacher_forced(
    packed: PackedWeights, states: StreamStates, slots: Ints, conditioning: Floats, targets: Ints, work: Workspace
) -> Floats:
    """Logits `(rows, time, classes)`, every sample after the targets `(rows, time)` before it."""
    rows, time = targets.shape
    logits = np.empty((rows, time, len(packed.embedding)), np.float32)
    kind = packed.weights[0]
    step = step_of(packed, states, slots, conditioning, time, work)
    for t in range(time):
        _predict(kind, step, t, time)
        for r in range(rows):
            logits[r, t] = work.logits[r, : logits.shape[2]]
            states.previous[slots[r]] = targets[r, t]
    return logits


@compiled(forceinline=True)
def _predict(kind: Any, step: Step, t: int, time: int) -> None:
    """Logits of sample t for all rows, after the classes in `states.previous`."""
    phase = t % step.ahead
    if phase == 0 and step.ahead > 1:
        _multiply_ahead(kind, step, t, min(step.ahead, time - t))
    for r in range(step.rows):
        x, slot = step.x + r * step.row_x, read_int(step.slots + INT_BYTES * r)
        channels = FLOAT_BYTES * step.channels
        copy_bytes(x, step.embedding + read_int(step.previous + INT_BYTES * slot) * channels, channels)
        copy_bytes(x + channels, step.skip_bias, FLOAT_BYTES * step.skip)
    ring = 0  # first entry of the layer's ring
    for layer in range(step.layers):
        _layer(kind, step, layer, ring, t, phase)
        ring += (step.kernel_size - 1) * read_int(step.dilations + INT_BYTES * layer)
    _head(kind, step)


@compiled(forceinline=True)
def _multiply_ahead(kind: Any, step: Step, t: int, block: int) -> None:
    """Gate inputs of `block` samples from t on, as far as they are known: conditioning and the past."""
    ring = 0
    for layer in range(step.layers):
        dilation = read_int(step.dilations + INT_BYTES * layer)
        if dilation >= step.ahead:
            z = step.z + layer * step.ahead * step.rows * step.row_z
            for j in range(block):
                _condition(step, z + j * step.rows * step.row_z, layer, (t + j) // step.hop)
            for k in range(1, step.kernel_size):
                _gather(step, layer, ring, k * dilation, block)
                _multiply_taps(kind, step, z, layer, k, block * step.rows)
        ring += (step.kernel_size - 1) * dilation


@compiled(forceinline=True)
def _layer(kind: Any, step: Step, layer: int, ring: int, t: int, phase: int) -> None:
    """One gated layer of one sample: x and the sum of skips, for all rows."""
    dilation = read_int(step.dilations + INT_BYTES * layer)
    if step.ahead > 1 and dilation >= step.ahead:
        z = step.z + (layer * step.ahead + phase) * step.rows * step.row_z
    else:
        z = step.now
        _condition(step, z, layer, t // step.hop)
        for k in range(1, step.kernel_size):
            _gather(step, layer, ring, k * dilation, 1)
            _multiply_taps(kind, step, z, layer, k, step.rows)
    for r in range(step.rows):
        inputs, scale = step.inputs + r * step.row_in, step.input_scales + r * SCALE_BYTES
        store_activations(kind, inputs, scale, step.x + r * step.row_x, step.channels)
        _remember(step, r, layer, ring, (step.kernel_size - 1) * dilation)
    _multiply_taps(kind, step, z, layer, 0, step.rows)
    bias = step.residual_bias + layer * FLOAT_BYTES * step.channels
    for r in range(step.rows):
        gate(kind, step.gates + r * step.row_in, step.gate_scales + r * SCALE_BYTES, z + r * step.row_z, step.channels)
        add_row(step.x + r * step.row_x, bias, step.channels)
    outputs, matrix = step.channels + step.skip, layer * (step.kernel_size + 1) + step.kernel_size
    weights, scales = _matrix(step, matrix)
    _add_product(
        kind, step.vector_bytes, step.x, step.row_x, outputs, weights, scales,
        step.gates, step.row_in, step.channels, step.gate_scales, step.rows,
    )  # fmt: skip


@compiled(forceinline=True)
def _head(kind: Any, step: Step) -> None:
    """Logits from the sums of skips."""
    matrix = step.layers * (step.kernel_size + 1)
    sums, stride = step.x + FLOAT_BYTES * step.channels, step.row_x
    _dense(kind, step, sums, stride, step.hidden, step.hidden_bias, step.skip, matrix)
    _dense(kind, step, step.hidden, FLOAT_BYTES * step.skip, step.logits, step.output_bias, step.classes, matrix + 1)


@compiled(forceinline=True)
def _dense(kind: Any, step: Step, x: int, x_stride: int, y: int, bias: int, outputs: int, matrix: int) -> None:
    """Puts bias + relu(x) @ matrix into y, for all rows; x is overwritten."""
    for r in range(step.rows):
        row = x + r * x_stride
        relu(row, row, step.skip)
        store_activations(kind, step.inputs + r * step.row_head, step.input_scales + r * SCALE_BYTES, row, step.skip)
        copy_bytes(y + r * FLOAT_BYTES * outputs, bias, FLOAT_BYTES * outputs)
    for term in range(step.head_terms):
        weights, scales = _matrix(step, matrix + 2 * term)
        _add_product(
            kind, step.vector_bytes, y, FLOAT_BYTES * outputs, outputs, weights, scales,
            step.inputs, step.row_head, step.skip, step.input_scales, step.rows,
        )  # fmt: skip


@compiled(forceinline=True)
def _condition(step: Step, z: int, layer: int, frame: int) -> None:
    for r in range(step.rows):
        row = (r * step.frames + frame) * step.layers + layer
        copy_bytes(z + r * step.row_z, step.conditioning + row * step.row_z, step.row_z)


@compiled(forceinline=True)
def _gather(step: Step, layer: int, ring: int, back: int, block: int) -> None:
    """Puts the layer's inputs of `back` samples ago, for the next `block` samples, into `inputs` (block, rows, R)."""
    length = (step.kernel_size - 1) * read_int(step.dilations + INT_BYTES * layer)
    for r in range(step.rows):
        slot = read_int(step.slots + INT_BYTES * r)
        place = read_int(step.next + INT_BYTES * (slot * step.layers + layer)) - back
        place += length if place < 0 else 0
        for j in range(block):
            entry, row = slot * step.entries + ring + place, j * step.rows + r
            copy_bytes(step.inputs + row * step.row_in, step.past + entry * step.row_in, step.row_in)
            copy_bytes(step.input_scales + row * SCALE_BYTES, step.past_scales + entry * SCALE_BYTES, SCALE_BYTES)
            place = place + 1 if place + 1 < length else 0


@compiled(forceinline=True)
def _remember(step: Step, r: int, layer: int, ring: int, length: int) -> None:
    """Writes row r of `inputs` over the oldest entry of the layer's ring."""
    if length:
        slot = read_int(step.slots + INT_BYTES * r)
        following = step.next + INT_BYTES * (slot * step.layers + layer)
        newest = read_int(following)
        entry = slot * step.entries + ring + newest
        copy_bytes(step.past + entry * step.row_in, step.inputs + r * step.row_in, step.row_in)
        copy_bytes(step.past_scales + entry * SCALE_BYTES, step.input_scales + r * SCALE_BYTES, SCALE_BYTES)
        write_int(following, newest + 1 if newest + 1 < length else 0)


@compiled(forceinline=True)
def _multiply_taps(kind: Any, step: Step, z: int, layer: int, k: int, rows: int) -> None:
    """Adds `inputs` times tap k of the layer to z."""
    weights, scales = _matrix(step, layer * (step.kernel_size + 1) + k)
    _add_product(
        kind, step.vector_bytes, z, step.row_z, 2 * step.channels, weights, scales,
        step.inputs, step.row_in, step.channels, step.input_scales, rows,
    )  # fmt: skip


@compiled(forceinline=True)
def _matrix(step: Step, matrix: int) -> tuple[int, int]:
    """Addresses of a matrix' weights and scales."""
    place = step.matrices + 2 * INT_BYTES * matrix
    return step.weights + read_int(place), step.scales + read_int(place + INT_BYTES)


@compiled()
def _add_product(
    kind: Any,
    vector_bytes: int,
    y: int,
    y_stride: int,
    outputs: int,
    weights: int,
    scales: int,
    x: int,
    x_stride: int,
    inputs: int,
    row_scales: int,
    rows: int,
) -> None:
    """y_r[: outputs] += x_r @ matrix for all rows r, panel by panel; see `panels.add_panel`."""
    left = outputs // LANES
    while left:
        size = min(PANEL, 8 if left >= 8 else 4 if left >= 4 else 2)
        many = 4 if size < 8 else 2  # rows at a time
        for r in range(0, rows - rows % many, many):
            y_r, x_r, s_r = y + r * y_stride, x + r * x_stride, row_scales + r * SCALE_BYTES
            if size == 8:
                add_panel(kind, 8, 2, y_r, y_stride, weights, scales, x_r, x_stride, inputs, s_r)
            elif size == 4:
                add_panel(kind, 4, 4, y_r, y_stride, weights, scales, x_r, x_stride, inputs, s_r)
            else:
                add_panel(kind, 2, 4, y_r, y_stride, weights, scales, x_r, x_stride, inputs, s_r)
        for r in range(rows - rows % many, rows):
            y_r, x_r, s_r = y + r * y_stride, x + r * x_stride, row_scales + r * SCALE_BYTES
            if size == 8:
                add_panel(kind, 8, 1, y_r, y_stride, weights, scales, x_r, x_stride, inputs, s_r)
            elif size == 4:
                add_panel(kind, 4, 1, y_r, y_stride, weights, scales, x_r, x_stride, inputs, s_r)
            else:
                add_panel(kind, 2, 1, y_r, y_stride, weights, scales, x_r, x_stride, inputs, s_r)
        weights += size * vector_bytes * inputs
        scales += FLOAT_BYTES * LANES * size
        y += FLOAT_BYTES * LANES * size
        left -= size
