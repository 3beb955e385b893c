"""Opens tests/golden/*.npz: cut copies of what the PyTorch reference computes (README there)."""

import pathlib

import numpy as np


def load(name: str) -> dict[str, np.ndarray]:
  """All arrays of one golden file, by key."""
  with np.load(pathlib.Path(__file__).parent / "golden" / f"{name}.npz") as file:
    return dict(file)
