"""Hands from 2D joints to the camera's frame, the better way.

  python train.py --config configs/lifting_direct_rhd_residual.py

Same input, output and metrics as configs/lifting_direct_rhd.py; docs/lifting.md has both in one
table.
"""

import ml_collections

from configs import lifting_direct_h36m_residual, lifting_direct_rhd


def get_config() -> ml_collections.ConfigDict:
  """lifting_direct_rhd with another lifter, loss and schedule."""
  return lifting_direct_h36m_residual.better(lifting_direct_rhd.get_config())
