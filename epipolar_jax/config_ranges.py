"""The range of every field of a config: what can train nothing is refused before the first step."""

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_collections


class Range(NamedTuple):
  """What a field may be.

  Attributes:
    holds: value -> whether it is allowed; not asked of what is not finite.
    words: the same, for the user.
  """

  holds: Callable[[Any], bool]
  words: str


def _whole(least: int) -> Range:
  return Range(lambda x: isinstance(x, int) and x >= least, f"a whole number of at least {least}")


def _within(low: int, high: int) -> Range:
  words = f"a whole number of {low} to {high}"
  return Range(lambda x: isinstance(x, int) and low <= x <= high, words)


def _of(*names: Any) -> Range:
  return Range(lambda x: x in names, " or ".join(map(repr, names)))


def _between(low: float, high: float) -> Range:
  return Range(lambda x: low <= x <= high, f"{low:g} to {high:g}")


def _multiple(number: int) -> Range:
  return Range(lambda x: x >= number and x % number == 0, f"a multiple of {number}, from {number}")


_POSITIVE = Range(lambda x: x > 0, "a number above 0")
_NOT_NEGATIVE = Range(lambda x: x >= 0, "a number of at least 0")
_SHARE = _between(0, 1)
_BELOW_ONE = Range(lambda x: 0 <= x < 1, "0 or more, below 1")
_NUMBER = Range(lambda x: True, "a finite number")

RANGES = {
  "seed": _whole(0),
  "model.backbone": _of("resnet", "movenet_lightning", "movenet_thunder"),
  "model.backbone_depth": _of(18, 34, 50, 101, 152),
  "model.width": _POSITIVE,
  "model.deconv_channels": _whole(1),
  "model.dtype": _of("float32", "bfloat16"),
  "model.bn_momentum": Range(lambda x: x < 0 or 0 < x <= 1, "above 0 and at most 1, or below 0"),
  "model.head_init_std": _POSITIVE,
  "model.init": Range(
    lambda x: not x or re.fullmatch("(imagenet|pose|checkpoint|movenet):.+", x) is not None,
    "'', imagenet:FILE, pose:FILE, checkpoint:FOLDER, movenet:lightning or movenet:thunder",
  ),
  "model.fusion.sources": _of("nearest", "two_nearest", "any", "all"),
  "model.fusion.num_samples": _whole(1),
  "model.fusion.scale": _NUMBER,
  "model.fusion.prior_views": _whole(0),
  "model.fusion.bottleneck": _whole(1),
  "data.image_size": _multiple(32),
  "data.scale_factor": _BELOW_ONE,
  "data.rotation_factor": _between(0, 180),
  "data.translation_factor": _SHARE,
  "data.flip_probability": _SHARE,
  "data.color_jitter": _SHARE,
  "data.erase_probability": _SHARE,
  "data.num_threads": _whole(0),
  "data.num_workers": _whole(0),
  "data.h36m.stored_size": _whole(0),
  "data.h36m.train_every": _whole(1),
  "data.h36m.eval_every": _whole(1),
  "data.synthetic.seed": _whole(0),
  "data.synthetic.image_size": _within(16, 2048),
  "data.synthetic.num_views": _within(2, 64),
  "data.synthetic.train_frames": _whole(1),
  "data.synthetic.validation_frames": _whole(1),
  "data.synthetic.test_frames": _whole(1),
  "data.synthetic.train_identities": _within(3, 10_000),
  "data.synthetic.train_rigs": _within(3, 10_000),
  "data.synthetic.suits": _SHARE,
  "data.synthetic.camera_noise": _SHARE,
  "data.synthetic.clutter": _within(0, 10),
  "data.synthetic.cameras": _of("around", "ceiling", "far", "near"),
  "data.synthetic.skeleton": _of("coco_17", "h36m_17"),
  "heatmap.sigma": _POSITIVE,
  "heatmap.decode": _of("peak", "softmax"),
  "optimizer.name": _of("adam", "sgd"),
  "optimizer.learning_rate": _POSITIVE,
  "optimizer.schedule": _of("step", "cosine"),
  "optimizer.step_epochs": Range(
    lambda x: all(a > 0 for a in x) and list(x) == sorted(set(x)), "epochs above 0, rising"
  ),
  "optimizer.warmup_epochs": _NOT_NEGATIVE,
  "optimizer.trunk_factor": _SHARE,
  "optimizer.weight_decay": _NOT_NEGATIVE,
  "optimizer.gradient_clip": _NOT_NEGATIVE,
  "train.batch_size": _whole(1),
  "train.accumulate": _whole(1),
  "train.num_epochs": _POSITIVE,
  "train.reprojection_weight": _NOT_NEGATIVE,
  "train.similarity_weight": _NOT_NEGATIVE,
  "train.log_steps": _whole(1),
  "train.checkpoint_minutes": _NOT_NEGATIVE,
  "train.eval_epochs": _NOT_NEGATIVE,
  "train.patience": _whole(0),
  "eval.batch_size": _whole(1),
  "eval.splits": Range(
    lambda x: bool(x) and all(x) and len(set(x)) == len(x), "one or more names, each once"
  ),
  "eval.max_frames": _whole(0),
  "eval.box_error": _between(0, 0.5),
  "eval.clamp_mm": _NOT_NEGATIVE,
  "eval.ransac_mm": _POSITIVE,
  "eval.confidence": _BELOW_ONE,
  "eval.recompute_bn_frames": _whole(0),
  "eval.num_images": _whole(0),
  "lifting.width": _whole(1),
  "lifting.num_blocks": _whole(0),
  "lifting.dropout": _BELOW_ONE,
  "lifting.heatmap_weight": _NOT_NEGATIVE,
  "lifting.heatmap_size": _multiple(8),
  "lifting.train_views": _whole(0),
  "lifting.joint_noise": _NOT_NEGATIVE,
  "lifting.center_noise": _NOT_NEGATIVE,
  "lifting.offset_noise": _NOT_NEGATIVE,
}


