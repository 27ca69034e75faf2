"""Writes test recordings of a prepared corpus as WAV files, one of each of the first speakers that have any.

Example: python recipes/held_out.py work/vctk/corpus work/vctk/held_out --count 2
"""

import argparse
from pathlib import Path

from audio_vq.audio.files import write_audio
from audio_vq.data.prepared import PreparedCorpus


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=2)
    arguments = parser.parse_args()
    corpus = PreparedCorpus.open(arguments.corpus)
    by_speaker: dict[str, list] = {}
    for utterance in corpus.select("test"):
        by_speaker.setdefault(utterance.speaker, []).append(utterance)
    # the middle one by length: neither a word nor a paragraph
    middle = [sorted(them, key=lambda u: u.num_samples)[len(them) // 2] for them in by_speaker.values()]
    for utterance in middle[: arguments.count]:
        file = arguments.out / f"{utterance.id}.wav"
        write_audio(file, corpus.waveform(utterance), corpus.sample_rate)
        print(f"{file}  {utterance.text or ''}")


if __name__ == "__main__":
    main()
