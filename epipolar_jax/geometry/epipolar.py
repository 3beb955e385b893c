"""Two-view geometry: fundamental matrices, and samples along the epipolar lines of a map."""

import jax
import jax.numpy as jnp

from epipolar_jax.geometry import linalg
from epipolar_jax.geometry.cameras import Cameras

# A line may run along the border of the map: rounding must not cut it. The clip is done this far
# outside, and the samples are then brought back on the map.
_SLACK_PX = 1e-4


def fundamental(reference: Cameras, source: Cameras) -> jax.Array:
  """The fundamental matrix from one camera to another: x_sᵀ F x_r = 0, l_s = F x_r.

  Built from the relative pose, K_s⁻ᵀ [t]× R K_r⁻¹, so no pseudo-inverse of a projection in px and
  mm. Use the cameras of the pixels the lines are wanted in (`Cameras.scale`).

  Args:
    reference: one camera, t_cw in mm.
    source: one camera, likewise.

  Returns:
    [3, 3], unit Frobenius norm; zeros when the centres coincide (to float precision) and there are
    no epipolar lines, or when a K is singular.

  References:
    Hartley and Zisserman, Multiple View Geometry, 2nd ed., section 9.6.
  """
  rotation = linalg.matmul(source.rotation, reference.rotation.T)
  baseline = source.translation - linalg.matmul(rotation, reference.translation)
  length = linalg.safe_norm(baseline)
  reach = linalg.safe_norm(reference.translation) + linalg.safe_norm(source.translation)
  apart = length > 16.0 * jnp.finfo(length.dtype).eps * reach
  direction = linalg.safe_divide(baseline, length)
  essential = linalg.matmul(linalg.cross_matrix(direction), rotation)
  k_r, k_s = _inverse(reference.intrinsics), _inverse(source.intrinsics)
  f = linalg.matmul(k_s.T, linalg.matmul(essential, k_r))
  f = linalg.safe_divide(f, linalg.safe_norm(f.reshape(9)))
  return jnp.where(apart, f, 0.0)


def epipole(camera: Cameras, centre: jax.Array) -> jax.Array:
  """The image of another camera's centre, homogeneous; parallel cameras have it at infinity.

  Args:
    camera: the one camera in whose image the epipole lies.
    centre: [3], the other camera's centre in the world, mm.

  Returns:
    [3], unit norm; zeros when the centres coincide.
  """
  turned = linalg.matmul(camera.rotation, centre) + camera.translation
  e = linalg.matmul(camera.intrinsics, turned)
  return linalg.safe_divide(e, linalg.safe_norm(e))


def sample_line(
  point: jax.Array, fundamental: jax.Array, *, size_wh: tuple[int, int], num_samples: int
) -> tuple[jax.Array, jax.Array]:
  """Samples points along the epipolar line of one reference pixel.

  The line is clipped to the source map by the slab method: no branches, one shape for every pixel.
  Right for every line: parallel cameras, the epipole inside the map, a line through corners or
  along a border. All lines of a pair run the same way round their epipole. Written for a single
  pixel; vmap it.

  Args:
    point: [2], (u, v) in the reference feature map; integers are pixel centres.
    fundamental: [3, 3], unit norm; reference points to source lines, in feature-map pixels of both
      views.
    size_wh: (width, height) of the source map.
    num_samples: k, both ends of the visible segment included. 64 in the paper.

  Returns:
    samples: [k, 2], (u, v) in source pixels, evenly spaced, within the map; when not valid all at
      (-2, -2), where a map reads zero.
    valid: [], False when the line misses the map or is undefined (point on the epipole, coincident
      centres).

  References:
    He et al., Epipolar Transformers, CVPR 2020, section 3.1; Hartley and Zisserman, Multiple View
    Geometry, 2nd ed., section 9.2.
  """
  far_corner = jnp.array([size_wh[0] - 1, size_wh[1] - 1], dtype=point.dtype)
  normal, offset, defined = _unit_line(point, fundamental)
  direction = jnp.stack([normal[1], -normal[0]])
  middle = 0.5 * far_corner
  foot = middle - normal * (jnp.sum(normal * middle) + offset)
  start, end, hit = _clip_slab(foot, direction, far_corner)
  steps = jnp.linspace(0.0, 1.0, num_samples, dtype=point.dtype)
  along = start + (end - start) * steps
  samples = foot[None, :] + along[:, None] * direction[None, :]
  samples = jnp.clip(samples, 0.0, jnp.broadcast_to(far_corner, samples.shape))
  valid = defined & hit
  return jnp.where(valid, samples, -2.0), valid


