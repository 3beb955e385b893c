"""Hands from 2D heatmaps, straight to the camera's frame: Rendered Hand Pose.

  python train.py --config configs/lifting_direct_rhd.py
  python train.py --config configs/lifting_direct_rhd.py:residual

The original's configs/lifting/lifting_direct.yaml, after Zimmermann and Brox (ICCV 2017). Its
heatmaps of 224 px cover the crop here; --config.lifting.heatmap_layout=original draws them where
the original's code puts them.

Variants of the original, as overrides:
  --config.task=lifting                       lifting.yaml
  --config.task=lifting_rot                   lifting_rot.yaml
  --config.optimizer.name=sgd --config.optimizer.learning_rate=1e-3
    --config.optimizer.step_epochs=20,30 --config.train.num_epochs=40.0
                                              with either: lifting_sgd.yaml, lifting_rot_sgd.yaml
"""

import ml_collections

from configs import lifting_direct_h36m


def get_config(lifter: str = "original") -> ml_collections.ConfigDict:
  """lifting_direct_h36m with hands: 21 joints, crops of 256 px, noisy in training."""
  return hands(lifting_direct_h36m.get_config(lifter))


def hands(c: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """The changes that both `_rhd` configs share."""
  c.data.name = "rhd"
  c.model.skeleton = "rhd_21"
  c.heatmap.sigma = 25.0
  c.lifting.heatmap_size = 224
  c.lifting.joint_noise = 2.5
  c.lifting.center_noise = 20.0
  c.lifting.offset_noise = 10.0
  return c
