"""One sentence four times: a recording, another voice before and after the postfilter, and the owner of that voice.

Example: python recipes/voices/picture.py work/voices/small work/voices/corpus bdl_arctic_a0015 slt --out picture.png

Log-mel spectrograms of a test recording, of its conversions and, where the target speaker has said the sentence too, of
that. `--seconds` shows the beginning.
"""

import argparse
from pathlib import Path

import numpy as np

from audio_vq import VQVAE
from audio_vq.analysis.judges.sentences import Sentences
from audio_vq.analysis.report.plots import Figure, styled
from audio_vq.audio.features import log_mel
from audio_vq.audio.waveform import Waveform
from audio_vq.data.prepared import PreparedCorpus

RANGE = 60 * np.log(10) / 20  # nats of magnitude shown below the loudest


def waveforms(model: VQVAE, corpus: PreparedCorpus, source: str, target: str) -> dict[str, Waveform]:
    """Title → waveform."""
    (heard,) = (each for each in corpus.utterances if each.id == source)
    original = corpus.waveform(heard)
    shown = {
        f"{heard.speaker} says it (a recording)": original,
        f"converted to {target}, as drawn (--no-postfilter)": model.convert(
            original, corpus.sample_rate, target, postfilter=False
        ),
        f"converted to {target}": model.convert(original, corpus.sample_rate, target),
    }
    parallel = Sentences(corpus, corpus.utterances).by(target, heard)
    if parallel:
        shown[f"{target} says it (a recording)"] = corpus.waveform(parallel)
    return shown


def draw(shown: dict[str, Waveform], sample_rate: int, seconds: float) -> Figure:
    shown = {title: waveform[: round(seconds * sample_rate)] for title, waveform in shown.items()}
    longest = max(map(len, shown.values())) / sample_rate
    with styled():
        figure = Figure(figsize=(9, 1.5 * len(shown)), layout="constrained")
        for axes, (title, waveform) in zip(np.atleast_1d(figure.subplots(len(shown))), shown.items(), strict=True):
            mel = log_mel(waveform, sample_rate, sample_rate // 100)
            extent = (0, mel.shape[1] / 100, 0, mel.shape[0])
            top = mel.max()
            axes.imshow(mel, origin="lower", aspect="auto", cmap="magma", vmin=top - RANGE, vmax=top, extent=extent)
            axes.set_title(title, loc="left", fontsize=9)
            axes.set_yticks([])
            axes.set_xlim(0, longest)
        axes.set_xlabel("seconds")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("corpus")
    parser.add_argument("source", help="id of an utterance of the corpus")
    parser.add_argument("target", help="voice")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    model = VQVAE.from_pretrained(given.model)
    corpus = PreparedCorpus.open(given.corpus, model.sample_rate)
    shown = waveforms(model, corpus, given.source, given.target)
    draw(shown, model.sample_rate, given.seconds).savefig(given.out, dpi=110)


if __name__ == "__main__":
    main()
