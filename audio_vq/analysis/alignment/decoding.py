"""One utterance through a PocketSphinx decoder."""

from typing import Any

from audio_vq.audio.waveform import Waveform, to_pcm16


def decode_utterance(decoder: Any, waveform: Waveform) -> None:
    """Has it hear a 16 kHz waveform `(time,)`: what it then knows is the same whatever it heard before."""
    decoder.reinit_feat()  # else features depend, a little, on the utterance before
    decoder.start_utt()
    decoder.process_raw(to_pcm16(waveform).tobytes(), full_utt=True)
    decoder.end_utt()
