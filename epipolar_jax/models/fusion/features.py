"""EpipolarFusion, the paper's layer: adds to features what another view has along the lines."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from epipolar_jax.geometry import epipolar, sampling
from epipolar_jax.models import attention, layers
from epipolar_jax.models.attention import weighing
from epipolar_jax.models.fusion import lines

EMBEDDINGS = ("theta", "phi", "g", "z")
OTHER_GRADS = ("match", "value")
COMPARISONS = ("features", "rgb")


class Extra(NamedTuple):
  """What some options need besides features, for n pairs of views.

  Attributes:
    pair: [n, 2], view indices (reference, source), for a learned prior.
    colors: reference and source images at the features' resolution, each [n, h, w, 3], when
      colours are compared.
    fundamental: [n, 3, 3] from reference to source feature pixels, to look back (`Consistency`).
  """

  pair: jax.Array | None = None
  colors: tuple[jax.Array, jax.Array] | None = None
  fundamental: jax.Array | None = None


_NOTHING = Extra()


class Consistency(NamedTuple):
  """Cycle consistency: distance of the match of each reference pixel's match from the pixel.

  Attributes:
    returned: [n, p, 2], (u, v) in reference feature pixels, where the expected match of each pixel
      expects its own match: the pixel itself, ideally.
    similarity: [n, p], cosine between a pixel's query and the weighted mean of its line's keys.
    valid: [n, p], False where one of the two lines misses its map.
  """

  returned: jax.Array
  similarity: jax.Array
  valid: jax.Array


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
    compare: what the attention compares: "features", or the "rgb" of the images; the features
      are averaged either way.
    sampling: "exact", or how the original misplaces samples: "legacy_align"
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
  compare: str = "features"
  sampling: str = "exact"
  algorithm: str = "auto"
  dtype: Any = jnp.float32
  bn_momentum: float = 0.1
  axis_name: str | None = None

  # Features are compared, so every pixel has a match in the view it looks at.
  matches = True
  # Heatmaps are what the head makes of the fused features: any loss trains them.
  logits = False

  @classmethod
  def of_config(cls, group: Any, parity: Any, **network: Any) -> "EpipolarFusion":
    """The layer of the `model.fusion` and `parity` groups; `network` as of `fusion.build`."""
    options = attention.Options(
      attention=group.attention,
      similarity=group.similarity,
      softmax=group.softmax,
      scale=group.scale,
      pooling=group.pooling,
      prior=group.prior,
      zero_means_outside=parity.zero_means_outside,
    )
    return cls(
      num_samples=group.num_samples,
      options=options,
      prior_views=group.prior_views,
      embeddings=tuple(group.embeddings),
      bottleneck=group.bottleneck,
      z_residual=group.z_residual,
      other_grad=tuple(group.other_grad),
      compare=group.compare,
      sampling=sampling_of(parity),
      algorithm=group.algorithm,
      dtype=network["dtype"],
      bn_momentum=network["bn_momentum"],
      axis_name=network["axis_name"],
    )

  @nn.compact
  def __call__(
    self,
    reference: jax.Array,
    source: jax.Array,
    samples: jax.Array,
    valid: jax.Array,
    extra: Extra = _NOTHING,
    *,
    train: bool,
  ) -> tuple[jax.Array, attention.Attended, Consistency | None]:
    """What each reference view gains from its source view.

    Args:
      reference: [n, h, w, c], features of the reference views.
      source: [n, h, w, c], features of the source view of each.
      samples: [n, p, k, 2], (u, v) in source feature pixels.
      valid: [n, p], False where the line misses the source map.
      extra: what the options need.
      train: normalise by batch statistics.

    Returns:
      fused: [n, h, w, c], to be added to the reference features.
      attended: [n, ...], weights and best samples.
      consistency: [n, ...], when `extra.fundamental` is given.
    """
    self._check()
    c = reference.shape[-1]
    inner = c // self.bottleneck if set(self.embeddings) & {"theta", "phi", "g"} else c
    value = source if "value" in self.other_grad else jax.lax.stop_gradient(source)
    values = self._embed("g", inner, value)
    if self.compare == "rgb":
      query, keys = extra.colors
    else:
      match = source if "match" in self.other_grad else jax.lax.stop_gradient(source)
      query = self._embed("theta", inner, reference)
      keys = self._embed("phi", inner, match)
      same = set(self.other_grad) in (set(), set(OTHER_GRADS))
      values = None if same and not set(self.embeddings) & {"phi", "g"} else values
    read = lines.misplace(samples, source.shape[1:3], self.sampling)
    attended = attention.attend_pairs(
      query,
      keys,
      values,
      read,
      valid,
      prior=self._prior(samples.shape, extra.pair),
      options=self.options,
      algorithm=self.algorithm,
    )
    consistency = None
    if extra.fundamental is not None:
      consistency = self._look_back(query, keys, read, valid, attended.weights, extra.fundamental)
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
    return fused.astype(reference.dtype), attended, consistency

  def _look_back(self, query, keys, samples, valid, weights, fundamental) -> Consistency:
    """Sends each pixel's expected match back along the epipolar line it has in the reference."""
    options = self.options
    if (options.attention, options.similarity == "prior", options.prior) != ("avg", False, "none"):
      raise ValueError("an expected match needs attention 'avg' without a prior")
    if options.pooling or not options.softmax:
      raise ValueError("an expected match needs weights that sum to 1: softmax, no pooling")
    h, w = query.shape[1:3]

    def look_back(pair):
      query, keys, samples, valid, weights, fundamental = pair
      expected = jnp.sum(weights[..., None] * samples, axis=-2)
      back, hit = jax.vmap(
        lambda point: epipolar.sample_line(
          point, fundamental.T, size_wh=(w, h), num_samples=self.num_samples
        )
      )(expected)
      valid = valid & hit
      seen = sampling.bilinear(keys, expected).reshape(h, w, -1)
      found = attention.epipolar_attention(
        seen,
        query,
        None,
        lines.misplace(back, (h, w), self.sampling),
        valid,
        options=self.options,
        algorithm=self.algorithm,
      )
      returned = jnp.sum(found.weights[..., None] * back, axis=-2)
      matched = attention.warp(keys, samples, weights)[:, None]
      similarity = jax.vmap(weighing.cosine)(query.reshape(h * w, -1), matched)[:, 0]
      return returned, similarity, valid & jnp.any(weights > 0, axis=-1)

    returned = jax.lax.map(look_back, (query, keys, samples, valid, weights, fundamental))
    return Consistency(*returned)

  def _check(self):
    if unknown := set(self.embeddings) - set(EMBEDDINGS):
      raise ValueError(f"embeddings {sorted(unknown)} are not among {EMBEDDINGS}")
    if unknown := set(self.other_grad) - set(OTHER_GRADS):
      raise ValueError(f"other_grad {sorted(unknown)} are not among {OTHER_GRADS}")
    if self.compare not in COMPARISONS:
      raise ValueError(f"compare {self.compare!r} is not one of {COMPARISONS}")
    if self.compare == "rgb" and {"theta", "phi"} & set(self.embeddings):
      raise ValueError(
        "compare 'rgb' looks at colours: theta and phi, which embed features, must go"
      )
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


