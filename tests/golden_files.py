"""Opens tests/golden/*.npz: cut copies of what the original computes (README there)."""

import pathlib

import numpy as np

FOLDER = pathlib.Path(__file__).parent / "golden"


def load(name: str) -> dict[str, np.ndarray]:
  """All arrays of one golden file, by key."""
  with np.load(FOLDER / f"{name}.npz") as file:
    return dict(file)
