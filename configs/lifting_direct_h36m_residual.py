"""Bodies from 2D joints to the camera's frame, the better way.

  python train.py --config configs/lifting_direct_h36m_residual.py

A residual perceptron (Martinez et al., ICCV 2017) on joints as a camera sees them that looks at the
middle of the crop; absolute error, AdamW, cosine. Same input, output and metrics as
configs/lifting_direct_h36m.py; docs/lifting.md has both in one table.
"""

import ml_collections

from configs import lifting_direct_h36m


def get_config() -> ml_collections.ConfigDict:
  """lifting_direct_h36m with another lifter, loss and schedule."""
  c = lifting_direct_h36m.get_config()
  return better(c)


def better(c: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """The changes that all `_residual` configs share."""
  c.lifting.lifter = "residual"
  c.lifting.loss = "l1"
  c.optimizer.learning_rate = 1e-3
  c.optimizer.schedule = "cosine"
  c.optimizer.warmup_epochs = 0.2
  c.optimizer.weight_decay = 1e-2
  c.optimizer.gradient_clip = 1.0
  c.train.batch_size = 64
  return c