# What only fusion of features reads, and its default.
_OPTIONS = {
  "attention": "avg",
  "similarity": "dot",
  "softmax": True,
  "scale": 0.125,
  "pooling": False,
  "prior": "none",
  "prior_views": 0,
  "embeddings": ("z",),
  "bottleneck": 1,
  "z_residual": True,
  "other_grad": ("match", "value"),
  "compare": "features",
}
_PARITY = ("late_source", "legacy_normalize", "zero_means_outside", "lost_lines")
# (parity.legacy_normalize, parity.edge_aligned): where the original's sampler reads.
_SAMPLINGS = {
  (False, False): "exact",
  (True, False): "legacy_align",
  (False, True): "correct_noalign",
  (True, True): "exact",
}


def refuse_options(group: Any, parity: Any) -> None:
  """Raises ValueError for an option that a layer which compares no features would ignore."""
  given = {f"model.fusion.{name}": (group[name], x) for name, x in _OPTIONS.items()}
  given |= {f"parity.{name}": (parity[name], False) for name in _PARITY}
  for field, (value, default) in given.items():
    if value != default:
      raise ValueError(
        f"{field} is {value!r}, but model.fusion.merge {group.merge!r} compares no features and "
        f"would ignore it: leave it at {default!r}, or choose merge late, early or both"
      )


def sampling_of(parity: Any) -> str:
  """Where the layer reads (`lines.misplace`), from two switches of the `parity` group."""
  return _SAMPLINGS[parity.legacy_normalize, parity.edge_aligned]
