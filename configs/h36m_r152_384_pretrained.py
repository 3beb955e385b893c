"""ResNet-152, 384 x 384, from a pose network that has seen more data: the paper's best.

  python train.py --config configs/h36m_r152_384_pretrained.py
      --config.model.init=pose:pose_resnet_4.5_pixels_human36m.pth

Published: 19.0 mm MPJPE (README of the authors' release,
epipolar/keypoint_h36m_resnet152_384_pretrained_8gpu; its weights were not released). Not measured
here. The file is the 2D network of Learnable Triangulation, trained on COCO, MPII and Human3.6M.
Hardware of the original: 8 GPUs with synchronised batch statistics; time: not published.
"""

import ml_collections

from configs import h36m_r152_384


def get_config() -> ml_collections.ConfigDict:
  """h36m_r152_384 with the original's triangulation of that row."""
  c = h36m_r152_384.get_config()
  c.eval.triangulation = "epipolar"
  return c
