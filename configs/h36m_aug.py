"""h36m with rotated and scaled crops.

  python train.py --config configs/h36m_aug.py

Published: 30.4 mm MPJPE (README of the authors' release, epipolar/keypoint_h36m_zresidual_aug);
33.1 without augmentation. Not measured here. The original starts from ImageNet
(--config.model.init=imagenet:resnet50-0676ba61.pth). Hardware of the original: 2-4 GPUs; time: not
published.
"""

import ml_collections

from configs import h36m


def get_config() -> ml_collections.ConfigDict:
  """The headline run; every view of a frame is turned and scaled by itself."""
  c = h36m.get_config()
  c.data.scale_factor = 0.25
  c.data.rotation_factor = 30.0
  c.eval.triangulation = "pymvg"
  return c
