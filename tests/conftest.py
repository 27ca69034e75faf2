"""Settings every test shares."""

from pathlib import Path

import pytest
import torch

VCTK_MINI = Path(__file__).parents[2] / "shared" / "data" / "vctk_mini"


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)
