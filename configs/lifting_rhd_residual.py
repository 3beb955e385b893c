"""Hands from images, pose and rotation, the better way.

  python train.py --config configs/lifting_rhd_residual.py
    --config.model.init=imagenet:resnet50.pth

Same input, output and metrics as configs/lifting_rhd.py; docs/lifting.md has both in one table.
"""

import ml_collections

from configs import lifting_direct_h36m_residual, lifting_h36m_residual, lifting_rhd


def get_config() -> ml_collections.ConfigDict:
  """lifting_rhd through 2D joints."""
  c = lifting_direct_h36m_residual.better(lifting_rhd.get_config())
  c.heatmap.sigma = 8.0
  c.lifting.joint_noise = 0.0  # would blur the labels of the heatmaps
  return lifting_h36m_residual.through_joints(c)
