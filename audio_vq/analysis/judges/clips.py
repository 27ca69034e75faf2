"""The clips that judges hear: conversions, and recordings beside them, in a folder that can be listened to."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from audio_vq.analysis.judges.pairs import Pair
from audio_vq.analysis.judges.panel import Clip
from audio_vq.analysis.judges.scores import Contour
from audio_vq.audio.files import read_audio, write_audio
from audio_vq.codec.conversion import Conversion, Converted, convert_all
from audio_vq.codec.drawing import SamplingOptions
from audio_vq.data.prepared import PreparedCorpus, Utterance, corpus_sources
from audio_vq.errors import UserError
from audio_vq.files import atomic_write_text
from audio_vq.pretrained import VQVAE
from audio_vq.progress import AUDIO, progress_bar

MADE_BY = "made_by.txt"  # in the folder of clips: which model and settings made them


@dataclass(frozen=True)
class ClipFolder:
    """The wav files of an evaluation: conversions and, to listen to beside them, recordings."""

    folder: Path

    def converted(self, utterance: Utterance, speaker: str) -> Path:
        return self.folder / utterance.speaker / f"{utterance.id}_to_{speaker}.wav"

    def recording(self, utterance: Utterance) -> Path:
        return self.folder / utterance.speaker / f"{utterance.id}.wav"

    def claim(self, maker: str) -> None:
        """Raises UserError where another maker's clips lie here."""
        mark = self.folder / MADE_BY
        if mark.is_file() and mark.read_bytes() != maker.encode():
            raise UserError(
                f"{self.folder} holds conversions of another model, corpus or setting; give --force, or another --out"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        mark.write_text(maker, encoding="utf-8")

    def of_pair(self, pair: Pair) -> dict[str, Path]:
        """The clip of each condition that this pair has."""
        source, own = pair.source, self.converted(pair.source, pair.source.speaker)
        files = {"converted": self.converted(source, pair.target)}
        if own.exists():  # the model speaks in the source's voice
            files["reconstructed"] = own
        if pair.real_target:
            files["real_target"] = self.recording(pair.real_target)
        return files | {"real_source": self.recording(source)}


def forget(out: Path) -> None:
    """Take away what an earlier evaluation left in `out`."""
    (out / "conversion.json").unlink(missing_ok=True)
    if (out / "clips" / MADE_BY).is_file():
        shutil.rmtree(out / "clips")


def maker_of(model: VQVAE, corpus: PreparedCorpus, options: SamplingOptions) -> str:
    """Names what a conversion depends on beside its recording and voice."""
    digest = blake2b(digest_size=16)
    for tensor in model.network.state_dict().values():
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    digest.update(repr((corpus.header.to_json(), options, model.codec.precision, str(model.device))).encode())
    return digest.hexdigest()


def make_clips(
    model: VQVAE, corpus: PreparedCorpus, pairs: Sequence[Pair], clips: ClipFolder, options: SamplingOptions
) -> None:
    """Write what is missing: each source in the voices of its pairs and in its own, and the recordings themselves."""
    voices: dict[Utterance, dict[str, None]] = {}
    for pair in pairs:
        own = (pair.source.speaker,) if pair.source.speaker in model.speakers else ()
        voices.setdefault(pair.source, {}).update(dict.fromkeys((pair.target, *own)))
        for utterance in (pair.source, pair.real_target):
            if utterance and not clips.recording(utterance).exists():
                write_audio(clips.recording(utterance), corpus.waveform(utterance), corpus.sample_rate)
    missing = {
        each: tuple(name for name in names if not clips.converted(each, name).exists())
        for each, names in voices.items()
    }
    todo = [each for each, names in missing.items() if names]
    total, left = (
        sum(each.num_samples * len(names) for each, names in some.items()) / corpus.sample_rate
        for some in (voices, missing)
    )
    wanted = [
        Conversion(source, tuple(model.speaker_index(name) for name in missing[each]))
        for each, source in zip(todo, corpus_sources(corpus, todo), strict=True)
    ]
    with progress_bar("converting", total=total, completed=total - left, unit=AUDIO) as bar:
        for made in convert_all(model.codec, wanted, options, on_spoken=bar.advance):
            write_clip(clips.converted(todo[made.conversion], model.speakers[made.speaker]), made, model)


def write_clip(path: Path, made: Converted, model: VQVAE) -> None:
    """The sound, and before it the contour it was asked for, which is there where the sound is."""
    if made.f0 is not None:
        asked = {"frames_per_second": model.unit_rate_hz, "hertz": [round(float(each), 2) for each in made.f0]}
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_text(_contour_file(path), json.dumps(asked) + "\n")
    write_audio(path, made.waveform, model.sample_rate)


def read_clip(path: Path) -> Clip:
    audio = read_audio(path)
    return Clip(audio.waveform, audio.sample_rate)


def asked_contour(path: Path) -> Contour | None:
    """The contour that a clip was asked for; None where the model has no pitch, and for recordings."""
    file = _contour_file(path)
    if not file.is_file():
        return None
    asked = json.loads(file.read_text(encoding="utf-8"))
    return Contour(np.array(asked["hertz"], np.float32), asked["frames_per_second"])


def _contour_file(path: Path) -> Path:
    return path.with_suffix(".f0.json")
