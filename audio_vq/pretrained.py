"""The public face: trained models that speak of waveforms, units and speaker names.

    from audio_vq import VQVAE
    model = VQVAE.from_pretrained("runs/vctk")
    units = model.encode(waveform, sample_rate)
    audio = model.decode(units, speaker="p226")
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audio_vq.audio import level_gain, resample
from audio_vq.checkpoint import (
    CheckpointInfo,
    config_from,
    load_weights,
    push_to_hub,
    read_info,
    resolve_checkpoint,
    save_checkpoint,
)
from audio_vq.config import ModelConfig, PriorConfig
from audio_vq.errors import UserError
from audio_vq.generation.units import sample_units
from audio_vq.generation.waveform import SamplingOptions, sample_waveforms
from audio_vq.models.prior import PriorModel, build_prior
from audio_vq.models.vqvae import ConditioningBits, VQVAEModel, build_vqvae

Waveform = npt.NDArray[np.float32]
Units = npt.NDArray[np.int64]
ENCODE_CHUNK_SECONDS = 30.0
