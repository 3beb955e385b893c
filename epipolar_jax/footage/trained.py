"""TrainedDetector: a network that was trained here finds the joints in the windows."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from epipolar_jax import models, skeletons
from epipolar_jax.footage import detector
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.models import fusion
from epipolar_jax.tasks import task
from epipolar_jax.tasks.multiview import reconstruction
from epipolar_jax.triangulation import doubt as doubt_lib


class TrainedDetector:
  """What `detector.Detector` is, with the weights and the fusion of a run of this project.

  Attributes:
    skeleton: of the joints.
    size: side of the windows it takes, px.
    gain: 0 where the views are left alone.
    searches: True: it is trained on windows around bodies, not on whole images.
    description: what its output depends on, for records.
    doubt: how large the errors of its joints are in 3D; None where nobody has learnt it.
  """

  searches = True

  def __init__(
    self,
    config: ml_collections.ConfigDict,
    variables: Any,
    *,
    fuse: bool = True,
    doubt: doubt_lib.Doubt | None = None,
  ):
    """Takes a multi-view network of heatmaps.

    Args:
      config: of the run.
      variables: {"params", "batch_stats"}.
      fuse: False leaves out what the network adds from other views.
      doubt: learnt with fusion.

    Raises:
      ValueError: the network fuses features, which belong to all views of a frame at once.
    """
    layers = fusion.of_model(config.model)
    if layers.early is not None or layers.late is not None:
      raise ValueError(
        f"a network with model.fusion.merge {config.model.fusion.merge!r} needs all views of a "
        "frame before it finds a joint; predict works with heatmaps and none"
      )
    self.doubt = doubt if fuse else None
    self.skeleton, self.size = skeletons.of_model(config.model), config.data.image_size
    self.gain = float(fuse and layers.heatmaps is not None)
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(jax.device_get(variables)):
      digest.update(jax.tree_util.keystr(path).encode() + np.ascontiguousarray(leaf).tobytes())
    self.description = {"weights_sha256": digest.hexdigest(), "fuse": bool(self.gain)}
    network = models.build(config.model, config.parity)
    self._variables = jax.device_put(variables)
    self._maps = jax.jit(nn.apply(_single, network))
    self._fused = jax.jit(nn.apply(_fused, network))
    self._normalize = lambda x: task.normalize_images(x[None], bgr=config.parity.bgr)[0]
    decode = reconstruction.decoder(
      config.heatmap.decode, config.heatmap.sigma, edge_aligned=config.parity.edge_aligned
    )
    self._decode = jax.jit(jax.vmap(jax.vmap(decode)))

  def maps(self, windows: Iterable[np.ndarray]) -> np.ndarray:
    """Heatmaps [n, h, w, j] of n windows [size, size, 3] uint8 RGB, each by itself."""
    side = self.size // models.STRIDE
    found = [np.zeros((0, side, side, self.skeleton.num_joints), np.float32)]
    for batch, count in detector.batches(windows):
      images = self._normalize(jnp.asarray(batch))
      found.append(np.asarray(self._maps(self._variables, images))[:count])
    return np.concatenate(found)

  def decode(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Joints of single views: uv [n, j, 2], px of the windows, and score [n, j], 0..1."""
    uv, score = detector.by_batches(lambda batch: self._decode(np.moveaxis(batch, -1, 1)), maps)
    return uv, np.clip(score, 0.0, 1.0)

  def fuse(
    self, maps: np.ndarray, seen: np.ndarray, cameras: Cameras
  ) -> tuple[np.ndarray, np.ndarray]:
    """Joints of one frame's views; arguments and results as of `detector.Detector.fuse`."""
    views = len(maps)
    source = np.array([[m for m in range(views) if m != n] for n in range(views)])
    cameras = jax.tree.map(lambda x: jnp.float32(x)[None], cameras)
    fused = self._fused(self._variables, maps[None], cameras, source[None], seen[None])
    return self.decode(fused[0])


def _single(network, images: jax.Array) -> jax.Array:
  early = network.backbone.early(images, train=False)
  return network.backbone.heatmaps(network.backbone.late(early, train=False))


def _fused(network, maps, cameras: Cameras, source, present) -> jax.Array:
  return network.heatmap_fusion(maps, cameras.scale(1 / models.STRIDE), source, present)


def tiles(size_wh: Sequence[int], side: float) -> np.ndarray:
  """Windows that cover an image: centres and side [n, 3], px, a third of the side apart.

  Args:
    size_wh: (width, height) of the image.
    side: of the windows; at most the larger side of the image.
  """
  side = min(side, float(max(size_wh)))
  axes = []
  for length in size_wh:
    count = max(1, int(np.ceil(3 * (length - side) / side)) + 1)
    low, high = (side - 1) / 2, length - (side + 1) / 2
    axes.append(np.linspace(low, high, count) if low < high else np.array([(length - 1) / 2]))
  u, v = np.meshgrid(*axes)
  return np.stack([u.ravel(), v.ravel(), np.full(u.size, side)], axis=-1)
