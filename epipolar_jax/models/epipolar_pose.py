"""EpipolarPose: PoseResNet on every view, fused along epipolar lines; all views in one call."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from epipolar_jax.geometry import epipolar
from epipolar_jax.models import attention, fusion, joint_fusion, pose_resnet

STRIDE = 4
EARLY_SOURCES = ("early", "late")
SOURCES = ("nearest", "all")


class EpipolarPose(nn.Module):
  """Heatmaps of all views of a batch of frames.

  Every view is a reference view and looks at the view with the nearest camera centre, as in the
  paper, or at all other views.

  Attributes:
    backbone: of every view (shared weights).
    early_fusion: after the trunk's first stage, or None.
    late_fusion: before the head (the paper), or None.
    heatmap_fusion: after the head, or None. No fusion at all: the single-view baseline.
    early_source: what the early fusion sees of the other view: "early" features like its own, or
      the unfused "late" ones as in the reference (whose late fusion of "both" sees them too; costs
      a second pass, and needs equal channels: ResNet-50 and up at width 1).
    sources: "nearest" view only, or "all" others, whose contributions are averaged: then a joint
      that two cameras see is pinned down in a third, where two epipolar lines cross.
  """

  backbone: pose_resnet.PoseResNet
  early_fusion: fusion.EpipolarFusion | None = None
  late_fusion: fusion.EpipolarFusion | None = None
  heatmap_fusion: joint_fusion.JointFusion | None = None
  early_source: str = "early"
  sources: str = "nearest"

  def __call__(
    self,
    images: jax.Array,
    intrinsics: jax.Array,
    rotation: jax.Array,
    translation: jax.Array,
    *,
    train: bool,
  ) -> dict[str, jax.Array]:
    """Runs the network.

    Args:
      images: [b, v, h, w, 3], normalised; h and w multiples of 32.
      intrinsics: [b, v, 3, 3], K in pixels of these images.
      rotation: [b, v, 3, 3], R_cw.
      translation: [b, v, 3], t_cw in mm.
      train: normalise by batch statistics.

    Returns:
      heatmaps: [b, v, h/4, w/4, j] float32; with fusion also `source` [b, v, m], the views each
      view looks at, nearest first, and match [b, v, m, h/4, w/4, 2], the best match of each pixel
      in each of them, in feature pixels of that view. With `mutable=["intermediates"]` the last
      fusion also leaves `weights`, [b, v, m, p, k], of the samples on each pixel's line.

    Raises:
      ValueError: one view only, with fusion; an image size that is no multiple of 32; an unknown
        early_source or sources.
    """
    b, v, h, w, _ = images.shape
    if h % 32 or w % 32:
      raise ValueError(f"image size {h}×{w} is not a multiple of 32")
    if self.early_source not in EARLY_SOURCES:
      raise ValueError(f"early_source {self.early_source!r} is not one of {EARLY_SOURCES}")
    if self.sources not in SOURCES:
      raise ValueError(f"fusion.sources {self.sources!r} is not one of {SOURCES}")
    fuses = self.early_fusion is not None or self.late_fusion is not None
    if v < 2 and (fuses or self.heatmap_fusion is not None):
      raise ValueError(f"epipolar fusion needs at least 2 views, got {v}")
    out = {}
    early = self.backbone.early(images.reshape(b * v, h, w, 3), train=train)
    if fuses:
      lines = self._lines(intrinsics, rotation, translation, (h // STRIDE, w // STRIDE))
      out["source"] = lines[0]
    unfused = None
    if self.early_fusion is not None:
      if self.early_source == "late":
        unfused = self.backbone.late(early, train=train)
      early, match = self._fuse(self.early_fusion, early, unfused, lines, train)
    features = self.backbone.late(early, train=train)
    if self.late_fusion is not None:
      features, match = self._fuse(self.late_fusion, features, unfused, lines, train)
    if fuses:
      out["match"] = match.reshape(b, v, -1, h // STRIDE, w // STRIDE, 2)
    maps = self.backbone.heatmaps(features).reshape(b, v, h // STRIDE, w // STRIDE, -1)
    if self.heatmap_fusion is not None:
      maps, out["source"] = self._fuse_joints(maps, intrinsics, rotation, translation)
    out["heatmaps"] = maps
    return out

  def _fuse_joints(self, maps, intrinsics, rotation, translation):
    """Fused heatmaps [b, v, h, w, j] and the source views [b, v, m]."""
    lines = self._lines(intrinsics, rotation, translation, maps.shape[2:4])
    if self.is_mutable_collection("intermediates"):
      weights = self.heatmap_fusion.weights(maps, *lines)
      self.sow("intermediates", "weights", weights, reduce_fn=lambda _, last: last)
    rescale = jax.vmap(jax.vmap(functools.partial(epipolar.to_map, stride=STRIDE)))
    cameras = rescale(intrinsics.astype(jnp.float32)), rotation, translation
    return self.heatmap_fusion(maps, *cameras, lines[0]), lines[0]

  def _lines(self, intrinsics, rotation, translation, size_hw):
    """Source views [b, v, m], samples [b, v, m, p, k, 2] and their validity [b, v, m, p]."""
    layer = self.late_fusion or self.early_fusion or self.heatmap_fusion
    cameras = [x.astype(jnp.float32) for x in (intrinsics, rotation, translation)]
    count = 1 if self.sources == "nearest" else rotation.shape[1] - 1
    source = jax.vmap(functools.partial(fusion.nearest_views, count=count))(*cameras[1:])

    def sample(*frame):
      return fusion.sample_lines(
        *frame, size_hw=size_hw, stride=STRIDE, num_samples=layer.num_samples
      )

    return source, *jax.vmap(sample)(*cameras, source)

  def _fuse(self, layer, features, other, lines, train):
    """Adds to features [b·v, h, w, c] the mean of what each view finds in its source views.

    The sources' features are taken from `other` if given. Also returns matches [b·v·m, p, 2].
    """
    source, samples, valid = lines
    b, v, m = source.shape
    first = v * jnp.arange(b)[:, None, None]
    seen = (features if other is None else other)[(first + source).reshape(-1)]
    own = jnp.broadcast_to(jnp.arange(v)[None, :, None], source.shape)
    pair = jnp.stack([own.reshape(-1), source.reshape(-1)], axis=-1)
    samples = samples.reshape(b * v * m, *samples.shape[3:])
    valid = valid.reshape(b * v * m, -1)
    reference = jnp.repeat(features, m, axis=0)
    fused, attended = layer(reference, seen, samples, valid, pair, train=train)
    weights = attended.weights.reshape(b, v, m, *attended.weights.shape[1:])
    self.sow("intermediates", "weights", weights, reduce_fn=lambda _, last: last)
    fused = jnp.mean(fused.reshape(b * v, m, *fused.shape[1:]), axis=1)
    return features + fused, attention.match(samples, attended.best)
