"""TrainedDetector: a network that was trained here finds the joints in the windows."""

import functools
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
from epipolar_jax.models.fusion import lines
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
      ValueError: before the head a view needs the others, or what the others' images show.
    """
    model = config.model
    layers = fusion.of_model(model)
    if layers.early is not None:
      raise ValueError(
        f"a network with model.fusion.merge {model.fusion.merge!r} needs all views of a frame "
        "inside its trunk; predict works with late, heatmaps and none"
      )
    if layers.late is not None and (model.fusion.compare != "features" or not model.share_weights):
      raise ValueError(
        "predict works with model.fusion.compare 'features' and model.share_weights True, not with "
        f"{model.fusion.compare!r} and {model.share_weights}"
      )
    self.doubt = doubt if fuse else None
    self.skeleton, self.size = skeletons.of_model(model), config.data.image_size
    self.gain = float(fuse and bool(layers.layers))
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(jax.device_get(variables)):
      digest.update(jax.tree_util.keystr(path).encode() + np.ascontiguousarray(leaf).tobytes())
    self.description = {"weights_sha256": digest.hexdigest(), "fuse": bool(self.gain)}
    network = models.build(model, config.parity)
    self._variables = jax.device_put(variables)
    self._head = None
    if layers.late is not None:
      self._head = jax.jit(nn.apply(_head, network))
    self._maps = jax.jit(nn.apply(_single if self._head is None else _features, network))
    together = functools.partial(_fused, rule=model.fusion.sources)
    self._fused = jax.jit(nn.apply(together, network))
    self._normalize = lambda x: task.normalize_images(x[None], bgr=config.parity.bgr)[0]
    decode = reconstruction.decoder(
      config.heatmap.decode, config.heatmap.sigma, edge_aligned=config.parity.edge_aligned
    )
    self._decode = jax.jit(jax.vmap(jax.vmap(decode)))

  def maps(self, windows: Iterable[np.ndarray]) -> np.ndarray:
    """What is fused, of n windows [size, size, 3] uint8 RGB, each by itself.

    Returns:
      [n, h, w, j] heatmaps; or [n, h, w, c] features before the head, where those are fused.
    """
    found = []
    for batch, count in detector.batches(windows):
      images = self._normalize(jnp.asarray(batch))
      found.append(np.asarray(self._maps(self._variables, images))[:count])
    if found:
      return np.concatenate(found)
    blank = jax.ShapeDtypeStruct((1, self.size, self.size, 3), jnp.float32)
    shape = jax.eval_shape(self._maps, self._variables, blank).shape
    return np.zeros((0, *shape[1:]), np.float32)

  def decode(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Joints of single views, of what `maps` gives.

    Returns:
      uv: [n, j, 2], px of the windows.
      score: [n, j], 0..1.
    """
    if self._head is None:
      return self._joints(maps)
    return self._joints(maps, lambda batch: self._head(self._variables, batch))

  def fuse(
    self, maps: np.ndarray, seen: np.ndarray, cameras: Cameras
  ) -> tuple[np.ndarray, np.ndarray]:
    """Joints of one frame's views; arguments and results as of `detector.Detector.fuse`."""
    if not self.gain:
      return self.decode(maps)
    fused = self._fused(self._variables, maps, jax.tree.map(jnp.float32, cameras), seen)
    return self._joints(fused)

  def _joints(self, maps, heatmaps=lambda batch: batch) -> tuple[np.ndarray, np.ndarray]:
    """`decode` of maps that `heatmaps` makes heatmaps of."""
    uv, score = detector.by_batches(
      lambda batch: self._decode(jnp.moveaxis(heatmaps(batch), -1, 1)),
      maps,
      self.skeleton.num_joints,
    )
    return uv, np.clip(score, 0.0, 1.0)


def _features(network, images: jax.Array) -> jax.Array:
  """Features [n, h, w, c] of views by themselves."""
  return network.backbone.late(network.backbone.early(images, train=False), train=False)


def _head(network, features: jax.Array) -> jax.Array:
  return network.backbone.heatmaps(features)


def _single(network, images: jax.Array) -> jax.Array:
  return _head(network, _features(network, images))


def _fused(network, maps, cameras: Cameras, present, *, rule: str) -> jax.Array:
  """Heatmaps [v, h, w, j] of one frame's views together."""
  source = lines.choose_sources(cameras, rule=rule, present=present)
  maps, cameras, source, present = jax.tree.map(lambda x: x[None], (maps, cameras, source, present))
  if network.late_fusion is not None:
    return network.heatmaps_of(maps, cameras, source, present)[0]
  return network.heatmap_fusion(maps, cameras.scale(1 / models.STRIDE), source, present)[0]


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
