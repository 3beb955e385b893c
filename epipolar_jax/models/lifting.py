"""Lifting networks: what one view shows (heatmaps, features or 2D joints) to joints in 3D.

All return root-relative coordinates in units of a reference bone. The original's return [n, j, 3]
and, when asked for a viewpoint, the rotation [n, 3, 3] that takes the canonical frame to the
camera's, else None.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from epipolar_jax.geometry import rigid
from epipolar_jax.models import layers

Lift = tuple[jax.Array, jax.Array | None]

# torch's default for convolutions and linear layers: uniform within 1 / sqrt(fan in).
_UNIFORM = nn.initializers.variance_scaling(1.0 / 3.0, "fan_in", "uniform")


class LiftingNet(nn.Module):
  """A lifter and what looks at the images before it; `nn.apply` a function of the two.

  Attributes:
    lifter: `HeatmapLifter`, `FeatureLifter` or `ResidualLifter`.
    backbone: `ResNet` for features, `PoseResNet` or `EpipolarPose` for heatmaps; None when
      heatmaps or joints are given.
  """

  lifter: nn.Module
  backbone: nn.Module | None = None


class HeatmapLifter(nn.Module):
  """Heatmaps to 3D by strided convolutions (Zimmermann and Brox).

  Attributes:
    num_joints: j.
    pool: heatmaps are averaged over blocks of pool × pool pixels first; the last ones may be
      smaller.
    viewpoint: adds the second tower, which estimates the rotation.
    dtype: of the computation; parameters and results are float32.

  References:
    Zimmermann and Brox, Learning to Estimate 3D Hand Pose from Single RGB Images, ICCV 2017.
  """

  num_joints: int
  pool: int
  viewpoint: bool
  dtype: Any = jnp.float32

  def setup(self):
    outputs = 3 * self.num_joints
    self.pose_tower = _Tower((32, 64, 128), self.dtype)
    self.pose_head = _Head((512, 512), outputs, 0.2, self.dtype)
    if self.viewpoint:
      self.view_tower = _Tower((64, 128, 256), self.dtype)
      self.view_head = _Head((256, 128), 3, 0.25, self.dtype)

  def __call__(
    self, heatmaps: jax.Array, side: jax.Array | None, keys: jax.Array | None = None
  ) -> Lift:
    """Lifts.

    Args:
      heatmaps: [n, h, w, j].
      side: [n], 0 for a left hand and 1 for a right one; None for bodies.
      keys: [n] random keys of the dropout; None in evaluation.
    """
    x = average_pool(heatmaps.astype(self.dtype), self.pool)
    pose = self.pose_head(_with_side(self.pose_tower(x), side), keys)
    coordinates = pose.reshape(-1, self.num_joints, 3)
    if not self.viewpoint:
      return coordinates, None
    view = self.view_head(_with_side(self.view_tower(x), side), keys)
    return coordinates, jax.vmap(rigid.rotation_from_axis_angle)(view)


class FeatureLifter(nn.Module):
  """One linear layer for the pose and one for the viewpoint, on an image's features.

  Attributes:
    num_joints: j.

  References:
    Boukhayma et al., 3D Hand Shape and Pose from Images in the Wild, CVPR 2019.
  """

  num_joints: int

  def setup(self):
    self.pose_head = _dense(3 * self.num_joints)
    self.view_head = _dense(3)

  def __call__(
    self, features: jax.Array, side: jax.Array | None, keys: jax.Array | None = None
  ) -> Lift:
    """Lifts features: [n, c]; the other arguments are those of `HeatmapLifter` (no dropout)."""
    del keys
    x = _with_side(features.astype(jnp.float32), side)
    rotation = jax.vmap(rigid.rotation_from_axis_angle)(self.view_head(x))
    return self.pose_head(x).reshape(-1, self.num_joints, 3), rotation


class ResidualLifter(nn.Module):
  """2D joints to 3D by a residual multilayer perceptron.

  Attributes:
    num_joints: j.
    num_frames: f, coordinate frames in which the pose is returned.
    width: of the hidden layers.
    num_blocks: residual blocks of two layers each.
    dropout: share of hidden units that are dropped in training.
    dtype: of the computation; parameters and results are float32.

  References:
    Martinez et al., A Simple yet Effective Baseline for 3D Human Pose Estimation, ICCV 2017.
  """

  num_joints: int
  num_frames: int = 1
  width: int = 1024
  num_blocks: int = 2
  dropout: float = 0.1
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, joints: jax.Array, side: jax.Array | None, keys: jax.Array | None = None
  ) -> jax.Array:
    """Lifts joints: [n, c], flat, to [n, f, j, 3]; the rest as in `HeatmapLifter`."""
    x = self._layer("first", _with_side(joints.astype(self.dtype), side), keys, 0)
    for block in range(self.num_blocks):
      y = self._layer(f"block{block}_1", x, keys, 2 * block + 1)
      x = x + self._layer(f"block{block}_2", y, keys, 2 * block + 2)
    x = nn.LayerNorm(dtype=self.dtype, name="last_norm")(x).astype(jnp.float32)
    poses = _dense(3 * self.num_frames * self.num_joints, name="pose_head")(x)
    return poses.reshape(-1, self.num_frames, self.num_joints, 3)

  def _layer(self, name: str, x: jax.Array, keys: jax.Array | None, index: int) -> jax.Array:
    x = nn.Dense(self.width, dtype=self.dtype, name=name)(x)
    x = nn.gelu(nn.LayerNorm(dtype=self.dtype, name=f"{name}_norm")(x))
    return drop(x, keys, self.dropout, index=index)


class _Tower(nn.Module):
  """Six 3×3 convolutions, every second of stride 2; the result is flat, in torch's order.

  Layers are numbered as in torch's Sequential, activations included.
  """

  features: tuple[int, ...]
  dtype: Any

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    for i, features in enumerate(self.features):
      for j, stride in enumerate((1, 2)):
        conv = layers.Conv(
          features,
          3,
          stride,
          use_bias=True,
          dtype=self.dtype,
          kernel_init=_UNIFORM,
          name=f"layer{4 * i + 2 * j}",
        )
        x = nn.leaky_relu(conv(x))
    return x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)


class _Head(nn.Module):
  """Two hidden layers with dropout and a linear one; numbered as in torch's Sequential."""

  hidden: tuple[int, ...]
  outputs: int
  dropout: float
  dtype: Any

  @nn.compact
  def __call__(self, x: jax.Array, keys: jax.Array | None) -> jax.Array:
    for i, width in enumerate(self.hidden):
      x = nn.leaky_relu(_dense(width, dtype=self.dtype, name=f"layer{3 * i}")(x))
      # The heads of pose and view draw apart: their first widths differ.
      x = drop(x, keys, self.dropout, index=self.hidden[0] + i)
    return _dense(self.outputs, name=f"layer{3 * len(self.hidden)}")(x.astype(jnp.float32))


