"""ResNet-152, 320 x 320.

  python train.py --config configs/h36m_r152_320.py

Published: none (epipolar/keypoint_h36m_resnet152_320_fixed_8gpu). Not measured here. The original
starts from ImageNet (--config.model.init=imagenet:resnet152-b121ed2d.pth). Hardware of the
original: 8 GPUs with synchronised batch statistics; time: not published.
"""

import ml_collections

from configs import h36m


def get_config() -> ml_collections.ConfigDict:
  """The headline run with the largest trunk."""
  c = h36m.get_config()
  c.model.backbone_depth = 152
  c.data.image_size = 320
  c.data.h36m.stored_size = 704
  c.heatmap.sigma = 10.0
  c.train.batch_size = 32
  c.eval.triangulation = "pymvg"
  return c
