"""Gaps: runs of frames with a point and without."""

import numpy as np


def runs(valid: np.ndarray) -> list[tuple[int, int]]:
  """(first, end) of each unbroken stretch of True in valid [f], in order; end is not part of it."""
  edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(valid, np.int8), [0]])))
  return list(zip(edges[::2].tolist(), edges[1::2].tolist()))


def short(valid: np.ndarray, most: int) -> np.ndarray:
  """[f, ...], bool: in a gap of valid [f, ...] of at most `most` frames, not at either end."""
  flat = valid.reshape(len(valid), -1)
  found = np.zeros_like(flat)
  for column in range(flat.shape[1]):
    for start, end in runs(~flat[:, column]):
      found[start:end, column] = start > 0 and end < len(flat) and end - start <= most
  return found.reshape(valid.shape)
