"""synthetic_full without fusion: single-view heatmaps, then triangulation.

python train.py --config configs/synthetic_full_baseline.py
"""

import ml_collections

from configs import synthetic_full


def get_config() -> ml_collections.ConfigDict:
  """The same run, the same steps, the same data; only the epipolar fusion is missing."""
  c = synthetic_full.get_config()
  c.model.fusion.merge = "none"
  return c
