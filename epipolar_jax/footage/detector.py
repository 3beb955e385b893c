"""Detector: MoveNet on windows of all views, its heatmaps fused along epipolar lines."""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import flax.linen as nn
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
# Centres of people that one window can hold, and the distance of the person meant from its middle
# (standard deviation) and of a joint from where its centre expects it, shares of the side.
_PEOPLE, _MIDDLE, _NEAR = 6, 0.17, 0.12


def batches(windows: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, int]]:
  """Windows as they come, eight at a time: [8, size, size, 3], padded, and how many there are."""
  windows = iter(windows)
  while batch := list(itertools.islice(windows, _BATCH)):
    count = len(batch)
    yield np.pad(np.stack(batch), [(0, _BATCH - count), (0, 0), (0, 0), (0, 0)]), count


class People(NamedTuple):
  """Centres of people in n windows, k of each, the likeliest first.

  Attributes:
    uv: [n, k, j, 2], px of the windows: roughly where the person's joints are.
    score: [n, k, j], 0..1, the largest probability of each joint near there.
    center: [n, k], 0..1, probability of a centre; 0: there are no more.
  """

  uv: np.ndarray
  score: np.ndarray
  center: np.ndarray


class Detector:
  """Joints of one person in square windows, one window a view.

  Attributes:
    skeleton: of the joints.
    size: side of the windows it takes, px.
    searches: False: it finds a person in a whole image.
    doubt: None: nobody knows how large the errors of its joints are in 3D.
    description: what its output depends on, for records.
  """

  searches = False
  doubt = None

  def __init__(
    self,
    name: str = "thunder",
    *,
    gain: float = 1.0,
    sharpness: float = 0.5,
    several: bool = False,
  ):
    """Loads a shipped network.

    Args:
      name: thunder or lightning.
      gain: weight of the other views' evidence; 0 leaves the views alone.
      sharpness: of the attention along a line.
      several: windows may hold other people: joints count less the further they are from where the
        centre of the person in the window's middle expects them.
    """
    module, variables, self.size = movenet_weights.load(name)
    self.skeleton = skeletons.SKELETONS["coco_17"]
    self.gain, self.sharpness = gain, sharpness
    self.description = {"network": name, "gain": gain, "sharpness": sharpness}
    if several:
      self.description["several"] = True
    variables = jax.device_put(variables)
    read = _of_the_middle if several else lambda maps: maps.heatmap
    run = jax.jit(lambda variables, images: read(module.apply(variables, images)))
    self._maps = functools.partial(run, variables)
    people = jax.jit(lambda variables, images: _people(module.apply(variables, images)))
    self._people = functools.partial(people, variables)

  def maps(self, windows: Iterable[np.ndarray]) -> np.ndarray:
    """Heatmap logits [n, h, w, j] of n windows [size, size, 3] uint8 RGB, taken as they come."""
    side = self.size // movenet.STRIDE
    found = [np.zeros((0, side, side, movenet.NUM_JOINTS), np.float32)]
    found += [np.asarray(self._maps(batch))[:count] for batch, count in batches(windows)]
    return np.concatenate(found)

  def people(self, windows: Iterable[np.ndarray]) -> People:
    """Everybody in n windows [size, size, 3] uint8 RGB, taken as they come."""
    shape = 0, _PEOPLE, movenet.NUM_JOINTS
    found = [(np.zeros((*shape, 2)), np.zeros(shape), np.zeros(shape[:2]))]
    for batch, count in batches(windows):
      found.append(tuple(np.asarray(x, np.float64)[:count] for x in self._people(batch)))
    return People(*(np.concatenate(x) for x in zip(*found)))

  def decode(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Joints of single views.

    Args:
      maps: [n, h, w, j], heatmap logits.

    Returns:
      uv: [n, j, 2], px of the windows.
      score: [n, j], 0..1, the largest probability of the map.
    """
    return decode(maps, stride=movenet.STRIDE)

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
    return fuse(maps, seen, cameras, self.gain, self.sharpness, stride=movenet.STRIDE)


def decode(maps: np.ndarray, *, stride: int) -> tuple[np.ndarray, np.ndarray]:
  """`Detector.decode` of heatmap logits [n, h, w, j] of any network."""
  return by_batches(lambda batch: _decode(batch, stride), maps, maps.shape[-1])


def by_batches(
  decode: Callable[[np.ndarray], tuple[jax.Array, jax.Array]], maps: np.ndarray, joints: int
) -> tuple[np.ndarray, np.ndarray]:
  """Joints [n, j, 2] and scores [n, j] of maps [n, h, w, c], decoded eight at a time.

  How many windows are looked at again is another number every time: this is one program for all.
  """
  shape = 0, joints
  found = [(np.zeros((*shape, 2)), np.zeros(shape))]
  for batch, count in batches(maps):
    found.append(tuple(np.asarray(x, np.float64)[:count] for x in decode(batch)))
  return tuple(np.concatenate(x) for x in zip(*found))


def fuse(
  maps: np.ndarray,
  seen: np.ndarray,
  cameras: Cameras,
  gain: float,
  sharpness: float,
  *,
  stride: int,
) -> tuple[np.ndarray, np.ndarray]:
  """`Detector.fuse` of heatmap logits [v, h, w, j] of any network."""
  scaled = jax.tree.map(jnp.float32, cameras).scale(1 / stride)
  found = _fuse(maps, seen, scaled, jnp.float32(gain), jnp.float32(sharpness), stride)
  return tuple(np.asarray(x, np.float64) for x in found)


def _people(maps: movenet.Maps) -> tuple[jax.Array, jax.Array, jax.Array]:
  """`People` of windows, as arrays."""
  n, high, wide, j = maps.heatmap.shape
  center = jax.nn.sigmoid(maps.center[..., 0])
  peak = jnp.where(center == _largest_near(center[..., None], 3)[..., 0], center, 0.0)
  found, place = jax.lax.top_k(peak.reshape(n, -1), _PEOPLE)
  at, expected = _expected(maps, place)
  near = _largest_near(jax.nn.sigmoid(maps.heatmap), 5).reshape(n, high * wide, j)
  rows, columns = (jnp.clip(jnp.round(at[..., i]), 0, s - 1) for i, s in ((1, high), (0, wide)))
  index = (rows * wide + columns).astype(int)  # [n, k, j]
  score = jnp.take_along_axis(near, index, axis=1)
  return expected, score, found


def _expected(maps: movenet.Maps, place: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Joints [n, k, j, 2] that centres at flat places [n, k] expect, px of the map and window."""
  n, _, wide, j = maps.heatmap.shape
  regress = maps.regress.reshape(n, -1, j, 2)[..., ::-1]
  start = jnp.stack([place % wide, place // wide], axis=-1)
  at = start[:, :, None] + jnp.take_along_axis(regress, place[..., None, None], axis=1)
  return at, at * movenet.STRIDE + (movenet.STRIDE - 1) / 2


def _of_the_middle(maps: movenet.Maps) -> jax.Array:
  """Heatmap logits [n, h, w, j] in which joints far from the middle person's count less."""
  n, high, wide, _ = maps.heatmap.shape
  v, u = (x - (s - 1) / 2 for x, s in zip(jnp.mgrid[:high, :wide], (high, wide)))
  likely = jnp.exp(-(u**2 + v**2) / (2 * (_MIDDLE * wide) ** 2))
  center = jax.nn.sigmoid(maps.center[..., 0]) * likely[None]
  at, _ = _expected(maps, jnp.argmax(center.reshape(n, -1), axis=1)[:, None])
  grid = jnp.stack(jnp.mgrid[:high, :wide][::-1], axis=-1)[None, :, :, None]
  away = jnp.sum((grid - at[:, :, None]) ** 2, axis=-1)  # [n, h, w, j]
  share = jnp.minimum(1.0, (_NEAR * wide) ** 2 / jnp.maximum(away, 1.0))
  # The logit of share * probability.
  x = maps.heatmap
  return x + jnp.log(share) - jnp.logaddexp(0.0, x + jnp.log1p(-share))


def _largest_near(x: jax.Array, size: int) -> jax.Array:
  """The maximum over size x size pixels around each of [n, h, w, c]."""
  return nn.max_pool(x, (size, size), (1, 1), "SAME")


@functools.partial(jax.jit, static_argnums=1)
def _decode(maps: jax.Array, stride: int) -> tuple[jax.Array, jax.Array]:
  by_joint = jnp.moveaxis(maps, -1, 1)
  one = functools.partial(heatmaps.decode_softmax, stride=stride, radius=_RADIUS)
  uv, _ = jax.vmap(jax.vmap(one))(jax.nn.log_sigmoid(by_joint))
  return uv, jax.nn.sigmoid(jnp.max(by_joint, axis=(2, 3)))


@functools.partial(jax.jit, static_argnums=5)
def _fuse(maps, seen, cameras, gain, sharpness, stride):
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
  one = functools.partial(heatmaps.decode_softmax, stride=stride, radius=_RADIUS)
  uv, mass = jax.vmap(jax.vmap(one))(by_joint)
  return uv, jnp.clip(mass, 0.0, 1.0) * confidence
