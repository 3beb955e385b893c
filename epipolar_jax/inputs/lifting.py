"""Frames for the lifting tasks, in the form of `inputs.multiview`; hands are frames of one view.

Fields besides those of `multiview`:
  visible [b v j] bool      hand_side [b] 0 left, 1 right; hands only
"""

import functools
from typing import Any

import ml_collections
import numpy as np

from epipolar_jax import skeletons
from epipolar_jax.inputs import crops, fields, hand_crops, multiview, stored_images

# Tasks that see true 2D joints: the images need not be decoded.
_BLIND = ("lifting", "lifting_direct", "lifting_rot")
_PER_VIEW = (
  *("intrinsics", "rotation", "translation", "occluded"),
  *("joints_2d", "box_center", "box_size", "labelled"),
)


def loader(config: ml_collections.ConfigDict, *, train: bool) -> multiview.LoadFrame:
  """The function that turns a stored example into a frame, for `multiview`'s `load`.

  In training a frame of bodies has `lifting.train_views` views, drawn anew each time, and images
  only where the task looks at them.

  Raises:
    ValueError: an option that makes no sense here.
  """
  options = config.lifting
  if config.data.flip_probability:
    raise ValueError(
      f"data.flip_probability is {config.data.flip_probability}; lifting tasks need 0: the 3D "
      "labels in the camera's frame would not be mirrored"
    )
  with_image = not train or config.task not in _BLIND
  skeleton = skeletons.of_model(config.model)
  if skeleton == skeletons.RHD_21:
    noise = (options.joint_noise, options.center_noise, options.offset_noise) if train else (0,) * 3
    return functools.partial(
      _load_hand,
      noise=noise,
      wrist=options.wrist,
      original=options.heatmap_layout == "original",
      with_image=with_image,
    )
  num_views = options.train_views if train else 0
  return functools.partial(
    _load_body, skeleton=skeleton, num_views=num_views, with_image=with_image
  )


def _load_body(
  example: dict[str, Any],
  augmentation: crops.Augmentation,
  rng: np.random.Generator,
  *,
  size: int,
  skeleton: skeletons.Skeleton,
  num_views: int,
  with_image: bool,
) -> multiview.Frame:
  """A frame of a multi-view data set in some of its views; 0 is all of them."""
  available = len(example["rotation"])
  if num_views > available:
    raise ValueError(f"lifting.train_views is {num_views}; the data set has {available} views")
  if num_views:
    example = example | {"labelled": fields.labelled(example)}
    example.pop("visible", None)
    picked = rng.choice(available, num_views, replace=False)
    example = example | {k: np.stack([example[k][i] for i in picked]) for k in _PER_VIEW}
    example["image"] = [example["image"][i] for i in picked]
  frame = multiview.load_frame(
    example, augmentation, rng, size=size, with_image=with_image, skeleton=skeleton
  )
  if not np.isfinite(frame["joints_3d"]).all():
    joint = int(np.flatnonzero(~np.isfinite(frame["joints_3d"]).all(-1))[0])
    raise ValueError(
      f"{fields.where(example)}: joints_3d of joint {joint} is NaN or infinite; the lifting tasks "
      "measure poses by their bones and need all joints in 3D: leave such frames out"
    )
  # Which joints lie in the crop is told on the device; hidden ones may be labelled all the same.
  return frame | {"visible": frame["labelled"]}


def _load_hand(
  example: dict[str, Any],
  augmentation: crops.Augmentation,
  rng: np.random.Generator,
  *,
  size: int,
  noise: tuple[float, float, float],
  wrist: bool,
  original: bool,
  with_image: bool,
) -> multiview.Frame:
  """A hand, cut out as the original does: `noise` of the 2D joints, of the cut's centre before its
  size is chosen and after, px of the whole image."""
  uv, points, visible = example["joints_2d"], example["joints_3d"], example["visible"]
  if not wrist:
    points, _ = hand_crops.palm(points, visible)
    uv, visible = hand_crops.palm(uv, visible)
  uv = uv + noise[0] * rng.normal(size=uv.shape)
  shift = noise[1] * rng.normal(size=2)
  if original:
    (v, u), side = hand_crops.original_square(uv, visible, shift[::-1])
    center, side = np.array([u, v]), min(side, float(size))
  else:
    # The square grows by as much as it moves, so that it still holds the hand.
    center, side = hand_crops.square(uv, visible)
    center, side = center + shift, side + 2.0 * float(np.abs(shift).max())
  center = center + noise[2] * rng.normal(size=2)
  affine = crops.random_crop(center, side, augmentation, rng, size=size, mirror=False)
  one_view = {
    "crop": affine,
    "intrinsics": example["intrinsics"],
    "rotation": np.eye(3),
    "translation": np.zeros(3),
    "joints_2d": uv,
    "visible": visible,
    "occluded": np.asarray(False),
  }
  frame = {
    "joints_3d": points,
    "hand_side": example["hand_side"],
    "subject": 0,
    "frame": example["frame"],
    "action": "hand",
    "valid": True,
  }
  batch = {k: np.asarray(v) for k, v in frame.items()}
  batch |= {k: np.asarray(v)[None] for k, v in one_view.items()}
  batch = {k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in batch.items()}
  if with_image:
    table = crops.color_table(augmentation, rng)
    batch["image"] = [stored_images.Cut(example["image"], affine, table)]
  return batch
