"""What a conversion does to the melody of a recording.

Pitch classes say where pitch lies in a speaker's own range (`audio_vq.pitch`), so that another speaker's voice says
them in another range by itself. What remains to be wanted is a shift, or no melody at all.
"""

from dataclasses import dataclass

import numpy as np

from audio_vq.codec.codec import Codec
from audio_vq.errors import UserError
from audio_vq.pitch import F0, classes_of, contour_of
from audio_vq.units import Units

MOST_SEMITONES = 48.0  # of a shift: four octaves


@dataclass(frozen=True)
class Melody:
    """Raises UserError for a shift that makes no sense.

    Attributes:
        shift: semitones up, or down where negative.
        flat: a monotone at the speaker's median.
    """

    shift: float = 0.0
    flat: bool = False

    def __post_init__(self) -> None:
        if not abs(self.shift) <= MOST_SEMITONES:
            raise UserError(
                f"a pitch shift of {self.shift:g} semitones; expected {-MOST_SEMITONES:g} to {MOST_SEMITONES:g}"
            )

    @property
    def as_it_is(self) -> bool:
        return not (self.shift or self.flat)

    def check(self, codec: Codec) -> None:
        """Raises UserError where a model cannot do it."""
        if not (self.as_it_is or codec.network.pitch_classes):
            raise UserError("this model has no pitch to shift or flatten (--pitch, --flat); give one with model.pitch")

    def of(self, codec: Codec, units: Units, speaker: int) -> Units:
        """Units of a model with this melody in a speaker's voice."""
        if self.as_it_is:
            return units
        voice, num_classes = codec.pitch_ranges[speaker], codec.network.pitch_classes
        wanted = voice.shifted(self.shift)
        f0 = contour_of(units[-1], wanted, num_classes)
        if self.flat:
            f0 = np.where(f0 > 0, np.float32(wanted.median_hz), f0)
        return np.concatenate([units[:-1], classes_of(f0, voice, num_classes)[None]])


AS_IT_IS = Melody()


def contour(codec: Codec, units: Units, speaker: int) -> F0:
    """F0 in Hz `(time,)` that units ask of a speaker's voice, 0 where unvoiced.

    Raises:
        UserError: the model has no pitch, or these are not its units.
    """
    if not codec.network.pitch_classes:
        raise UserError("this model has no pitch, so that its units ask for none; give one with model.pitch")
    return contour_of(codec.checked(units)[-1], codec.pitch_ranges[speaker], codec.network.pitch_classes)
