"""Independent judges of speech, all of whose wheels carry their weights, and how clips come before them.

Resemblyzer hears who speaks, PocketSphinx what is said (free recognition with its US English language model), DNSMOS
(speechmos) how clean it sounds. F0 is librosa's pYIN. The optional extra `judges` installs them; they are imported
here alone, and only when asked. Nothing is downloaded.
"""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from audio_vq.analysis.alignment.decoding import decode_utterance
from audio_vq.audio.features import fundamental_frequency, load_librosa
from audio_vq.audio.resampling import resample
from audio_vq.audio.waveform import Waveform, to_pcm16
from audio_vq.extras import require_package
from audio_vq.parallel import in_order
from audio_vq.progress import progress_bar

SAMPLE_RATE = 16_000  # Hz, of all of them
SILENCE_RMS = 1e-3  # of full scale, -60 dB: below it nobody speaks
WINDOW_SAMPLES = int(9.01 * SAMPLE_RATE)  # of DNSMOS
LOWEST_MARK = 1.0  # of mean opinion scores
EMBEDDING_SIZE = 256
PACKAGES = {"resemblyzer": "resemblyzer", "pocketsphinx": "pocketsphinx", "speechmos": "speechmos"}


@dataclass(frozen=True)
class Clip:
    """A waveform to be judged; only voice and F0 of a reference recording are of interest."""

    waveform: Waveform  # (time,)
    sample_rate: int
    reference: bool = False


@dataclass(frozen=True)
class Marks:
    """DNSMOS: predicted mean opinion of signal, background and both, 1 (bad) to 5."""

    sig: float
    bak: float
    ovrl: float


@dataclass(frozen=True, eq=False)
class Impression:
    """What the judges heard in a clip.

    Silence is judged, never passed over: no voice (an embedding of zeros, similar to nobody), no words, lowest marks.
    """

    embedding: np.ndarray  # (256,) of unit length; zeros where no voice was found
    f0: np.ndarray  # (frames,) Hz every 10 ms, NaN where unvoiced
    words: str | None = None  # lower case, separated by blanks; None for a reference
    marks: Marks | None = None  # None for a reference

    def to_json(self) -> dict[str, Any]:
        f0 = [None if np.isnan(each) else round(float(each), 2) for each in self.f0]
        embedding = [round(float(each), 6) for each in self.embedding]
        return {"embedding": embedding, "f0": f0, "words": self.words, "marks": self.marks and vars(self.marks)}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Impression":
        marks = record["marks"]
        f0 = np.array([np.nan if each is None else each for each in record["f0"]], np.float32)
        embedding = np.array(record["embedding"], np.float32)
        return cls(embedding, f0, record["words"], Marks(**marks) if marks else None)


Judge = Callable[[Clip], Impression]


@dataclass(frozen=True)
class Panel:
    """The judges: a function that processes can be given, the versions of what is behind it, how many at once."""

    judge: Judge
    versions: Mapping[str, str]
    workers: int = 1


def require_judges() -> None:
    """Raises UserError that says what to install, where a judge is missing."""
    for package in (*PACKAGES, "webrtcvad", "requests"):
        require_package(package, "judges")


def judge_versions() -> dict[str, str]:
    return {name: version(package) for name, package in PACKAGES.items()}


def judge_clip(clip: Clip) -> Impression:
    """What this process' judges hear; the same for the same clip, whatever they heard before."""
    waveform = np.clip(resample(clip.waveform, clip.sample_rate, SAMPLE_RATE), -1, 1)
    f0 = fundamental_frequency(waveform, SAMPLE_RATE)
    if clip.reference:
        return Impression(_embedding(waveform), f0)
    return Impression(_embedding(waveform), f0, _words(waveform), _marks(waveform))


def _silent(waveform: Waveform) -> bool:
    return not len(waveform) or float(np.sqrt(np.mean(np.square(waveform)))) < SILENCE_RMS


