"""Runs of a network of two layers on images of dots, for tests of what is around training."""

import pytest

from epipolar_jax.inputs import datasets
from epipolar_jax.models import pose_resnet
from tests import dots, small_network


def config(**fields: object):
  """Six steps of four frames; `fields` are leaves like optimizer__name."""
  c = dots.config()
  c.model.fusion.merge = "none"
  c.data.image_size = 32
  c.update_from_flattened_dict({name.replace("__", "."): x for name, x in fields.items()})
  return c


def install(patch: pytest.MonkeyPatch) -> list[str]:
  """Puts frames and network in place; returns the list that the opened splits are added to."""
  splits = {
    "train": dots.frames(16),
    "validation": dots.frames(4, seed=1),
    "test": dots.frames(6, seed=2),
  }
  opened = []

  def open_split(config: object, split: str):
    opened.append(split)
    if split not in splits:
      raise ValueError(f"no split {split!r}; allowed: {', '.join(sorted(splits))}")
    return splits[split]

  patch.setattr(datasets, "open_split", open_split)
  patch.setattr(pose_resnet, "PoseResNet", small_network.SmallNetwork)
  return opened
