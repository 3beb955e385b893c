"""Hands from images: the pose in the hand's own frame, and the rotation to the camera's.

  python train.py --config configs/lifting_rhd.py --config.model.init=imagenet:resnet50.pth
  python train.py --config configs/lifting_rhd.py:residual --config.model.init=imagenet:resnet50.pth

The original's configs/lifting/img_lifting_rot.yaml, after Boukhayma et al. (CVPR 2019): a
ResNet-50's pooled features, the side of the hand and two linear layers.
--config.task=keypoint_lifting_rot lifts the heatmaps that a PoseResNet finds in the image.
"""

import ml_collections

from configs import lifting_direct_rhd, lifting_h36m


def get_config(lifter: str = "original") -> ml_collections.ConfigDict:
  """lifting_h36m with hands."""
  c = lifting_direct_rhd.hands(lifting_h36m.get_config(lifter))
  if lifter == "residual":
    c.heatmap.sigma = 8.0
    c.lifting.joint_noise = 0.0  # would blur the labels of the heatmaps
  return c
