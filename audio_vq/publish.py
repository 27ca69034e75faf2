"""Checkpoints to the Hugging Face Hub: weights, config and a card with what was measured."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from audio_vq.checkpoint import read_info, resolve_checkpoint
from audio_vq.hub.card import card_to_publish
from audio_vq.hub.figures import read_figures
from audio_vq.hub.transfer import Published, upload


def publish(
    checkpoint: str | Path,
    repository: str,
    private: bool = False,
    licence: str | None = None,
    metrics: str | Path | None = None,
    conversion: str | Path | None = None,
    token: str | bool | None = None,
) -> Published:
    """Uploads a checkpoint, in one commit; the repository is made where there is none.

    Args:
        checkpoint: folder, run folder (its best checkpoint), or a shipped model's name. Its card, where somebody has
            edited it, stays.
        repository: you/model.
        private: whether a new repository is.
        licence: by the Hub's identifier, `cc-by-4.0` say; by default that of a known corpus.
        metrics: the metrics.json of `audio-vq analyze`.
        conversion: the conversion.json of `audio-vq evaluate`.
        token: of the Hub; by default the one that was logged in with.

    Raises:
        UserError: no checkpoint, figures that cannot be read, or what the Hub refuses.
    """
    folder = resolve_checkpoint(checkpoint)
    figures = read_figures(metrics, conversion)
    card = card_to_publish(folder, read_info(folder), repository, licence, figures)
    return upload(folder, card, repository, private, token)


def publish_saved(
    save: Callable[[Path], None],
    repository: str,
    private: bool = False,
    licence: str | None = None,
    metrics: str | Path | None = None,
    conversion: str | Path | None = None,
    token: str | bool | None = None,
) -> Published:
    """As `publish`, of a model in memory that `save` writes into a folder."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary, "model")
        save(folder)
        return publish(folder, repository, private, licence, metrics, conversion, token)
