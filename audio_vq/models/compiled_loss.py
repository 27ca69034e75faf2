"""The WaveNet's training loss on a CPU, by compiled kernels: the numbers of `WaveNet.forward` and cross-entropy.

The kernels compute the gradients together with the loss; the backward pass only hands them out. Clips are spread over
torch's number of threads, each clip's gradients are kept apart and added in order: results do not depend on
how many threads there are.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from audio_vq.kernels import cpu, products, training
from audio_vq.kernels.training_memory import Matrices, Network, Vectors

CACHE = 512 * 1024  # bytes for a tile's activations: half of a usual second-level cache


@dataclass(frozen=True)
class DecoderWeights:
    """A WaveNet's parameters, layers stacked, as `nn.Linear` has them: `(…, out, in)`. R residual, S skip channels."""

    taps: Tensor  # (layers, 2, 2R, R): present, past
    residual: Tensor  # (layers − 1, R, R)
    skip: Tensor  # (S, layers · R)
    hidden: Tensor  # (S, S)
    output: Tensor  # (classes, S)
    embedding: Tensor  # (classes, R)
    residual_bias: Tensor  # (layers − 1, R)
    skip_bias: Tensor  # (S,)
    hidden_bias: Tensor  # (S,)
    output_bias: Tensor  # (classes,)

    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(vars(self).values())


@dataclass(frozen=True)
class Settings:
    dilations: tuple[int, ...]
    silence: int  # the class before the first sample
    bfloat16: bool  # products in bfloat16, sums in float32, where the CPU can
    gradients: bool  # whether they will be asked for


def tile_length(hop_length: int, layers: int, residual_channels: int) -> int:
    """Samples that go through all layers at once, a divisor of the hop length (a multiple of ROWS)."""
    longest = max(products.ROWS, CACHE // (layers * 2 * residual_channels * 4))  # tanh and σ, float32
    fitting = [n for n in range(products.ROWS, hop_length + 1, products.ROWS) if hop_length % n == 0 and n <= longest]
    return max(fitting)


def supported(parameter: Tensor, kernel_size: int, widths: tuple[int, ...], hop_length: int) -> bool:
    """Whether the kernels can do it: float32 on a CPU, kernel size 2, numbers of channels that fill vectors."""
    return (
        parameter.device.type == "cpu"
        and parameter.dtype == torch.float32
        and kernel_size == 2
        and all(width % products.LANES == 0 for width in widths)
        and hop_length % products.ROWS == 0
    )


def compiled_loss(weights: DecoderWeights, conditioning: Tensor, targets: Tensor, settings: Settings) -> Tensor:
    """Mean −ln p(target), a scalar.

    Args:
        weights: of the decoder.
        conditioning: `(batch, frames, layers, 2R)`, each for time / frames samples.
        targets: `(batch, time)` classes.
        settings: of the decoder and of this call.
    """
    result: Tensor = _CompiledLoss.apply(targets, settings, conditioning, *weights.tensors())
    return result


class _CompiledLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, targets: Tensor, settings: Settings, conditioning: Tensor, *tensors: Tensor) -> Tensor:
        weights = DecoderWeights(*tensors)
        matrices = _matrices(weights)
        operand = _pairs if settings.bfloat16 and cpu.HAS_BFLOAT16 else _whole
        dilations = torch.tensor(settings.dilations).numpy()
        previous = F.pad(targets[:, :-1], (1, 0), value=settings.silence).numpy()
        classes, clips = targets.numpy(), range(len(targets))
        _, frames, layers, gates = conditioning.shape
        frame = targets.shape[1] // frames
        tile = tile_length(frame, layers, gates // 2)
        forward = Matrices(*(operand(matrix) for matrix in matrices))
        backward = Matrices(*(operand(matrix.mT) for matrix in matrices))
        vectors = _vectors(weights)
        networks = [
            Network(forward, backward, Vectors(*(*vectors, each.numpy())), dilations, frame, tile)
            for each in conditioning.contiguous().unflatten(3, (2, -1))
        ]
        if not settings.gradients:
            losses = _spread(lambda i: training.clip_loss(networks[i], previous[i], classes[i]), clips)
            return torch.tensor(sum(losses) / targets.numel(), dtype=torch.float32)
        dmatrices = [torch.zeros(len(targets), *matrix.shape) for matrix in matrices]
        dvectors = [torch.zeros(len(targets), *vector.shape) for vector in vectors]
        dconditioning = torch.zeros_like(conditioning, memory_format=torch.contiguous_format)

        def clip(i: int) -> float:
            to_matrices = Matrices(*(each[i].numpy() for each in dmatrices))
            to_vectors = Vectors(*(each[i].numpy() for each in (*dvectors, dconditioning.unflatten(3, (2, -1)))))
            scale = 1 / targets.numel()
            return training.clip_gradients(networks[i], previous[i], classes[i], scale, to_matrices, to_vectors)

        losses = _spread(clip, clips)
        ctx.save_for_backward(dconditioning, *_gradients([each.sum(0) for each in (*dmatrices, *dvectors)]).tensors())
        return torch.tensor(sum(losses) / targets.numel(), dtype=torch.float32)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(gradient * saved for saved in ctx.saved_tensors)


def _matrices(weights: DecoderWeights) -> list[Tensor]:
    """In the order of `Matrices`, `(…, in, out)`."""
    skip = weights.skip.unflatten(1, (len(weights.taps), -1)).movedim(0, -1)  # (layers, R, S)
    taps = weights.taps.unflatten(2, (2, -1)).mT  # (layers, 2, 2, R, R)
    return [taps[:, 1], taps[:, 0], weights.residual.mT, skip, weights.hidden.mT, weights.output.mT]


def _vectors(weights: DecoderWeights) -> list[Any]:
    """In the order of `Vectors`, without the conditioning."""
    biases = (weights.residual_bias, weights.skip_bias, weights.hidden_bias, weights.output_bias)
    return [each.detach().contiguous().numpy() for each in (weights.embedding, *biases)]


def _gradients(sums: list[Tensor]) -> DecoderWeights:
    """The inverse of `_matrices` and `_vectors`."""
    past, present, residual, skip, hidden, output, *vectors = sums
    taps = torch.stack([present.mT, past.mT], 1).flatten(2, 3)
    return DecoderWeights(taps, residual.mT, skip.movedim(-1, 0).flatten(1), hidden.mT, output.mT, *vectors)


def _whole(matrix: Tensor) -> Any:
    return matrix.detach().contiguous().numpy()


def _pairs(matrix: Tensor) -> Any:
    """Matrix `(…, in, out)` → int32 `(…, in / 2, out)`: neighbours of `in`, in bfloat16, share an element."""
    pairs = matrix.detach().bfloat16().unflatten(-2, (-1, 2)).transpose(-1, -2)  # (…, in / 2, out, 2)
    return pairs.contiguous().view(torch.int32).squeeze(-1).numpy()


def _spread(work: Callable[[int], float], clips: Iterable[int]) -> list[float]:
    """Results of `work`, in order, from as many threads as torch may use."""
    threads = torch.get_num_threads()
    if threads == 1:
        return [work(clip) for clip in clips]
    with ThreadPoolExecutor(threads) as pool:  # sleeps when it has nothing to do: no core is kept from torch's own
        return list(pool.map(work, clips))
