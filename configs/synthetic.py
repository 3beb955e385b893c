"""Quick start: makes its own data, trains, prints MPJPE; a few minutes on two CPU cores.

python train.py --config configs/synthetic.py

People in everyday clothes; MoveNet Lightning's trunk, with its published weights.
"""

import ml_collections

from configs import clothed


def get_config() -> ml_collections.ConfigDict:
  """A smaller `clothed`: fewer frames and motions, a shorter training."""
  c = clothed.get_config()
  c.model.fusion.num_samples = 32
  c.data.scale_factor = 0.1
  c.data.rotation_factor = 10.0
  c.data.translation_factor = 0.05
  c.data.erase_probability = 0.0
  s = c.data.synthetic
  s.train_frames = 300
  s.validation_frames = 16
  s.test_frames = 64
  s.train_identities = 150
  s.train_rigs = 40
  s.actions = ("walking", "running", "dancing", "kicking", "boxing", "jumping")
  c.optimizer.learning_rate = 2e-3
  return c
