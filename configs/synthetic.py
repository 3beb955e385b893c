"""Quick start: makes its own data, trains, prints MPJPE; a few minutes on two CPU cores.

python train.py --config configs/synthetic.py
"""

import ml_collections

from configs import synthetic_full


def get_config() -> ml_collections.ConfigDict:
  """A smaller synthetic_full: smaller pictures, fewer frames, a thinner network."""
  c = synthetic_full.get_config()
  c.model.width = 0.25
  c.model.deconv_channels = 64
  c.data.image_size = 96
  c.data.flip_probability = 0.0  # a suit's left is blue: the mirrored world would be wrong
  c.data.synthetic.image_size = 120
  c.data.synthetic.suits = 1.0
  c.data.synthetic.actions = ("walking", "running", "dancing", "kicking", "boxing", "jumping")
  c.data.synthetic.camera_noise = 0.5
  c.data.synthetic.clutter = 4
  c.data.synthetic.train_identities = 200
  c.data.synthetic.train_frames = 800
  c.data.synthetic.validation_frames = 16
  c.data.synthetic.test_frames = 64
  c.model.fusion.num_samples = 24
  c.train.num_epochs = 5.0
  c.train.batch_size = 4
  c.train.eval_epochs = 0.0
  return c
