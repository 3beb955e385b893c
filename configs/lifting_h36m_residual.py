"""Bodies from images, pose and rotation, the better way.

  python train.py --config configs/lifting_h36m_residual.py
    --config.model.init=imagenet:resnet50.pth

A PoseResNet finds the joints in the image, taught by the 2D labels; a residual perceptron lifts
them, with the features at each joint and of the whole image at hand, to the camera's and to the
body's own axes. Same input, output and metrics as configs/lifting_h36m.py; docs/lifting.md has both
in one table.
"""

import ml_collections

from configs import lifting_direct_h36m_residual, lifting_h36m


def get_config() -> ml_collections.ConfigDict:
  """lifting_h36m through 2D joints."""
  c = lifting_direct_h36m_residual.better(lifting_h36m.get_config())
  return through_joints(c)


def through_joints(c: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """From images to 3D through heatmaps that have a loss of their own."""
  c.task = "keypoint_lifting_rot"
  c.lifting.heatmap_weight = 1.0
  c.lifting.train_views = 0
  c.model.head_init_std = 0.03
  c.train.batch_size = 8
  return c
