"""ResNet-152, 384 x 384.

  python train.py --config configs/h36m_r152_384.py

Published: none from ImageNet alone (epipolar/keypoint_h36m_resnet152_384_fixed_8gpu); 19.0 mm from
a pose network: configs/h36m_r152_384_pretrained.py. Not measured here. The original starts from
ImageNet (--config.model.init=imagenet:resnet152-b121ed2d.pth). Hardware of the original: 8 GPUs
with synchronised batch statistics; time: not published.
"""

import ml_collections

from configs import h36m


def get_config() -> ml_collections.ConfigDict:
  """The headline run with the largest trunk and image."""
  c = h36m.get_config()
  c.model.backbone_depth = 152
  c.data.image_size = 384
  c.data.h36m.stored_size = 704
  c.heatmap.sigma = 12.0
  c.train.batch_size = 32
  c.eval.triangulation = "pymvg"
  return c
