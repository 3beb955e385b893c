"""People in marker suits and a network from scratch, in a few minutes on two CPU cores.

python train.py --config configs/synthetic_suits.py
"""

import ml_collections

from configs import synthetic_full


def get_config() -> ml_collections.ConfigDict:
  """A smaller synthetic_full: smaller images, fewer frames, a thinner network."""
  c = synthetic_full.get_config()
  c.model.width = 0.25
  c.model.fusion.num_samples = 24
  c.data.image_size = 96
  # Few passes over the frames: augmentation would only slow the learning down.
  c.data.scale_factor = 0.0
  c.data.rotation_factor = 0.0
  c.data.translation_factor = 0.0
  s = c.data.synthetic
  s.image_size = 120
  s.train_frames = 700
  s.validation_frames = 16
  s.test_frames = 64
  s.train_identities = 200
  s.train_rigs = 24
  s.camera_noise = 0.5
  s.clutter = 4
  c.train.num_epochs = 12.0
  c.train.eval_epochs = 0.0
  return c
