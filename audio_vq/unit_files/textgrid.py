"""The units of a recording as a Praat TextGrid: a tier for each group, and one of pitch classes."""

import numpy as np

from audio_vq.textgrid import LabelledInterval, Tier, textgrid_text
from audio_vq.units import UnitSequence, run_lengths


def units_textgrid(sequence: UnitSequence, offset_seconds: float = 0.0) -> str:
    """An interval for each run of the same unit; times are those of the recording.

    Args:
        sequence: of at least one unit.
        offset_seconds: where the sequence begins in the recording; the tiers are empty before that.
    """
    groups = sequence.groups
    names = ["units"] if len(groups) == 1 else [f"units {number}" for number in range(1, len(groups) + 1)]
    tiers = [_tier(name, track, sequence, offset_seconds) for name, track in zip(names, groups, strict=True)]
    if sequence.pitch is not None:
        tiers.append(_tier("pitch", sequence.pitch, sequence, offset_seconds, empty=0))
    return textgrid_text(tiers)


def _tier(
    name: str, track: np.ndarray, sequence: UnitSequence, offset_seconds: float, empty: int | None = None
) -> Tier:
    """Runs of `empty` have no label."""
    runs = run_lengths(track)
    # the last unit may reach beyond the recording, whose end is the last interval's
    ends = np.minimum(np.cumsum(runs.lengths) * sequence.hop_length, sequence.num_samples)
    times = [offset_seconds, *(offset_seconds + ends / sequence.sample_rate).tolist()]
    labels = ["" if unit == empty else str(unit) for unit in runs.units.tolist()]
    before = [LabelledInterval(0, 0.0, offset_seconds, "")] if offset_seconds > 0 else []
    found = [LabelledInterval(0, *each) for each in zip(times[:-1], times[1:], labels, strict=True)]
    return Tier(name, (*before, *found))
