"""ResNet-50, 256 x 256, without fusion: every view alone, then triangulation.

  python train.py --config configs/h36m_baseline.py

Published: 45.3 mm MPJPE (README of the authors' release, benchmark/keypoint_h36m), scored against
the data set's own 3D joints; configs/h36m.py is 33.1. Not measured here. The original starts from
ImageNet (--config.model.init=imagenet:resnet50-0676ba61.pth) and trains on one random view of a
frame, 8 images a step; here a step has all views of 2 frames. Its 20 heatmaps are the union of
Human3.6M and MPII joints, of which 17 count. Hardware: GPUs, unnamed; time: not published.
"""

import ml_collections

from configs import h36m


def get_config() -> ml_collections.ConfigDict:
  """h36m, without the epipolar layer, by the longer schedule of the original's baseline."""
  c = h36m.get_config()
  c.model.fusion.merge = "none"
  c.data.h36m.train_every = 5
  c.optimizer.step_epochs = (20, 25)
  c.train.batch_size = 2
  c.train.num_epochs = 30.0
  c.eval.triangulation = "pymvg"
  return c
