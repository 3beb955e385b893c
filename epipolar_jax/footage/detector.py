"""Detector: MoveNet on windows of all views, its heatmaps fused along epipolar lines."""

import functools
import itertools
from collections.abc import Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from epipolar_jax import heatmaps, skeletons
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.models import movenet, movenet_weights
from epipolar_jax.models.fusion import heatmaps as heatmap_fusion

# Images that one call of the network takes; fewer are padded, so that one program is compiled.
_BATCH = 8
# Samples on an epipolar line.
_SAMPLES = 64
# Half side of the decoder's window, map px.
_RADIUS = 3.0


def batches(windows: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, int]]:
  """Windows as they come, eight at a time: [8, size, size, 3], padded, and how many there are."""
  windows = iter(windows)
  while batch := list(itertools.islice(windows, _BATCH)):
    count = len(batch)
    yield np.pad(np.stack(batch), [(0, _BATCH - count), (0, 0), (0, 0), (0, 0)]), count


class Detector:
  """Joints of one person in square windows, one window a view.

  Attributes:
    skeleton: of the joints.
    size: side of the windows it takes, px.
    searches: False: it finds a person in a whole image.
    description: what its output depends on, for records.
  """

  searches = False

  def __init__(self, name: str = "thunder", *, gain: float = 1.0, sharpness: float = 0.5):
    """Loads a shipped network.

    Args:
      name: thunder or lightning.
      gain: weight of the other views' evidence; 0 leaves the views alone.
      sharpness: of the attention along a line.
    """
    module, variables, self.size = movenet_weights.load(name)
    self.skeleton = skeletons.SKELETONS["coco_17"]
    self.gain, self.sharpness = gain, sharpness
    self.description = {"network": name, "gain": gain, "sharpness": sharpness}
    run = jax.jit(lambda variables, images: module.apply(variables, images).heatmap)
    self._maps = functools.partial(run, jax.device_put(variables))

  def maps(self, windows: Iterable[np.ndarray]) -> np.ndarray:
    """Heatmap logits [n, h, w, j] of n windows [size, size, 3] uint8 RGB, taken as they come."""
    side = self.size // movenet.STRIDE
    found = [np.zeros((0, side, side, movenet.NUM_JOINTS), np.float32)]
    found += [np.asarray(self._maps(batch))[:count] for batch, count in batches(windows)]
    return np.concatenate(found)

  def decode(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Joints of single views.

    Args:
      maps: [n, h, w, j], heatmap logits.

    Returns:
      uv: [n, j, 2], px of the windows.
      score: [n, j], 0..1, the largest probability of the map.
    """
    uv, score = (np.asarray(x) for x in _decode(jnp.asarray(maps)))
    return uv.astype(np.float64), score.astype(np.float64)

  def fuse(
    self, maps: np.ndarray, seen: np.ndarray, cameras: Cameras
  ) -> tuple[np.ndarray, np.ndarray]:
    """Joints of one frame's views, each view's maps fused with the others'.

    Args:
      maps: [v, h, w, j], heatmap logits.
      seen: [v], bool: the view has a window.
      cameras: [v], of the windows' pixels.

    Returns:
      uv and score as `decode`, [v, j, 2] and [v, j].
    """
    scaled = jax.tree.map(jnp.float32, cameras).scale(1 / movenet.STRIDE)
    found = _fuse(maps, seen, scaled, jnp.float32(self.gain), jnp.float32(self.sharpness))
    return tuple(np.asarray(x, np.float64) for x in found)


@jax.jit
def _decode(maps: jax.Array) -> tuple[jax.Array, jax.Array]:
  by_joint = jnp.moveaxis(maps, -1, 1)
  one = functools.partial(heatmaps.decode_softmax, stride=movenet.STRIDE, radius=_RADIUS)
  uv, _ = jax.vmap(jax.vmap(one))(jax.nn.log_sigmoid(by_joint))
  return uv, jax.nn.sigmoid(jnp.max(by_joint, axis=(2, 3)))


@jax.jit
def _fuse(maps, seen, cameras, gain, sharpness):
  v, _, _, j = maps.shape
  own = heatmap_fusion.evidence(jax.nn.log_sigmoid(maps))
  confidence = jax.nn.sigmoid(jnp.max(maps, axis=(1, 2)))  # [v, j]
  others = np.array([[[m for m in range(v) if m != n] for n in range(v)]])
  (fused,) = heatmap_fusion.fuse(
    own[None],
    jax.tree.map(lambda x: x[None], cameras),
    jnp.asarray(others),
    gain=gain,
    sharpness=jnp.broadcast_to(sharpness, (j,)),
    num_samples=_SAMPLES,
    weight=(confidence * seen[:, None])[None],
  )
  by_joint = jnp.moveaxis(fused, -1, 1)
  one = functools.partial(heatmaps.decode_softmax, stride=movenet.STRIDE, radius=_RADIUS)
  uv, mass = jax.vmap(jax.vmap(one))(by_joint)
  return uv, jnp.clip(mass, 0.0, 1.0) * confidence
