"""Crops: a pure function of (seed, step, rank), cut from the right place, speakers in the promised shares."""

import json

import numpy as np
import pytest

from audio_vq.data.crops import CropSampler
from audio_vq.data.prepared import (
    AUDIO_FILE,
    CORPUS_FILE,
    PITCH_FILE,
    UTTERANCES_FILE,
    CorpusHeader,
    PreparedCorpus,
    SplitSize,
    Utterance,
    untrained_line,
)
from audio_vq.errors import UserError

LENGTHS = {"ann": [4000, 1000, 3000], "bob": [500, 500], "cid": [90]}


def write_corpus(folder, lengths=LENGTHS, split="train"):
    """Utterance audio counts upwards through the whole file, so a sample says where it comes from."""
    utterances, start, frame = [], 0, 0
    for speaker, speaker_lengths in lengths.items():
        for index, length in enumerate(speaker_lengths):
            name = f"{speaker}_{index}"
            utterances.append(Utterance(name, speaker, split, length, start, None, f"{name}.wav", 0.0, 0.0, frame))
            start += length
            frame += -(-length // 10)
    header = CorpusHeader(
        corpus="folder",
        source="nowhere",
        sample_rate=1000,
        hours=start / 1000 / 3600,
        speakers=tuple(sorted(lengths)),
        splits={split: SplitSize(len(utterances), start / 1000 / 3600)},
        skipped=(),
        settings={},
    )
    folder.mkdir(exist_ok=True)
    (folder / AUDIO_FILE).write_bytes(np.arange(start).astype("<i2").tobytes())
    (folder / PITCH_FILE).write_bytes(np.arange(frame).astype("<f4").tobytes())
    (folder / UTTERANCES_FILE).write_text("".join(utterance.to_json() for utterance in utterances))
    (folder / CORPUS_FILE).write_text(header.to_json())
    return PreparedCorpus.open(folder)


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path / "corpus")


def test_a_batch_depends_on_seed_step_and_rank_alone(corpus):
    sampler = CropSampler(corpus, "train", 100, 8, seed=1)
    batches = {key: sampler.batch(*key) for key in [(0, 0), (0, 1), (1, 0), (7, 3)]}
    again = CropSampler(corpus, "train", 100, 8, seed=1)
    for key in reversed(batches):  # another order, another sampler
        repeated = again.batch(*key)
        assert repeated.waveform.equal(batches[key].waveform)
        assert repeated.speaker.equal(batches[key].speaker)
        assert repeated.utterance == batches[key].utterance
    others = [*batches.values(), CropSampler(corpus, "train", 100, 8, seed=2).batch(0)]
    assert len({tuple(crops.waveform[:, 0].tolist()) for crops in others}) == len(others)


def test_crops_lie_inside_the_utterance_they_name(corpus):
    sampler = CropSampler(corpus, "train", 100, 64, seed=0)
    for step in range(20):
        crops = sampler.batch(step)
        places = np.round(crops.waveform.numpy() * 32768).astype(int)  # the sample's number in the file
        assert (np.diff(places, axis=1) == 1).all()
        for row, index, speaker in zip(places, crops.utterance, crops.speaker, strict=True):
            utterance = corpus.utterances[index]
            assert utterance.start <= row[0]
            assert row[-1] < utterance.start + utterance.num_samples
            assert corpus.speakers[speaker] == utterance.speaker


def test_every_start_is_possible(tmp_path):
    sampler = CropSampler(write_corpus(tmp_path, {"ann": [103]}), "train", 100, 64, seed=0)
    starts = np.round(sampler.batch(0).waveform[:, 0].numpy() * 32768)
    assert set(starts) == {0, 1, 2, 3}


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_speakers_and_utterances_come_in_their_shares(corpus, balance):
    sampler = CropSampler(corpus, "train", 100, 20_000, seed=3, speaker_balance=balance)
    crops = sampler.batch(0)
    seconds = np.array([8.0, 1.0])  # ann, bob; cid is too short
    expected = seconds**balance / (seconds**balance).sum()
    shares = np.bincount(crops.speaker, minlength=3) / 20_000
    np.testing.assert_allclose(shares[:2], expected, atol=0.02)  # five standard errors
    assert shares[2] == 0
    of_ann = np.array([crops.utterance.count(index) for index in range(3)])
    np.testing.assert_allclose(of_ann / of_ann.sum(), [0.5, 0.125, 0.375], atol=0.025)


