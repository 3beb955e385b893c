"""EpipolarPose: PoseResNet on every view, fused along epipolar lines; all views in one call."""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.models import attention, pose_resnet
from epipolar_jax.models.fusion import features as feature_fusion
from epipolar_jax.models.fusion import heatmaps as heatmap_fusions
from epipolar_jax.models.fusion import lines as epipolar_lines

STRIDE = 4


class _Lines(NamedTuple):
  """Where every pixel of every view looks: `source` [b, v, m] are the views it looks at."""

  source: jax.Array
  fundamental: jax.Array  # [b, v, m, 3, 3]
  samples: jax.Array  # [b, v, m, p, k, 2]
  valid: jax.Array  # [b, v, m, p]


class EpipolarPose(nn.Module):
  """Heatmaps of all views of a batch of frames.

  Every view is a reference view and looks at one or more source views: the view with the nearest
  camera centre, as in the paper, unless the caller says which.

  Attributes:
    backbone: of every view, as reference view.
    early_fusion: after the trunk's first stage, or None.
    late_fusion: before the head (the paper), or None.
    heatmap_fusion: after the head, or None. No fusion at all: the single-view baseline.
    source_backbone: of every view as it is looked at, when that has a network of its own (the
      original's SHARE_WEIGHTS False); None: `backbone`.
    late_source: parity: the early fusion looks at unfused late features of the other view, as in
      the original (whose late fusion of "both" uses them too; costs a second pass, and needs equal
      channels: ResNet-50 and up at width 1), instead of early features like its own.
    lines: of `fusion.lines.sample_lines`.
    consistency: also returns what the consistency losses need, of the last fusion.
  """

  backbone: pose_resnet.PoseResNet
  early_fusion: feature_fusion.EpipolarFusion | None = None
  late_fusion: feature_fusion.EpipolarFusion | None = None
  heatmap_fusion: heatmap_fusions.JointFusion | None = None
  source_backbone: pose_resnet.PoseResNet | None = None
  late_source: bool = False
  lines: str = "exact"
  consistency: bool = False

  def __call__(
    self,
    images: jax.Array,
    cameras: Cameras,
    source: jax.Array | None = None,
    present: jax.Array | None = None,
    *,
    train: bool,
  ) -> dict[str, jax.Array]:
    """Runs the network.

    Args:
      images: [b, v, h, w, 3], normalised; h and w multiples of 32.
      cameras: [b, v], of these images, t_cw in mm.
      source: [b, v, m], the views each view looks at (`lines.choose_sources`); what it finds in
        them is averaged. None: the nearest.
      present: [b, v], False for views that only fill a place: nothing is taken from them. None: all
        are there.
      train: normalise by batch statistics.

    Returns:
      heatmaps: [b, v, h/4, w/4, j] float32; with fusion also `source` [b, v, m], and with fused
      features match [b, v, m, h/4, w/4, 2], the best match of each pixel in each source view, in
      feature pixels of that view. With `consistency` also the fields of
      `fusion.features.Consistency`, [b, v, m, p, ...]. With `mutable=["intermediates"]` the last
      fusion of features leaves `weights`, [b, v, m, p, k], of the samples on each pixel's line.

    Raises:
      ValueError: one view only, with fusion; an image size that is no multiple of 32; an option
        that is unknown or does not go with the others.
    """
    b, v, h, w, _ = images.shape
    if h % 32 or w % 32:
      raise ValueError(f"image size {h}×{w} is not a multiple of 32")
    last = self.late_fusion or self.early_fusion or self.heatmap_fusion
    if last is not None and v < 2:
      raise ValueError(f"epipolar fusion needs at least 2 views, got {v}")
    pixels = images.reshape(b * v, h, w, 3)
    early = self.backbone.early(pixels, train=train)
    if last is None:
      return {"heatmaps": self._heatmaps(self.backbone.late(early, train=train), b)}
    cameras = jax.tree.map(lambda x: x.astype(jnp.float32), cameras)
    if source is None:
      source = _nearest(cameras, present)
    out = {"source": source}
    if last is self.heatmap_fusion:
      maps = self._heatmaps(self.backbone.late(early, train=train), b)
      # Layers need not know of absent views where all are present.
      absent = {} if present is None else {"present": present}
      return out | {"heatmaps": last(maps, cameras.scale(1 / STRIDE), source, **absent)}
    lines = self._lines(cameras, source, (h // STRIDE, w // STRIDE), last.num_samples)
    fuse = functools.partial(self._fuse, pixels=pixels, lines=lines, present=present, train=train)
    early_seen, late_seen = self._unfused(pixels, early, train)
    if self.early_fusion is not None:
      early, seen = fuse(self.early_fusion, early, early_seen)
    features = self.backbone.late(early, train=train)
    if self.late_fusion is not None:
      features, seen = fuse(self.late_fusion, features, late_seen)
    attended, consistency = seen
    best = attention.match(lines.samples, attended.best)
    out["match"] = best.reshape(*source.shape, h // STRIDE, w // STRIDE, 2)
    out["heatmaps"] = self._heatmaps(features, b)
    self.sow("intermediates", "weights", attended.weights, reduce_fn=lambda _, last: last)
    return out if consistency is None else out | consistency._asdict()

  def heatmaps_of(
    self, features: jax.Array, cameras: Cameras, source: jax.Array, present: jax.Array
  ) -> jax.Array:
    """What a call gives, of features before the head that each view has by itself.

    For networks whose views meet before the head alone, and whose attention compares features.

    Args:
      features: [b, v, h, w, c], of `backbone.late`.
      cameras, source, present: as of a call.

    Returns:
      [b, v, h, w, j] float32.
    """
    b, v, h, w, c = features.shape
    cameras = jax.tree.map(lambda x: x.astype(jnp.float32), cameras)
    lines = self._lines(cameras, source, (h, w), self.late_fusion.num_samples)
    fused, _ = self._fuse(
      self.late_fusion,
      features.reshape(b * v, h, w, c),
      None,
      pixels=None,
      lines=lines,
      present=present,
      train=False,
    )
    return self._heatmaps(fused, b)

  def _heatmaps(self, features: jax.Array, batch: int) -> jax.Array:
    """Heatmaps [b, v, h, w, j] of features [b·v, h, w, c]."""
    maps = self.backbone.heatmaps(features)
    return maps.reshape(batch, -1, *maps.shape[1:])

  def _unfused(self, pixels, early, train):
    """Inputs of the two fusions from a source view, if not the reference view's feature."""
    network = self.source_backbone
    if network is None:
      if not self.late_source or self.early_fusion is None:
        return None, None
      late = self.backbone.late(early, train=train)
      return late, late
    early = network.early(pixels, train=train)
    late = None
    if self.late_fusion is not None or self.late_source or self.is_initializing():
      late = network.late(early, train=train)
    if self.is_initializing():
      # Nobody reads these heatmaps; the head is there so that the original's two networks and ours
      # have the same tensors.
      network.heatmaps(late)
    return late if self.late_source else early, late

  def _lines(self, cameras, source, size_hw, num_samples) -> _Lines:
    find = functools.partial(epipolar_lines.fundamentals, stride=STRIDE)
    fundamental = jax.vmap(find)(cameras, source)
    sample = functools.partial(
      epipolar_lines.sample_lines, size_hw=size_hw, num_samples=num_samples, lines=self.lines
    )
    return _Lines(source, fundamental, *jax.vmap(jax.vmap(jax.vmap(sample)))(fundamental))

  def _fuse(self, layer, features, other, *, pixels, lines, present, train):
    """Adds to features [b·v, h, w, c] the mean of what each view finds in its source views.

    The sources' features are taken from `other` if given. Also returns what the layer attended to
    and its consistency, with leading axes [b, v, m].
    """
    b, v, m = lines.source.shape
    index = (v * jnp.arange(b)[:, None, None] + lines.source).reshape(-1)

    def split(x):
      return x.reshape(b, v, m, *x.shape[1:])

    def join(x):
      return x.reshape(b * v * m, *x.shape[3:])

    own = jnp.broadcast_to(jnp.arange(v)[None, :, None], lines.source.shape)
    extra = feature_fusion.Extra(pair=join(jnp.stack([own, lines.source], axis=-1)))
    if layer.compare == "rgb":
      colors = nn.avg_pool(pixels, (STRIDE, STRIDE), (STRIDE, STRIDE))
      extra = extra._replace(colors=(jnp.repeat(colors, m, axis=0), colors[index]))
    if self.consistency:
      extra = extra._replace(fundamental=join(lines.fundamental))
    fused, attended, consistency = layer(
      jnp.repeat(features, m, axis=0),
      (features if other is None else other)[index],
      join(lines.samples),
      join(lines.valid),
      extra,
      train=train,
    )
    fused = fused.reshape(b * v, m, *fused.shape[1:])
    if present is None:
      fused = jnp.mean(fused, axis=1)
    else:
      there = jnp.take_along_axis(present[:, None], lines.source, axis=2).reshape(b * v, m)
      share = there / jnp.maximum(jnp.sum(there, axis=1, keepdims=True), 1)
      fused = jnp.sum(fused * share[:, :, None, None, None].astype(fused.dtype), axis=1)
    return features + fused, jax.tree.map(split, (attended, consistency))


def _nearest(cameras: Cameras, present: jax.Array | None) -> jax.Array:
  """The view [b, v, 1] next to each view."""
  choose = functools.partial(epipolar_lines.choose_sources, rule="nearest")
  if present is None:
    return jax.vmap(choose)(cameras)
  return jax.vmap(lambda frame, there: choose(frame, present=there))(cameras, present)
