"""What the wheel holds beside code: small models, and the presets of training."""

from pathlib import Path

SHIPPED = Path(__file__).parent / "pretrained_models"  # by name


def conf_folder() -> Path:
    """`conf/`: inside an installed package, beside it in a checkout."""
    package = Path(__file__).parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"