def test_short_utterances_are_counted_or_refused(corpus):
    assert CropSampler(corpus, "train", 500, 1, seed=0).skipped == 1
    assert CropSampler(corpus, "train", 501, 1, seed=0).skipped == 3
    with pytest.raises(UserError, match="ann_0 with 4000"):
        CropSampler(corpus, "train", 4001, 1, seed=0)
    with pytest.raises(UserError, match="no valid utterance"):
        CropSampler(corpus, "valid", 100, 1, seed=0)


def test_the_fixed_set_is_the_same_for_every_seed(corpus):
    first, second = (CropSampler(corpus, "train", 100, 4, seed=seed).fixed(12) for seed in (0, 1))
    assert first.waveform.equal(second.waveform)
    assert first.utterance == second.utterance


def test_the_fixed_set_spreads_over_utterances(corpus):
    crops = CropSampler(corpus, "train", 100, 4, seed=0).fixed(12)
    assert sorted(crops.utterance[:5]) == [0, 1, 2, 3, 4]  # all long ones before any comes again
    assert crops.speaker[:4].tolist() == [0, 1, 0, 1]  # speakers take turns
    assert all(one != next_one for one, next_one in zip(crops.utterance, crops.utterance[1:], strict=False))


def test_waveform_reads_what_was_written(corpus):
    utterance = corpus.utterances[2]
    whole = corpus.waveform(utterance)
    np.testing.assert_array_equal(np.round(whole * 32768), 5000 + np.arange(3000))
    np.testing.assert_array_equal(corpus.waveform(utterance, 10, 5), whole[10:15])
    for start, length in ((-1, 2), (2990, 11), (0, -1)):
        with pytest.raises(ValueError, match="ann_2"):
            corpus.waveform(utterance, start, length)


def test_what_cannot_be_opened_says_why(tmp_path, corpus):
    with pytest.raises(UserError, match="no such folder"):
        PreparedCorpus.open(tmp_path / "absent")
    with pytest.raises(UserError, match=r"no corpus\.json"):
        PreparedCorpus.open(tmp_path)
    with pytest.raises(UserError, match="1000 Hz, expected 16000 Hz"):
        PreparedCorpus.open(corpus.folder, sample_rate=16000)
    with pytest.raises(UserError, match="no split 'dev'"):
        corpus.select("dev")
    (corpus.folder / AUDIO_FILE).write_bytes(b"\0\0")
    with pytest.raises(UserError, match="shorter"):
        PreparedCorpus.open(corpus.folder)
    header = corpus.folder / CORPUS_FILE
    header.write_text(json.dumps(json.loads(header.read_text()) | {"format_version": 99}))
    with pytest.raises(UserError, match="version"):
        PreparedCorpus.open(corpus.folder)
    header.unlink()
    with pytest.raises(UserError, match="unfinished"):
        PreparedCorpus.open(corpus.folder)


def test_speakers_without_a_crop_are_not_trained_on(corpus):
    assert corpus.trainable(501).speakers == ("ann",)
    assert {u.speaker for u in corpus.trainable(500).utterances} == {"ann", "bob"}
    assert corpus.untrained(90) == {}
    assert untrained_line({}) == ""
    line = untrained_line(corpus.untrained(501))
    assert "bob, cid (no training utterance as long as a crop of 501 samples)" in line


def test_speakers_outside_the_train_split_are_not_trained_on(tmp_path):
    corpus = write_corpus(tmp_path / "corpus", split="valid")
    assert corpus.untrained() == dict.fromkeys(LENGTHS, "nothing in the train split")
    assert corpus.trainable().speakers == ()
    with pytest.raises(UserError, match="of a speaker who is trained on"):
        CropSampler(corpus.trainable(), "valid", 100, 8, seed=0)