def _unit_line(point: jax.Array, fundamental: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Line F x as unit normal [2] and offset [], n·x + offset = 0, and whether it is defined.

  Near the epipole F x is a difference of equal terms; where less than 1e-5 of them is left (about
  1e-3 px from the epipole) float32 leaves no direction.
  """
  ones = jnp.ones_like(point[:1])
  homogeneous = jnp.concatenate([point, ones])
  line = linalg.matmul(fundamental, homogeneous)
  terms = linalg.matmul(jnp.abs(fundamental), jnp.abs(homogeneous))
  length = linalg.safe_norm(line[:2])
  defined = length > 1e-5 * linalg.safe_norm(terms[:2])
  length = jnp.where(defined, length, 1.0)
  return jnp.where(defined, line[:2] / length, 0.0), line[2] / length, defined


def _clip_slab(
  foot: jax.Array, direction: jax.Array, far_corner: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Clips foot + s·direction to [0, far_corner]: s at both ends, and whether any is inside."""
  # A line along an axis never leaves the other slab; its limits are then this far away (in px).
  tilted = jnp.abs(direction) > 1e-9
  slope = jnp.where(tilted, direction, 1.0)
  low = (-_SLACK_PX - foot) / slope
  high = (far_corner + _SLACK_PX - foot) / slope
  inside = (foot >= -_SLACK_PX) & (foot <= far_corner + _SLACK_PX)
  never = jnp.where(inside, 1e9, -1e9)
  start = jnp.max(jnp.where(tilted, jnp.minimum(low, high), -never))
  end = jnp.min(jnp.where(tilted, jnp.maximum(low, high), never))
  hit = start <= end
  return jnp.where(hit, start, 0.0), jnp.where(hit, end, 0.0), hit


def sample_line_original(
  point: jax.Array,
  fundamental: jax.Array,
  *,
  size_wh: tuple[int, int],
  num_samples: int,
  stride: int = 4,
) -> tuple[jax.Array, jax.Array]:
  """The PyTorch code's samples, to agree with it in numbers; `sample_line` is the right one.

  Differences to `sample_line`: the order of the ends (the first two hits among bottom, left,
  right, top, in that order), a line through two opposite corners counts as a miss, and so does
  every line between exactly parallel cameras, whose epipole the original divides by zero; a miss
  lies far outside instead of at (-2, -2). Not reproduced: with 94, 100, 106, 118 or 124 samples the
  original stops with an error (its steps, by torch.range, are one too few for its map).

  Args:
    point, fundamental, size_wh, num_samples: as in `sample_line`.
    stride: image pixels per map pixel; the original's tolerances are in image pixels.

  Returns:
    samples: [k, 2], (u, v) in source map pixels, evenly spaced.
    valid: [], False when the line misses the map.
  """
  normal, offset, defined = _unit_line(point, fundamental)
  # All lines run the same way when their normals do not depend on the point.
  turning, fixed = jnp.abs(fundamental[:2, :2]), jnp.abs(fundamental[:2, 2])
  defined &= jnp.max(turning) * max(size_wh) > 1e-6 * jnp.max(fixed)
  far_corner = jnp.array([size_wh[0] - 1, size_wh[1] - 1], dtype=point.dtype)
  hits, crossed = _border_hits(normal, offset, far_corner, tolerance=0.001 / stride)
  valid = defined & (jnp.sum(crossed) >= 2)
  first = jnp.argmax(crossed)
  second = 3 - jnp.argmax(crossed[::-1])  # two hits at most, so the last is the second
  outside = 10000.0 / stride
  start = jnp.where(valid, hits[first], -outside)
  end = jnp.where(valid, hits[second], -outside)
  steps = jnp.linspace(0.0, 1.0, num_samples, dtype=point.dtype)
  return start[None] + steps[:, None] * (end - start)[None], valid


def _border_hits(
  normal: jax.Array, offset: jax.Array, far_corner: jax.Array, tolerance: float
) -> tuple[jax.Array, jax.Array]:
  """Where a line meets the borders y = 0, x = 0, x = w-1, y = h-1: points [4, 2] and hits [4] bool.

  Each border is half-open, so that a corner belongs to one of its two borders.
  """
  a, b = [jnp.where(n < 0, -1.0, 1.0) * jnp.maximum(jnp.abs(n), 1e-6) for n in normal]
  zero, (right, top) = jnp.zeros_like(offset), far_corner
  x0, x1 = -offset / a, -(b * top + offset) / a
  y0, y1 = -offset / b, -(a * right + offset) / b
  hits = jnp.stack([x0, zero, zero, y0, right, y1, x1, top]).reshape(4, 2)
  crossed = jnp.stack(
    [
      (x0 >= tolerance) & (x0 < right - tolerance),
      (y0 > tolerance) & (y0 <= top - tolerance),
      (y1 >= tolerance) & (y1 < top - tolerance),
      (x1 > tolerance) & (x1 <= right - tolerance),
    ]
  )
  return hits, crossed


def _inverse(intrinsics: jax.Array) -> jax.Array:
  """K⁻¹ of [[A, b], [0, 1]] in closed form; zeros in the upper rows when A is singular."""
  a, b, c, d = intrinsics[0, 0], intrinsics[0, 1], intrinsics[1, 0], intrinsics[1, 1]
  linear = linalg.safe_divide(jnp.array([[d, -b], [-c, a]]), a * d - b * c)
  shift = -linalg.matmul(linear, intrinsics[:2, 2])
  bottom = jnp.array([[0.0, 0.0, 1.0]], dtype=intrinsics.dtype)
  return jnp.concatenate([jnp.concatenate([linear, shift[:, None]], axis=1), bottom])
