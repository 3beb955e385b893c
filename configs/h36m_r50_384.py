"""h36m at 384 x 384.

  python train.py --config configs/h36m_r50_384.py

Published: none (epipolar/keypoint_h36m_resnet50_384_strong_fixed). Not measured here. The original
starts from ImageNet (--config.model.init=imagenet:resnet50-0676ba61.pth). Hardware: GPUs with
synchronised batch statistics, number unnamed; time: not published.
"""

import ml_collections

from configs import h36m


def get_config() -> ml_collections.ConfigDict:
  """Larger maps, more samples on a line, a wider Gaussian."""
  c = h36m.get_config()
  c.model.fusion.num_samples = 85
  c.data.image_size = 384
  c.data.h36m.stored_size = 704
  c.heatmap.sigma = 12.0
  c.train.batch_size = 8
  c.eval.triangulation = "pymvg"
  return c
