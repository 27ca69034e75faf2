"""What README and guide tell a user to type works, in a folder where their corpora and runs are tiny ones."""

import re
import shlex
from pathlib import Path

import pytest
import soundfile
from docs_pages import PAGES
from test_cli import call
from test_training import MODEL, TRAIN

from audio_vq.audio.files import write_audio
from audio_vq.config import TrainRun
from audio_vq.data.prepared import PreparedCorpus
from audio_vq.training.runs import run_vqvae

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RUN = ("recordings", "conversion", "units", "prior")  # pages whose commands are run; test_docs.py reads those of all
NAMES = {"p226": "p902", "anna": "p901", "boris": "p902"}
SMALL = ["train.steps=2", "train.validation_crops=2", "train.validations=1"]


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def bash_lines(text):
    """The lines of the bash blocks."""
    return "\n".join(blocks(text, "bash")).splitlines()


def commands():
    """`audio-vq …` lines of README and guide, each once, voices replaced by those of the tiny corpus."""
    texts = [README, *((PAGES / f"{name}.md").read_text(encoding="utf-8") for name in RUN)]
    for line in dict.fromkeys(line for text in texts for line in bash_lines(text)):
        if line.startswith("audio-vq "):
            yield [NAMES.get(word, word) for word in shlex.split(line, comments=True)][1:]


def shortened(arguments):
    """Training with a budget of two steps instead of minutes."""
    if not arguments[0].startswith("train"):
        return arguments
    return [word for word in arguments if not word.startswith("train.minutes")] + SMALL


@pytest.fixture
def workplace(tmp_path, monkeypatch, spoken_corpus, vctk_tree):
    monkeypatch.chdir(tmp_path)
    corpus = PreparedCorpus.open(spoken_corpus)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/vctk").symlink_to(spoken_corpus)
    run_vqvae(TrainRun(data="data/vctk", run="runs/vctk", model=MODEL, train=TRAIN, device="cpu"))
    for utterance in corpus.utterances:
        write_audio(Path("recordings", utterance.speaker, f"{utterance.id}.wav"), corpus.waveform(utterance), 16000)
        number = utterance.id.split("_")[1].zfill(4)
        chapter = Path("LibriSpeech/train-clean-100", utterance.speaker[1:], "7")
        stem = f"{utterance.speaker[1:]}-7-{number}"
        write_audio(chapter / f"{stem}.flac", corpus.waveform(utterance), 16000)
        with (chapter / f"{utterance.speaker[1:]}-7.trans.txt").open("a") as file:
            file.write(f"{stem} {utterance.text.upper()}\n")
    for name in ("recording.wav", "hello.wav", "yours.wav"):
        write_audio(Path(name), corpus.waveform(corpus.utterances[0]), 16000)
    return tmp_path


@pytest.mark.slow
def test_commands(workplace):
    typed = list(commands())
    assert {arguments[0] for arguments in typed} >= {
        "prepare", "train", "convert", "encode", "decode", "align", "analyze", "train-prior", "sample",
    }  # fmt: skip
    for arguments in typed:
        call(*shortened(arguments))
    for file in (
        "converted/yours_to_slt.wav",
        "converted/hello_to_p901.wav",
        "converted/recording_to_p902.wav",
        "report/report.html",
    ):
        assert (workplace / file).exists()
    # the Python blocks, as they are printed
    waveform, sample_rate = soundfile.read("recording.wav", dtype="float32")
    for text in (README, (PAGES / "python.md").read_text(encoding="utf-8")):
        names = {"waveform": waveform, "sample_rate": sample_rate}
        (block,) = blocks(text, "python")
        exec(block.replace("p226", "p902"), names)
    assert len(names["audio"]) == 3 * 16000


def test_files_it_points_to_exist():
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / target).exists(), target
    for script in re.findall(r"bash (\S+\.sh)", README):
        assert (ROOT / script).exists(), script
