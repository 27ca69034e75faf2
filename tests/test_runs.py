"""Run folders: whose they are, what damages them, what goes on."""

import dataclasses
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_training import MODEL, run_of

from audio_vq.checkpoint import read_info, resolve_checkpoint
from audio_vq.cli.info import info
from audio_vq.config import PriorConfig, TrainConfig, TrainPriorRun
from audio_vq.data.prepared import CORPUS_FILE, UTTERANCES_FILE
from audio_vq.errors import UserError
from audio_vq.files import locked
from audio_vq.training.runs import run_prior, run_vqvae


@pytest.fixture(scope="module")
def trained(tiny_corpus, tmp_path_factory):
    """A finished run of 8 steps, saved at 2, 4, 6 and 8."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    run_vqvae(run_of(tiny_corpus, folder, validations=4))
    return folder


@pytest.fixture
def copy(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run", symlinks=True)


def go_on(corpus, folder, steps=10):
    run_vqvae(run_of(corpus, folder, steps=steps, validations=1))
    assert json.loads((folder / "last/training.json").read_text())["step"] == steps
    return [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_other_peoples_files_are_left_alone(tiny_corpus, tmp_path):
    (tmp_path / "config.yaml").write_text("mine: precious")
    (tmp_path / "notes").touch()
    with pytest.raises(UserError, match=r"holds config\.yaml, notes and no run"):
        run_vqvae(run_of(tiny_corpus, tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "notes"]
    assert (tmp_path / "config.yaml").read_text() == "mine: precious"


@pytest.mark.parametrize("place", ["", "run", "../{name}/deep/run"])
def test_a_run_does_not_lie_in_the_corpus(tiny_corpus, place):
    before = sorted(tiny_corpus.iterdir())
    with pytest.raises(UserError, match="lies in the corpus"):
        run_vqvae(run_of(tiny_corpus, tiny_corpus / place.format(name=tiny_corpus.name)))
    assert sorted(tiny_corpus.iterdir()) == before


def test_one_training_at_a_time(tiny_corpus, copy):
    with locked(copy, "the run"), pytest.raises(UserError, match="another process is at work on the run"):
        run_vqvae(run_of(tiny_corpus, copy, steps=10, validations=1))
    go_on(tiny_corpus, copy)


@pytest.mark.parametrize("link", ["folder", "missing", "text"])
def test_a_copy_whose_links_were_lost_goes_on(trained, tiny_corpus, tmp_path, link):
    copy = shutil.copytree(trained, tmp_path / "run", symlinks=False)
    best = read_info(resolve_checkpoint(trained)).training["step"]
    for name in ("last", "best"):
        if link != "folder":
            shutil.rmtree(copy / name)
        if link == "text":  # as some archives and version control keep links
            (copy / name).write_text((trained / name).readlink().as_posix())
    assert read_info(resolve_checkpoint(copy)).training["step"] == best
    assert go_on(tiny_corpus, copy) == [2, 4, 6, 8, 10]
    assert (copy / "last").is_symlink()
    assert (copy / "best/config.json").is_file()


def cut(file):
    file.write_bytes(file.read_bytes()[:-100])


def without_a_tensor(file):
    tensors = load_file(file)
    del tensors[max(tensors)]
    save_file(tensors, file)


def without_a_key(file):
    content = json.loads(file.read_text())
    del content["step"]
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("training.safetensors", cut),
        ("training.safetensors", without_a_tensor),
        ("training.json", without_a_key),
        ("training.json", lambda file: file.write_text("")),
        ("training.json", lambda file: file.write_text("[1]")),
        ("model.safetensors", lambda file: file.write_bytes(b"")),
        ("model.safetensors", without_a_tensor),
    ],
)
def test_a_damaged_checkpoint_is_not_the_end(tiny_corpus, copy, capsys, name, damage):
    damage(copy / "checkpoints/step-00000008" / name)
    assert go_on(tiny_corpus, copy) == [2, 4, 6, 10]
    said = capsys.readouterr().err
    assert "step-00000008 is damaged" in said
    assert "step-00000006, step 6" in said
    assert (copy / "best/config.json").is_file()


def test_when_all_is_damaged_it_is_said(tiny_corpus, copy):
    for file in copy.glob("checkpoints/*/training.json"):
        file.write_text("")
    with pytest.raises(UserError, match="no other checkpoint is left"):
        run_vqvae(run_of(tiny_corpus, copy, steps=10))


def test_damaged_lines_of_metrics_are_passed_over(tiny_corpus, copy):
    lines = (copy / "metrics.jsonl").read_text().splitlines()
    (copy / "metrics.jsonl").write_bytes("\n".join([*lines[:2], "[]", lines[2][:40], ""]).encode() + b"\xff\n" + b"{")
    assert go_on(tiny_corpus, copy) == [2, 4, 10]


def test_notes_in_old_checkpoints_stay(tiny_corpus, copy):
    notes = copy / "checkpoints/step-00000006/notes.txt"
    notes.write_text("mine")
    go_on(tiny_corpus, copy, steps=9)
    go_on(tiny_corpus, copy, steps=10)
    assert notes.read_text() == "mine"


def test_the_same_corpus_elsewhere_goes_on(tiny_corpus, copy, tmp_path):
    go_on(shutil.copytree(tiny_corpus, tmp_path / "moved"), copy)


def test_other_speakers_are_refused_by_name(tiny_corpus, copy, tmp_path):
    other = shutil.copytree(tiny_corpus, tmp_path / "other")
    text = (other / UTTERANCES_FILE).read_text()
    header = (other / CORPUS_FILE).read_text()
    (other / UTTERANCES_FILE).write_text(text.replace('"speaker": "ann"', '"speaker": "dora"'))
    (other / CORPUS_FILE).write_text(header.replace('"ann"', '"dora"'))
    with pytest.raises(UserError, match=r"another corpus \(now without ann and with dora\)"):
        run_vqvae(run_of(other, copy, steps=10))
    (other / CORPUS_FILE).write_text(header)
    (other / UTTERANCES_FILE).write_text("".join(text.splitlines(keepends=True)[:-1]))
    with pytest.raises(UserError, match=r"another corpus \(the same speakers, but other utterances\)"):
        run_vqvae(run_of(other, copy, steps=10))


def test_another_sample_rate_is_refused_before_anything_is_made(tiny_corpus, tmp_path):
    run = run_of(tiny_corpus, tmp_path / "run")
    model = dataclasses.replace(MODEL, sample_rate=44100)
    run = dataclasses.replace(run, model=model, train=dataclasses.replace(run.train, crop_length=1760))
    with pytest.raises(UserError, match="16000 Hz, expected 44100 Hz"):
        run_vqvae(run)
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def prior(trained, tiny_corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("priors") / "prior"
    run_prior(prior_run(trained, tiny_corpus, folder))
    return folder


def prior_run(model, corpus, folder, steps=2):
    train = TrainConfig(steps=steps, batch_size=2, validations=1)
    prior = PriorConfig(layers=1, heads=2, channels=16, context=16)
    return TrainPriorRun(model=str(model), data=str(corpus), run=str(folder), prior=prior, train=train, device="cpu")


def test_a_prior_is_not_continued_on_other_units(trained, tiny_corpus, prior, tmp_path):
    moved, folder = (
        shutil.copytree(source, tmp_path / name, symlinks=True)
        for source, name in ((trained, "moved"), (prior, "prior"))
    )
    run_prior(prior_run(moved, tiny_corpus, folder, steps=3))
    weights = load_file(moved / "best/model.safetensors")
    save_file({name: torch.randn_like(t) if t.is_floating_point() else t for name, t in weights.items()},
              (moved / "best").resolve() / "model.safetensors")  # fmt: skip
    with pytest.raises(UserError, match="holds a prior of other units"):
        run_prior(prior_run(moved, tiny_corpus, folder, steps=4))


def test_info_reads_priors_and_cards_name_commands_that_work(trained, prior, capsys):
    figures = {}
    for folder in (trained, prior):
        info(str(folder), json_output=True)
        figures[folder] = json.loads(capsys.readouterr().out)
        assert figures[folder].keys() >= {
            "sample_rate", "hop_length", "unit_rate_hz", "codebook_size", "bits_per_second", "speakers", "parameters",
            "receptive_field_samples",
        }  # fmt: skip
    for key in ("sample_rate", "hop_length", "unit_rate_hz", "codebook_size", "bits_per_second", "speakers"):
        assert figures[trained][key] == figures[prior][key]
    assert figures[prior]["receptive_field_samples"] == 16 * figures[prior]["hop_length"]
    cards = {folder: (folder / "best/README.md").read_text() for folder in (trained, prior)}
    assert "\naudio-vq convert FOLDER recording.wav --to ann " in cards[trained]
    assert "\naudio-vq sample FOLDER CHECKPOINT --speaker ann " in cards[prior]
    assert "convert" not in cards[prior]
