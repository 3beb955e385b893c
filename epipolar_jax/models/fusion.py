"""EpipolarFusion: adds to each view's features what its neighbour sees along the epipolar lines."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from epipolar_jax.geometry import cameras, epipolar
from epipolar_jax.models import attention, layers

EMBEDDINGS = ("theta", "phi", "g", "z")
OTHER_GRADS = ("match", "value")
SAMPLINGS = ("exact", "legacy_align", "correct_noalign")


class EpipolarFusion(nn.Module):
  """The epipolar transformer layer, for all views of a frame.

  Attributes:
    num_samples: k, samples on a line.
    options: how samples are compared and weighted.
    prior_views: v of the learned prior's table [v, v, p, k], when the options ask for one.
    embeddings: which 1×1 convolutions exist, of "theta" (query), "phi" (key), "g" (value), "z"
      (output, followed by batch normalisation whose scale and bias start at 0).
    bottleneck: divides the channels inside theta, phi and g.
    z_residual: adds the attention's output to the normalised z.
    other_grad: through which branches of the source view gradient flows: "match", "value".
    sampling: "exact", or how the reference misplaces samples in parity: "legacy_align"
      (USE_CORRECT_NORMALIZE False with align_corners True), "correct_noalign" (True, False).
    algorithm: of `attention.epipolar_attention`.
    dtype: of the 1×1 convolutions and the matching; geometry and weights are float32.
    bn_momentum: torch's sense, 0.1.
    axis_name: pmap axis of synchronised batch normalisation.

  Raises:
    ValueError: unknown embedding, branch or sampling; z_residual when z changes the width.
  """

  num_samples: int = 64
  options: attention.Options = attention.DEFAULT_OPTIONS
  prior_views: int = 4
  embeddings: tuple[str, ...] = ("z",)
  bottleneck: int = 1
  z_residual: bool = True
  other_grad: tuple[str, ...] = OTHER_GRADS
  sampling: str = "exact"
  algorithm: str = "auto"
  dtype: Any = jnp.float32
  bn_momentum: float = 0.1
  axis_name: str | None = None

  @nn.compact
  def __call__(
    self,
    reference: jax.Array,
    source: jax.Array,
    samples: jax.Array,
    valid: jax.Array,
    pair: jax.Array | None = None,
    *,
    train: bool,
  ) -> tuple[jax.Array, attention.Attended]:
    """What each reference view gains from its source view.

    Args:
      reference: [n, h, w, c], features of the reference views.
      source: [n, h, w, c], features of the source view of each.
      samples: [n, p, k, 2], (u, v) in source feature pixels.
      valid: [n, p], False where the line misses the source map.
      pair: [n, 2], view indices (reference, source), for a learned prior only.
      train: normalise by batch statistics.

    Returns:
      fused: [n, h, w, c], to be added to the reference features.
      attended: [n, ...], weights and best samples.
    """
    self._check()
    c = reference.shape[-1]
    inner = c // self.bottleneck if set(self.embeddings) & {"theta", "phi", "g"} else c
    match = source if "match" in self.other_grad else jax.lax.stop_gradient(source)
    value = source if "value" in self.other_grad else jax.lax.stop_gradient(source)
    query = self._embed("theta", inner, reference)
    keys = self._embed("phi", inner, match)
    values = self._embed("g", inner, value)
    same = set(self.other_grad) in (set(), set(OTHER_GRADS))
    values = None if same and not set(self.embeddings) & {"phi", "g"} else values
    attended = attention.attend_pairs(
      query,
      keys,
      values,
      misplace(samples, source.shape[1:3], self.sampling),
      valid,
      prior=self._prior(samples.shape, pair),
      options=self.options,
      algorithm=self.algorithm,
    )
    fused = attended.out
    if "z" in self.embeddings:
      z = layers.Conv(c, 1, use_bias=True, dtype=self.dtype, name="z")(fused)
      z = layers.BatchNorm(
        self.bn_momentum,
        axis_name=self.axis_name,
        scale_init=nn.initializers.zeros_init(),
        name="bn",
      )(z, train=train)
      fused = z + fused if self.z_residual else z
    return fused.astype(reference.dtype), attended

  def _check(self):
    if unknown := set(self.embeddings) - set(EMBEDDINGS):
      raise ValueError(f"embeddings {sorted(unknown)} are not among {EMBEDDINGS}")
    if unknown := set(self.other_grad) - set(OTHER_GRADS):
      raise ValueError(f"other_grad {sorted(unknown)} are not among {OTHER_GRADS}")
    if "g" in self.embeddings and self.bottleneck > 1 and self.z_residual:
      raise ValueError("z_residual adds z to the attention's output: it needs bottleneck 1")
    if len({"theta", "phi"} & set(self.embeddings)) == 1 and self.bottleneck > 1:
      raise ValueError("with a bottleneck, theta and phi must be embedded together")

    learned = self.options.prior != "none" or self.options.similarity == "prior"
    if learned and self.prior_views < 2:
      raise ValueError(f"a learned prior needs prior_views >= 2, got {self.prior_views}")

  def _embed(self, name: str, features: int, x: jax.Array) -> jax.Array:
    """1×1 convolution `name` of x: [n, h, w, c], or x itself where there is none."""
    if name not in self.embeddings:
      return x
    return layers.Conv(features, 1, use_bias=True, dtype=self.dtype, name=name)(x)

  def _prior(self, shape: tuple[int, ...], pair: jax.Array | None):
    """Learned table [n, p, k] of each ordered pair of views, None when no option needs it."""
    if self.options.prior == "none" and self.options.similarity != "prior":
      return None
    _, p, k, _ = shape
    k = k // 2 if self.options.pooling else k
    ones = nn.initializers.constant(1.0 / k)
    table = self.param("prior", ones, (self.prior_views, self.prior_views, p, k))
    return table[pair[:, 0], pair[:, 1]]


def misplace(samples: jax.Array, size_hw: tuple[int, int], sampling: str) -> jax.Array:
  """Moves samples [..., 2] to where the reference reads them (parity), or leaves them alone.

  The reference maps pixel u to [-1, 1] and torch maps it back; with the two halves of the
  convention mixed, u becomes (u + 1/2)(w - 1) / w or u w / (w - 1) - 1/2.

  Raises:
    ValueError: unknown sampling.
  """
  h, w = size_hw
  size = jnp.array([w, h], samples.dtype).reshape((1,) * (samples.ndim - 1) + (2,))
  if sampling == "exact":
    return samples
  if sampling == "legacy_align":
    return (samples + 0.5) * (size - 1) / size
  if sampling == "correct_noalign":
    return samples * size / (size - 1) - 0.5
  raise ValueError(f"sampling {sampling!r} is not one of {SAMPLINGS}")


def nearest_views(rotation: jax.Array, translation: jax.Array, *, count: int) -> jax.Array:
  """Indices [v, count] of the views with the nearest camera centres, nearest first.

  Args:
    rotation: [v, 3, 3], R_cw.
    translation: [v, 3], t_cw in mm.
    count: 1 .. v - 1; a view is never its own neighbour.
  """
  centers = jax.vmap(cameras.center)(rotation, translation)
  distance = jnp.sum(jnp.square(centers[:, None] - centers[None]), axis=-1)
  distance = jnp.where(jnp.eye(centers.shape[0], dtype=bool), jnp.inf, distance)
  return jnp.argsort(distance, axis=-1)[:, :count]


def sample_lines(
  intrinsics: jax.Array,
  rotation: jax.Array,
  translation: jax.Array,
  source: jax.Array,
  *,
  size_hw: tuple[int, int],
  stride: int,
  num_samples: int,
) -> tuple[jax.Array, jax.Array]:
  """Samples the epipolar lines of every feature pixel of every view of one frame.

  Args:
    intrinsics: [v, 3, 3], K in pixels of the image the network saw.
    rotation: [v, 3, 3], R_cw.
    translation: [v, 3], t_cw in mm.
    source: [v, m], indices of the views that each view looks at.
    size_hw: (height, width) of the feature maps.
    stride: image pixels per feature pixel.
    num_samples: k.

  Returns:
    samples: [v, m, p, k, 2], (u, v) in feature pixels of the source view, p in row order.
    valid: [v, m, p], False when the line misses the map or is undefined.
  """
  h, w = size_hw
  v, u = jnp.meshgrid(
    jnp.arange(h, dtype=jnp.float32), jnp.arange(w, dtype=jnp.float32), indexing="ij"
  )
  points = jnp.stack([u, v], axis=-1).reshape(h * w, 2)
  mapped = jax.vmap(lambda k: epipolar.to_map(k, stride=stride))(intrinsics)

  def to_sources(own, others):
    camera = (mapped[own], rotation[own], translation[own])
    other = (mapped[others], rotation[others], translation[others])
    return jax.vmap(lambda *second: epipolar.fundamental(*camera, *second))(*other)

  fundamental = jax.vmap(to_sources)(jnp.arange(len(source)), source)

  def line(point, matrix):
    return epipolar.sample_line(point, matrix, size_wh=(w, h), num_samples=num_samples)

  lines = jax.vmap(line, (0, None))
  return jax.vmap(jax.vmap(lines, (None, 0)), (None, 0))(points, fundamental)