def check(config: ml_collections.ConfigDict) -> None:
  """Checks every field, and those that must fit each other.

  Names of modules and methods are checked by who looks them up (`tasks.build`, `evaluation`).

  Raises:
    ValueError: names every field that is out of range, its value and what is allowed.
  """
  values = leaves(config)
  wrong = []
  for field, value in values.items():
    rule = RANGES.get(field, _NUMBER)
    if isinstance(value, bool):
      continue
    if not _finite(value):
      wrong.append(f"{field} is {value}; allowed: {rule.words}, finite")
    elif not rule.holds(value):
      wrong.append(f"{field} is {value!r}; allowed: {rule.words}")
  if not wrong:
    wrong = _together(config)
  if wrong:
    raise ValueError("\n".join(wrong))


def check_devices(config: ml_collections.ConfigDict, num_devices: int) -> None:
  """Refuses batches that cannot be dealt out to the devices of the job.

  Raises:
    ValueError: names the fields and what is allowed.
  """
  parts = num_devices * config.train.accumulate
  sizes = {"train.batch_size": parts, "eval.batch_size": num_devices}
  for field, parts in sizes.items():
    size = config[field.partition(".")[0]].batch_size
    if size % parts:
      raise ValueError(
        f"{field} is {size}, a batch that cannot be split over {num_devices} devices"
        + (f" in train.accumulate {config.train.accumulate} parts" if parts > num_devices else "")
        + f"; allowed: multiples of {parts}"
      )


def check_frames(config: ml_collections.ConfigDict, num_frames: int) -> None:
  """Refuses a training set of which the config makes no step.

  Raises:
    ValueError: it has fewer frames than a batch, or the epochs are less than a step.
  """
  size, epochs = config.train.batch_size, config.train.num_epochs
  if num_frames < size:
    raise ValueError(
      f"train.batch_size is {size}, but the training split has {num_frames} frames; allowed: 1 to "
      f"{num_frames}"
    )
  if round(epochs * num_frames / size) < 1:
    raise ValueError(
      f"train.num_epochs is {epochs}: of {num_frames} frames in batches of {size} that is not one "
      f"step; allowed: {size / num_frames:.3g} or more"
    )


def leaves(config: Any, prefix: str = "") -> dict[str, Any]:
  """All fields by their full names."""
  found = {}
  for name, value in config.items():
    if isinstance(value, ml_collections.ConfigDict):
      found |= leaves(value, f"{prefix}{name}.")
    else:
      found[prefix + name] = value
  return found


def _finite(value: Any) -> bool:
  parts = value if isinstance(value, (tuple, list)) else (value,)
  return all(math.isfinite(x) for x in parts if isinstance(x, (int, float)))


def _together(config: ml_collections.ConfigDict) -> list[str]:
  wrong, t = [], config.train
  if t.batch_size % t.accumulate:
    wrong.append(
      f"train.accumulate is {t.accumulate}; it must divide train.batch_size, {t.batch_size}"
    )
  if t.patience and not t.eval_epochs:
    wrong.append(
      f"train.patience is {t.patience}, but nothing is evaluated while training: set "
      "train.eval_epochs, or train.patience to 0"
    )
  if config.optimizer.warmup_epochs >= t.num_epochs:
    wrong.append(
      f"optimizer.warmup_epochs is {config.optimizer.warmup_epochs}; it must be below "
      f"train.num_epochs, {t.num_epochs}, or the rate never reaches optimizer.learning_rate"
    )
  frames, size = config.eval.recompute_bn_frames, config.eval.batch_size
  if 0 < frames < size:
    wrong.append(
      f"eval.recompute_bn_frames is {frames}, fewer than a batch of eval.batch_size {size}; "
      f"allowed: 0 (off), or {size} and more"
    )
  return wrong
