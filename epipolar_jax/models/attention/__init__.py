"""Epipolar attention: every reference pixel attends to samples on its line in another view.

`formula` is the paper's equation for one pixel. All algorithms are exact and give its numbers,
forward and backward, for all pixels of a view:

- `gather` reads k bilinear samples of every pixel at once (p·k·c values: 268 MB for the paper's
  64×64 map, and five times that for gradients); what the others are tested against.
- `blocks` does the same for a few pixels at a time, in the cache; its backward pass compares pixels
  of neighbouring lines together (`wedges`). Best on CPUs, measured (docs/benchmarks.md).
- `dense` compares every pixel with every pixel and interpolates the *similarities*, with matrix
  products only: no gather or scatter, which TPUs are slow at. Taken on TPUs and GPUs.
- `kernel` reads the samples' pixels in Pallas kernels for NVIDIA GPUs. Nothing takes it by itself,
  since neither it nor `dense` has been measured on a GPU.

All but `gather` hold no array of p·k·c values. `dense` and `kernel` need attention that is linear
in the samples: `avg`, no cosine, no pooling.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from epipolar_jax.models.attention import dense, gather, kernel, wedges, weighing
from epipolar_jax.models.attention.weighing import DEFAULT_OPTIONS, Options

ALGORITHMS = ("auto", "gather", "blocks", "dense", "kernel")
# Those that interpolate similarities, not features.
_LINEAR = ("dense", "kernel")


class Attended(NamedTuple):
  """Output, weights and best sample of the attention.

  Attributes:
    out: [h, w, d], weighted sum of the samples' values; 0 where no sample is valid.
    weights: [p, k], of the samples (k / 2 with pooling); one-hot for `max`.
    best: [p] int, index of the sample with the largest weight (`match` looks it up).
  """

  out: jax.Array
  weights: jax.Array
  best: jax.Array


def attend_pairs(
  query: jax.Array,
  key: jax.Array,
  value: jax.Array | None,
  samples: jax.Array,
  valid: jax.Array,
  *,
  prior: jax.Array | None = None,
  options: Options = DEFAULT_OPTIONS,
  algorithm: str = "auto",
) -> Attended:
  """`epipolar_attention` of n pairs of views: every argument and result with a leading axis n.

  One pair after the other on CPUs, where a pair at a time stays in the cache (5 times faster,
  measured), all at once elsewhere.
  """

  def attend(pair, platform):
    query, key, value, samples, valid, prior = pair
    chosen = _choose(algorithm, options, platform)
    return epipolar_attention(
      query, key, value, samples, valid, prior=prior, options=options, algorithm=chosen
    )

  return jax.lax.platform_dependent(
    (query, key, value, samples, valid, prior),
    cpu=lambda pairs: jax.lax.map(functools.partial(attend, platform="cpu"), pairs),
    default=jax.vmap(functools.partial(attend, platform="other")),
  )


def epipolar_attention(
  query: jax.Array,
  key: jax.Array,
  value: jax.Array | None,
  samples: jax.Array,
  valid: jax.Array,
  *,
  prior: jax.Array | None = None,
  options: Options = DEFAULT_OPTIONS,
  algorithm: str = "auto",
) -> Attended:
  """Attends from each pixel of one reference view to its epipolar line in one source view.

  Args:
    query: [h, w, c], features of the reference view.
    key: [hs, ws, c], features of the source view that are compared.
    value: [hs, ws, d], features of the source view that are averaged; None: the keys.
    samples: [p, k, 2], (u, v) in source pixels, p = h·w in row order; not differentiated.
    valid: [p], False where the line misses the source map.
    prior: [p, k], table of the "prior" options.
    options: how to compare and weigh.
    algorithm: "gather", "blocks", "dense", "kernel"; or "auto": "blocks" on CPUs and where the
      attention is not linear, else "dense". What counts is the platform that the program is
      lowered for, here or for another machine.

  Returns:
    `Attended`; out is float32.

  Raises:
    ValueError: unknown option or algorithm, or one that the algorithm cannot do.

  References:
    He et al., Epipolar Transformers, CVPR 2020, section 3.
  """
  options.check()
  if algorithm not in ALGORITHMS:
    raise ValueError(f"algorithm {algorithm!r} is not one of {ALGORITHMS}")
  if options.similarity == "prior" or options.prior != "none":
    if prior is None:
      raise ValueError(f"similarity {options.similarity!r}, prior {options.prior!r} need a table")
  else:
    prior = None
  linear = _linear(options)
  if algorithm in _LINEAR and not linear:
    raise ValueError(f"algorithm {algorithm!r} does attention 'avg', no 'cos', no pooling only")
  if algorithm == "kernel" and jax.default_backend() not in ("cpu", "gpu"):
    raise ValueError(f"algorithm 'kernel' is for GPUs, not {jax.default_backend()}: take 'dense'")
  query, key, value, samples, valid, prior = jax.tree.map(
    jnp.asarray, (query, key, value, samples, valid, prior)
  )
  samples = jax.lax.stop_gradient(samples)
  attend = {
    "gather": gather.attend,
    "blocks": wedges.attend if linear else gather.attend_in_blocks,
    "dense": dense.attend,
    "kernel": kernel.attend,
  }

  def on(platform):
    return functools.partial(attend[_choose(algorithm, options, platform)], options=options)

  h, w, c = query.shape
  arrays = (query.reshape(h * w, c), key, value, samples, valid, prior)
  if algorithm == "auto":
    found = jax.lax.platform_dependent(*arrays, cpu=on("cpu"), default=on("other"))
  else:
    found = on("any")(*arrays)
  out, weights, best = found
  return Attended(out.reshape(h, w, -1), weights, best)


def _linear(options: Options) -> bool:
  """Whether similarities are linear in the samples, so that they may be interpolated."""
  return options.attention == "avg" and options.similarity != "cos" and not options.pooling


def _choose(algorithm: str, options: Options, platform: str) -> str:
  """The algorithm by name; "auto" is the best of a platform, "cpu" or another."""
  if algorithm != "auto":
    return algorithm
  return "dense" if _linear(options) and platform != "cpu" else "blocks"


def warp(value: jax.Array, samples: jax.Array, weights: jax.Array) -> jax.Array:
  """Weighted sums of a map along lines, with weights from elsewhere: nothing is compared.

  Moves heatmaps or features to another view by the weights of an attention.

  Args:
    value: [hs, ws, d], map of the source view; zero outside.
    samples: [p, k, 2], (u, v) in source pixels.
    weights: [p, k], such as `Attended.weights` (without pooling).

  Returns:
    [p, d] float32.
  """
  value = value.astype(jnp.float32)

  def at_pixel(pixel):
    samples, weights = pixel
    return weights @ weighing.sample(value, samples)

  return jax.lax.map(at_pixel, (samples, weights), batch_size=gather.BLOCK)


def match(samples: jax.Array, best: jax.Array) -> jax.Array:
  """(u, v) [..., 2] of the best of the samples [..., k, 2], in source pixels."""
  # Not a gather, of which TPUs would do one row after the other.
  chosen = jax.nn.one_hot(best, samples.shape[-2], dtype=bool)
  return jnp.sum(jnp.where(chosen[..., None], samples, 0.0), axis=-2)
