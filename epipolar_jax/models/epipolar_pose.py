"""EpipolarPose: PoseResNet on every view, fused along epipolar lines; all views in one call."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from epipolar_jax.models import attention, fusion, pose_resnet

STRIDE = 4
EARLY_SOURCES = ("early", "late")


class EpipolarPose(nn.Module):
  """Heatmaps of all views of a batch of frames.

  Every view is a reference view and looks at the view with the nearest camera centre.

  Attributes:
    backbone: of every view (shared weights).
    early_fusion: after the trunk's first stage, or None.
    late_fusion: before the head (the paper), or None. Neither: the single-view baseline.
    early_source: what the early fusion sees of the other view: "early" features like its own, or
      the unfused "late" ones as in the reference (whose late fusion of "both" sees them too; costs
      a second pass, and needs equal channels: ResNet-50 and up at width 1).
  """

  backbone: pose_resnet.PoseResNet
  early_fusion: fusion.EpipolarFusion | None = None
  late_fusion: fusion.EpipolarFusion | None = None
  early_source: str = "early"

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
      heatmaps: [b, v, h/4, w/4, j] float32; with fusion also match [b, v, h/4, w/4, 2], the best
      match of each pixel in `source` [b, v], in feature pixels of that view.

    Raises:
      ValueError: one view only, with fusion; an image size that is no multiple of 32; an unknown
        early_source.
    """
    b, v, h, w, _ = images.shape
    if h % 32 or w % 32:
      raise ValueError(f"image size {h}×{w} is not a multiple of 32")
    if self.early_source not in EARLY_SOURCES:
      raise ValueError(f"early_source {self.early_source!r} is not one of {EARLY_SOURCES}")
    fuses = self.early_fusion is not None or self.late_fusion is not None
    if v < 2 and fuses:
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
      out["match"] = match.reshape(b, v, h // STRIDE, w // STRIDE, 2)
    out["heatmaps"] = self.backbone.heatmaps(features).reshape(b, v, h // STRIDE, w // STRIDE, -1)
    return out

  def _lines(self, intrinsics, rotation, translation, size_hw):
    """Source view [b, v] of each view, samples [b, v, p, k, 2] and their validity [b, v, p]."""
    layer = self.early_fusion if self.late_fusion is None else self.late_fusion
    cameras = [x.astype(jnp.float32) for x in (intrinsics, rotation, translation)]
    source = jax.vmap(fusion.nearest_view)(*cameras[1:])

    def sample(*frame):
      return fusion.sample_lines(
        *frame, size_hw=size_hw, stride=STRIDE, num_samples=layer.num_samples
      )

    return source, *jax.vmap(sample)(*cameras, source)

  def _fuse(self, layer, features, other, lines, train):
    """Adds to features [b·v, h, w, c] what each view finds in its source view.

    The source's features are taken from `other` if given. Also returns the matches [b·v, p, 2].
    """
    source, samples, valid = lines
    b, v = source.shape
    first = v * jnp.arange(b)[:, None]
    seen = (features if other is None else other)[(first + source).reshape(-1)]
    pair = jnp.stack([jnp.tile(jnp.arange(v), b), source.reshape(-1)], axis=-1)
    samples = samples.reshape(b * v, *samples.shape[2:])
    valid = valid.reshape(b * v, -1)
    fused, attended = layer(features, seen, samples, valid, pair, train=train)
    return features + fused, attention.match(samples, attended.best)
