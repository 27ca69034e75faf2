"""What a checkpoint says of itself, and the names of its files."""

from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from audio_vq.errors import UserError

CONFIG_FILE, WEIGHTS_FILE, CARD_FILE = "config.json", "model.safetensors", "README.md"
KINDS = ("vqvae", "prior")


@dataclass(frozen=True)
class CheckpointInfo:
    """What `config.json` holds besides the weights' shape."""

    kind: str  # of KINDS
    config: dict[str, Any]  # ModelConfig or PriorConfig as a dictionary
    speakers: tuple[str, ...]
    data: dict[str, Any] = field(default_factory=dict)  # what it was trained on
    training: dict[str, Any] = field(default_factory=dict)  # steps, hours, last validation

    @property
    def joined(self) -> int:
        """Speakers, the last ones, who joined the trained model."""
        return int(self.data.get("joined", 0))

    def speaker_index(self, name: str) -> int:
        """Raises UserError, with the known names, for one that is not among them."""
        if name not in self.speakers:
            close = get_close_matches(name, self.speakers, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise UserError(f"unknown speaker {name!r}; known: {', '.join(self.speakers)}{hint}")
        return self.speakers.index(name)
