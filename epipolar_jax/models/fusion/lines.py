"""Which views a view looks at, and where: source views, epipolar lines, samples on them."""

import jax
import jax.numpy as jnp

from epipolar_jax.geometry import epipolar
from epipolar_jax.geometry.cameras import Cameras

SAMPLINGS = ("exact", "legacy_align", "correct_noalign")
SOURCES = ("nearest", "two_nearest", "any", "all")
LINES = ("exact", "original")
# A squared distance, mm², that no two cameras have.
_ABSENT = 1e30


def choose_sources(
  cameras: Cameras,
  *,
  rule: str,
  key: jax.Array | None = None,
  present: jax.Array | None = None,
) -> jax.Array:
  """Indices [v, m] of the views that each view of a frame looks at, nearest camera first.

  Args:
    cameras: [v].
    rule: "nearest" (the original's TOPK 1), "two_nearest" (TOPK 2) or "any" (TOPK 3): one view, the
      last two drawn at random; "all": all others, m = v - 1. A view is never its own source.
    key: of the draw; None, as in evaluation: the nearest view instead.
    present: [v], False for views that only fill a place: they come last, and in draws never if
      enough others are there. None: all are.

  Raises:
    ValueError: unknown rule.
  """
  if rule not in SOURCES:
    raise ValueError(f"model.fusion.sources {rule!r} is not one of {SOURCES}")
  centres = cameras.centre()
  distance = jnp.sum(jnp.square(centres[:, None] - centres[None]), axis=-1)
  if present is not None:
    distance = jnp.where(present[None], distance, _ABSENT)
  distance = jnp.where(jnp.eye(centres.shape[0], dtype=bool), jnp.inf, distance)
  ranked = jnp.argsort(distance, axis=-1)[:, :-1]
  if rule == "all":
    return ranked
  if rule == "nearest" or key is None:
    return ranked[:, :1]
  choices = ranked[:, :2] if rule == "two_nearest" else ranked
  most = choices.shape[1]
  if present is not None:
    # The others that are there, whoever looks.
    others = jnp.sum(present) - present.astype(jnp.int32)
    most = jnp.clip(others, 1, most)[:, None]
  drawn = jax.random.randint(key, (len(choices), 1), 0, most)
  return jnp.take_along_axis(choices, drawn, axis=1)


def fundamentals(cameras: Cameras, source: jax.Array, *, stride: int) -> jax.Array:
  """Fundamental matrices [v, m, 3, 3] between each view of a frame and its source views.

  Args:
    cameras: [v], of the images the network was given.
    source: [v, m], indices of the views that each view attends to.
    stride: image pixels per feature pixel; the matrices are for feature pixels.
  """
  mapped = jax.tree.map(jnp.asarray, cameras).scale(1 / stride)

  def to_sources(own, others):
    return jax.vmap(epipolar.fundamental, (None, 0))(mapped[own], mapped[others])

  return jax.vmap(to_sources)(jnp.arange(len(source)), source)


def sample_lines(
  fundamental: jax.Array, *, size_hw: tuple[int, int], num_samples: int, lines: str = "exact"
) -> tuple[jax.Array, jax.Array]:
  """Samples the epipolar line of every feature pixel of one view in another.

  Args:
    fundamental: [3, 3], of feature pixels.
    size_hw: (height, width) of the feature maps.
    num_samples: k.
    lines: "exact", or "original" (parity): `epipolar.sample_line_original`.

  Returns:
    samples: [p, k, 2], (u, v) in feature pixels of the source view, p in row order.
    valid: [p], False when the line misses the map or is undefined.

  Raises:
    ValueError: unknown lines.
  """
  if lines not in LINES:
    raise ValueError(f"lines {lines!r} is not one of {LINES}")
  sample = epipolar.sample_line if lines == "exact" else epipolar.sample_line_original
  h, w = size_hw
  v, u = jnp.meshgrid(
    jnp.arange(h, dtype=jnp.float32), jnp.arange(w, dtype=jnp.float32), indexing="ij"
  )
  points = jnp.stack([u, v], axis=-1).reshape(h * w, 2)
  return jax.vmap(
    lambda point: sample(point, fundamental, size_wh=(w, h), num_samples=num_samples)
  )(points)


def misplace(samples: jax.Array, size_hw: tuple[int, int], sampling: str) -> jax.Array:
  """Moves samples [..., 2] to where the original reads them (parity), or leaves them alone.

  The original maps pixel u to [-1, 1] and torch maps it back; with the two halves of the
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