def average_pool(x: jax.Array, size: int) -> jax.Array:
  """Means of blocks of size × size pixels; at the right and lower border of what is there.

  Args:
    x: [n, h, w, c].
    size: of a block.

  Returns:
    [n, ceil(h / size), ceil(w / size), c].
  """
  n, height, width, c = x.shape
  down, right = -height % size, -width % size
  blocks = jnp.pad(x, ((0, 0), (0, down), (0, right), (0, 0)))
  blocks = blocks.reshape(n, (height + down) // size, size, (width + right) // size, size, c)
  rows, columns = (
    jnp.minimum(size, length - size * jnp.arange(-(-length // size))) for length in (height, width)
  )
  counts = (rows[:, None] * columns[None, :]).astype(x.dtype)
  return jnp.sum(blocks, (2, 4)) / counts[None, :, :, None]


def drop(x: jax.Array, keys: jax.Array | None, rate: float, *, index: int) -> jax.Array:
  """Dropout whose draws belong to the item: n devices drop what one would.

  Args:
    x: [n, c].
    keys: [n] random keys; None changes nothing.
    rate: share of the values that become 0; the others grow to make up for it.
    index: of the layer; layers with another index draw others.
  """
  if keys is None or not rate:
    return x

  def one(row: jax.Array, key: jax.Array) -> jax.Array:
    keep = jax.random.bernoulli(jax.random.fold_in(key, index), 1.0 - rate, row.shape)
    return jnp.where(keep, row / (1.0 - rate), 0.0)

  return jax.vmap(one)(x, keys)


def _with_side(x: jax.Array, side: jax.Array | None) -> jax.Array:
  """Appends (1 - side, side) to [n, c]; nothing for bodies."""
  if side is None:
    return x
  side = side.astype(x.dtype)[:, None]
  return jnp.concatenate([x, 1.0 - side, side], axis=1)


def _dense(features: int, *, dtype: Any = jnp.float32, name: str | None = None) -> nn.Dense:
  """A linear layer that starts as torch's; torch's bias is as wide, ours starts at zero."""
  return nn.Dense(features, dtype=dtype, kernel_init=_UNIFORM, name=name)
