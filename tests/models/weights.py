"""The seeded weights of the golden networks, by torch key: numpy only, nothing stored."""

import re
import zlib

import numpy as np


def tensor(key: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
  """Weights of one torch state_dict key, in torch's layout (small integers times powers of two)."""
  rng = np.random.RandomState(zlib.crc32(f"{seed}:{key}".encode()))
  if key.endswith("num_batches_tracked"):
    return np.zeros(shape, np.int64)
  if key.endswith("running_var"):
    return (0.5 + rng.random_sample(shape)).astype(np.float32)
  z = rng.standard_normal(shape)
  if key.endswith("running_mean"):
    return (0.1 * z).astype(np.float32)
  if len(shape) >= 2:
    transposed = re.search(r"deconv_layers\.\d+\.weight$", key)
    fan = shape[0] * shape[2] * shape[3] / 4 if transposed else np.prod(shape[1:])
    gain = 4.0 if key.endswith("final_layer.weight") else 1.0
    scale = 2.0 ** np.round(np.log2(gain / np.sqrt(fan)))
    return (np.clip(np.round(z), -3, 3) * scale).astype(np.float32)
  return ((1 if key.endswith("weight") else 0) + 0.1 * z).astype(np.float32)


def state_dict(keys: np.ndarray) -> dict[str, np.ndarray]:
  """Weights of all keys, given as "name d0,d1,..."."""
  named = (str(key).partition(" ") for key in keys)
  shapes = {name: tuple(int(d) for d in dims.split(",") if d) for name, _, dims in named}
  return {name: tensor(name, shape) for name, shape in shapes.items()}
