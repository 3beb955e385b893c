"""PoseMoveNet: MoveNet's trunk and a head of one's own joints, in PoseResNet's place."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax.models import layers, movenet, movenet_weights

# `model.backbone`: the published network whose trunk it is.
VARIANTS = {f"movenet_{name}": name for name in movenet_weights.VARIANTS}
# Of the images that the task gives to every backbone, RGB of 0..1: undone here.
_MEAN = np.array([0.485, 0.456, 0.406], np.float32).reshape(1, 1, 1, 3)
_STD = np.array([0.229, 0.224, 0.225], np.float32).reshape(1, 1, 1, 3)


class PoseMoveNet(nn.Module):
  """Heatmaps of one view at a quarter of the image's resolution.

  The features before the head are those that MoveNet's own heatmaps are made of, 96 channels after
  the last ReLU; the head is a 1×1 convolution. There is no batch normalisation.

  Attributes:
    num_joints: j, heatmaps of the head.
    width: of the trunk, as of `movenet.MoveNet`.
    head_init_std: standard deviation of the head's initial kernel.
    dtype: of the trunk's arithmetic; parameters and heatmaps are float32.
  """

  num_joints: int
  width: float = 1.0
  head_init_std: float = 0.03
  dtype: Any = jnp.float32

  def setup(self):
    self.trunk = movenet.MoveNet(self.width, self.dtype)
    init = nn.initializers.normal(self.head_init_std)
    self.head = layers.Conv(self.num_joints, 1, use_bias=True, kernel_init=init)

  def early(self, images: jax.Array, *, train: bool) -> jax.Array:
    """The images [n, h, w, 3] as MoveNet takes them: views cannot meet inside its trunk."""
    return 255.0 * (images * _STD + _MEAN)

  def late(self, early: jax.Array, *, train: bool) -> jax.Array:
    """Features before the head: [n, h, w, 3] to [n, h/4, w/4, 96]."""
    return self.trunk(early).hidden

  def heatmaps(self, features: jax.Array) -> jax.Array:
    """Head: features [n, h/4, w/4, c] to float32 heatmaps [n, h/4, w/4, j]."""
    return self.head(features.astype(jnp.float32))


def load(variables: Any, name: str, joints: tuple[str, ...]) -> tuple[Any, list[str]]:
  """Puts a published network's weights into a network's variables.

  Args:
    variables: {"params", ...} of a network with this backbone, initialised.
    name: thunder or lightning.
    joints: of the network; the head takes over those that MoveNet has by the same name.

  Returns:
    The variables, and the names of joints whose heatmaps start afresh.

  Raises:
    ValueError: no such network, or the backbone is another.
  """
  _, weights, _ = movenet_weights.load(name)
  params = dict(variables["params"])
  fresh = []
  for owner in ("backbone", "source_backbone"):
    if owner not in params:
      continue
    own = dict(params[owner])
    shapes = {key: x.shape for key, x in own.get("trunk", {}).items() if hasattr(x, "shape")}
    if shapes != {key: x.shape for key, x in weights["params"].items()}:
      raise ValueError(f"model.init movenet:{name} wants model.backbone movenet_{name}")
    own["trunk"] = {key: jnp.asarray(x) for key, x in weights["params"].items()}
    own["head"], fresh = _head(own["head"], weights["params"], joints)
    params[owner] = own
  return {**variables, "params": params}, fresh


def _head(head: Any, weights: dict[str, np.ndarray], joints: tuple[str, ...]):
  """The head's parameters, with MoveNet's for the joints that it has."""
  head = {key: np.array(x) for key, x in head.items()}
  fresh = []
  for index, joint in enumerate(joints):
    if joint not in movenet.JOINTS:
      fresh.append(joint)
      continue
    column = movenet.JOINTS.index(joint)
    head["kernel"][..., index] = weights["heatmap_map_kernel"][..., column]
    head["bias"][index] = weights["heatmap_map_bias"][column]
  return {key: jnp.asarray(x) for key, x in head.items()}, fresh
