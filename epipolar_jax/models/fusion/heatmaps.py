"""JointFusion: every joint looks along the epipolar lines for itself, on heatmaps."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from epipolar_jax.geometry import epipolar, pencil, sampling
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.models.fusion import features

# Evidence starts this far below an even spread, in nats: e^-3 of it and less counts as nothing.
_FLOOR = 3.0


class JointFusion(nn.Module):
  """Adds to each view's heatmaps those of the other views along the epipolar lines.

  The epipolar transformer compares pixels by one feature, so all joints share the attention of a
  pixel. Here each joint has its own: the query is the joint, the keys and the values are its
  evidence in the source view. To a pixel the best evidence on its line is added, and as several
  lines cross in one point only, a joint that is visible in two cameras is located in a third where
  it is hidden. With a hard maximum and fixed weights this is the heatmap fusion of AdaFuse.

  Attributes:
    num_joints: j.
    num_samples: k, samples on a line.
    gain_init: initial weight of a source view's evidence, learned per joint.
    sharpness_init: initial factor on evidence before the softmax over a line, learned per joint.

  References:
    Zhang et al., AdaFuse, IJCV 2021, section 4 (fusion along epipolar lines); He et al., Epipolar
    Transformers, CVPR 2020, section 3 (attention along them).
  """

  num_joints: int
  num_samples: int = 64
  gain_init: float = 0.3
  sharpness_init: float = 1.0

  # Joints attend, not pixels: a pixel has no one match.
  matches = False
  # Logarithms of probabilities are added, which cross-entropy trains.
  logits = True

  @classmethod
  def of_config(cls, group: Any, parity: Any, **network: Any) -> "JointFusion":
    """The layer of a config's `model.fusion` and `parity` groups; `network` as of `fusion.build`.

    Raises:
      ValueError: an option of the fusion of features is set, which this layer would ignore.
    """
    features.refuse_options(group, parity)
    return cls(num_joints=network["num_joints"], num_samples=group.num_samples)

  def setup(self):
    shape = (self.num_joints,)
    self.gain = self.param("gain", nn.initializers.constant(self.gain_init), shape)
    self.sharpness = self.param("sharpness", nn.initializers.constant(self.sharpness_init), shape)

  def __call__(
    self,
    heatmaps: jax.Array,
    cameras: Cameras,
    source: jax.Array,
    present: jax.Array | None = None,
  ) -> jax.Array:
    """Fuses the heatmaps of all views.

    Args:
      heatmaps: [b, v, h, w, j], logits over the pixels of each map.
      cameras: [b, v], of the maps (`Cameras.scale`), t_cw in mm.
      source: [b, v, m], indices of the views that each view looks at.
      present: [b, v], False for views that only fill a place and give nothing. None: all are there.

    Returns:
      [b, v, h, w, j] float32, logits. With `mutable=["intermediates"]` also `evidence`, the same
      shape, and `sharpness` [b, j]: softmax(sharpness * evidence) over the samples of a line is a
      joint's attention.
    """
    own = evidence(heatmaps.astype(jnp.float32))
    sharpness = jnp.broadcast_to(self.sharpness, (own.shape[0], self.num_joints))
    for name, value in (("evidence", own), ("sharpness", sharpness)):
      self.sow("intermediates", name, value, reduce_fn=lambda _, last: last)
    weight = None if present is None else present[..., None]
    return fuse(
      own,
      cameras,
      source,
      gain=self.gain,
      sharpness=self.sharpness,
      num_samples=self.num_samples,
      weight=weight,
    )


def fuse(
  evidence: jax.Array,
  cameras: Cameras,
  source: jax.Array,
  *,
  gain: jax.Array,
  sharpness: jax.Array,
  num_samples: int,
  weight: jax.Array | None = None,
) -> jax.Array:
  """Each view's evidence with what its sources hold along the epipolar lines.

  Args:
    evidence: [b, v, h, w, j].
    cameras: [b, v], of the maps.
    source: [b, v, m], indices of the views that each view looks at.
    gain: [j] or [], of the sources' evidence.
    sharpness: [j], of the attention along a line.
    num_samples: on a line.
    weight: [b, v, j or 1], of what a view gives to others. None: 1.

  Returns:
    [b, v, h, w, j].
  """
  b, v, m = source.shape
  frame = jnp.arange(b).reshape(b, 1, 1)
  view = jnp.broadcast_to(jnp.arange(v).reshape(1, v, 1), source.shape)
  pairs = evidence[frame, source], cameras[frame, view], cameras[frame, source]
  pairs = jax.tree.map(lambda x: x.reshape(b * v * m, *x.shape[3:]), pairs)
  found = _look(pairs, sharpness, num_samples=num_samples)
  found = found.reshape(b, v, m, *evidence.shape[2:])
  if weight is not None:
    found = found * weight[frame, source][:, :, :, None, None]
  return evidence + jnp.reshape(gain, (1, 1, 1, 1, -1)) * jnp.sum(found, axis=2)


def evidence(logits: jax.Array) -> jax.Array:
  """Evidence [..., h, w, j] ≥ 0 for a joint at each pixel, of logits over the pixels.

  The logarithm of the probability relative to an even spread, with a soft floor: a view that
  rules a place out cannot veto the others' evidence there.
  """
  pixels = logits.shape[-3] * logits.shape[-2]
  log_odds = jax.nn.log_softmax(logits, axis=(-3, -2)) + jnp.log(float(pixels))
  return jax.nn.softplus(log_odds + _FLOOR)


def _look(pairs: Any, sharpness: jax.Array, *, num_samples: int) -> jax.Array:
  """`look_along_lines` of n pairs of views, [n, h, w, j], as suits where it will run."""
  look = functools.partial(look_along_lines, num_samples=num_samples)

  def one_by_one(look):
    return lambda pairs, sharpness: jax.lax.map(lambda pair: look(*pair, sharpness), pairs)

  def together(pairs, sharpness):
    return jax.vmap(lambda pair: look(*pair, sharpness))(pairs)

  return jax.lax.platform_dependent(
    pairs,
    sharpness,
    # A pair at a time stays in a CPU's cache (twice as fast there, measured).
    cpu=one_by_one(look),
    # What lies between the products is large: a pair at a time, made again in the backward pass.
    tpu=one_by_one(jax.checkpoint(functools.partial(look, products=True))),
    default=together,
  )


def look_along_lines(
  evidence: jax.Array,
  reference: Cameras,
  source: Cameras,
  sharpness: jax.Array,
  *,
  num_samples: int,
  products: bool = False,
) -> jax.Array:
  """What each reference pixel's epipolar line holds for each joint.

  A softmax-weighted mean over the samples of a line, worked out for one line through each border
  pixel and interpolated in between (`geometry.pencil`). Single pair of views of equal map size.

  Args:
    evidence: [h, w, j] of the source view.
    reference: the one camera of the reference view's map.
    source: the same of the source view.
    sharpness: [j], 0 takes the plain mean of a line, a large one the maximum.
    num_samples: k, samples on a line.
    products: interpolates by matrix products instead of gathers, for TPUs.

  Returns:
    [h, w, j]; 0 where the line misses the source map.
  """
  h, w, j = evidence.shape
  matrix = epipolar.fundamental(reference, source)
  pole = epipolar.epipole(reference, source.centre())
  read = sampling.bilinear_products if products else sampling.bilinear

  def along(point):
    points, valid = epipolar.sample_line(point, matrix, size_wh=(w, h), num_samples=num_samples)
    found = read(evidence, jax.lax.stop_gradient(points))
    attention = jax.nn.softmax(found * sharpness.reshape(1, j), axis=0)
    return jnp.sum(attention * found, axis=0) * valid

  lines = jax.vmap(along)(pencil.border_points((w, h)))
  v, u = jnp.meshgrid(jnp.arange(h * 1.0), jnp.arange(w * 1.0), indexing="ij")
  pixels = jnp.stack([u, v], axis=-1).reshape(h * w, 2)
  place = functools.partial(pencil.border_coordinate, epipole=pole, size_wh=(w, h))
  at = jax.vmap(place)(pixels)
  return pencil.look_up(lines, at, products=products).reshape(h, w, j)
