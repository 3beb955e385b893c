"""Opens (and if need be makes) a data set by the name in its config."""

import pathlib
from collections.abc import Sequence
from typing import Any

import ml_collections


def open_split(config: ml_collections.ConfigDict, split: str) -> Sequence[dict[str, Any]]:
  """Random access to the stored examples of one split; prepares the data set the first time.

  Args:
    config: the `data` group.
    split: for example "train" or "test".

  Returns:
    A sequence of dicts with the decoded pictures and all labels of one frame each.

  Raises:
    ValueError: if there is no such data set or split.
    FileNotFoundError: if the data cannot be made here and is missing.
  """
  makers = {"synthetic": _synthetic, "h36m": _h36m, "rhd": _rhd}
  if config.name not in makers:
    raise ValueError(f"data.name is {config.name!r}; allowed: {', '.join(sorted(makers))}")
  return makers[config.name](config, split).as_data_source(split)


def _synthetic(config: ml_collections.ConfigDict, split: str) -> Any:
  # Imported here: the generator renders with jax, which readers of other sets do not need.
  from data.synthetic import builder

  options = builder.Options(**config.synthetic.to_dict())
  return builder.prepare(options, pathlib.Path(config.dir), split)


def _h36m(config: ml_collections.ConfigDict, split: str) -> Any:
  raise FileNotFoundError(
    "Human3.6M is not prepared: its builder is not part of this version yet, and the data may "
    "not be redistributed (ask for it at the Human3.6M site). "
    "configs/synthetic.py and configs/synthetic_full.py make their own data."
  )


def _rhd(config: ml_collections.ConfigDict, split: str) -> Any:
  from data.rhd import builder

  return builder.open_split(config.dir, split)
