"""ResNet-152, 384 x 384, without fusion.

  python train.py --config configs/h36m_r152_384_baseline.py

Published: 68.64 M parameters, 204.24 GMAC for four views (how they count: docs/parity.md); no MPJPE
(benchmark/keypoint_h36m_resnet152_384). Not measured here. The original starts from ImageNet
(--config.model.init=imagenet:resnet152-b121ed2d.pth). Hardware: GPUs, number unnamed; time: not
published.
"""

import ml_collections

from configs import h36m_r152_384


def get_config() -> ml_collections.ConfigDict:
  """h36m_r152_384 without the epipolar layer, by the schedule of the original's baseline."""
  c = h36m_r152_384.get_config()
  c.model.fusion.merge = "none"
  c.data.h36m.train_every = 5
  c.optimizer.step_epochs = (20, 25)
  c.train.batch_size = 4
  c.train.num_epochs = 30.0
  return c