def _embedding(waveform: Waveform) -> np.ndarray:
    """Of the parts in which Resemblyzer's voice detection finds a voice; zeros where there are none."""
    encoder, preprocess = _voice_encoder()
    voiced = waveform[:0] if _silent(waveform) else preprocess(waveform)
    if not len(voiced):
        return np.zeros(EMBEDDING_SIZE, np.float32)
    return np.asarray(encoder.embed_utterance(voiced), np.float32)


def _words(waveform: Waveform) -> str:
    if _silent(waveform):
        return ""
    decode_utterance(_recogniser(), waveform)
    hypothesis = _recogniser().hyp()
    return hypothesis.hypstr if hypothesis else ""


def _marks(waveform: Waveform) -> Marks:
    """Marks of a clip; one shorter than DNSMOS' window is repeated to fill just one."""
    if _silent(waveform):
        return Marks(LOWEST_MARK, LOWEST_MARK, LOWEST_MARK)
    filled = np.resize(waveform, max(WINDOW_SAMPLES, len(waveform)))
    marks = _dnsmos()(filled, SAMPLE_RATE, False)
    # the polynomials behind DNSMOS fall below its scale; nothing may rank below silence
    return Marks(*(max(LOWEST_MARK, float(marks[f"{name}_mos"])) for name in ("sig", "bak", "ovrl")))


@cache
def _voice_encoder() -> tuple[Any, Any]:
    load_librosa()  # which Resemblyzer imports as well
    with warnings.catch_warnings():
        # webrtcvad imports pkg_resources, Resemblyzer scipy.ndimage.morphology: both deprecated
        warnings.simplefilter("ignore")
        from resemblyzer import VoiceEncoder, preprocess_wav
    return VoiceEncoder("cpu", verbose=False), preprocess_wav


@cache
def _recogniser() -> Any:
    from pocketsphinx import Decoder

    return Decoder(cmn="batch", loglevel="FATAL")


@cache
def _dnsmos() -> Any:
    import onnxruntime
    from speechmos import dnsmos

    models = Path(dnsmos.__file__).parent / "dnsmos_models"
    primary, second = str(models / "sig_bak_ovr.onnx"), str(models / "model_v8.onnx")
    judge = dnsmos.DNSMOS(primary, second)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # clips are judged side by side, one per core
    judge.onnx_sess = onnxruntime.InferenceSession(primary, options)
    judge.p808_onnx_sess = onnxruntime.InferenceSession(second, options)
    return judge


def hear(clips: Mapping[str, Callable[[], Clip]], panel: Panel, path: Path) -> dict[str, Impression]:
    """Impressions by the names of the clips; each is judged once, since `path` keeps them by the clips' content."""
    heard = _read_judged(path)
    keys = {name: _content_key(make(), panel.versions) for name, make in clips.items()}
    todo = {key: clips[name] for name, key in keys.items() if key not in heard}
    jobs: Iterator[Clip] = (make() for make in todo.values())
    results = in_order(panel.judge, jobs, max(1, min(panel.workers, len(todo))))
    total = len(set(keys.values()))
    with (
        closing(results),
        path.open("a", encoding="utf-8") as file,
        progress_bar("judging", total=total, completed=total - len(todo)) as bar,
    ):
        for key, impression in zip(todo, results, strict=True):
            line = json.dumps({"key": key} | impression.to_json())
            file.write(line + "\n")
            file.flush()
            heard[key] = Impression.from_json(json.loads(line))  # as a later call reads it, rounded
            bar.advance()
    return {name: heard[key] for name, key in keys.items()}


def _read_judged(path: Path) -> dict[str, Impression]:
    """What cannot be read, as a last line that a kill cut off, is dropped and judged again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = path.read_bytes() if path.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    path.write_bytes(whole)
    heard = {}
    for line in whole.splitlines():
        with suppress(ValueError, KeyError, TypeError):
            record = json.loads(line)
            heard[record["key"]] = Impression.from_json(record)
    return heard


def _content_key(clip: Clip, versions: Mapping[str, str]) -> str:
    digest = blake2b(to_pcm16(clip.waveform).tobytes(), digest_size=16)
    digest.update(repr((clip.sample_rate, clip.reference, sorted(versions.items()))).encode())
    return digest.hexdigest()
