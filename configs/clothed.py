"""The shipped network for people in everyday clothes: MoveNet's trunk, trained on synthetic people.

python train.py --config configs/clothed.py
python train.py --config configs/clothed.py:coco_17

Human3.6M's 17 joints, or those of COCO, for all of which MoveNet has a head to start from. About
half an hour on two CPU cores, and a quarter for the data.
"""

import ml_collections

from configs import synthetic_full


def get_config(skeleton: str = "h36m_17") -> ml_collections.ConfigDict:
  """MoveNet Lightning's trunk, 192 x 192; every joint's heatmaps are fused."""
  c = synthetic_full.get_config()
  c.model.skeleton = c.data.synthetic.skeleton = skeleton
  c.model.backbone = "movenet_lightning"
  c.model.init = "movenet:lightning"
  c.model.fusion.num_samples = 48
  c.data.image_size = 192
  c.data.scale_factor = 0.2
  c.data.rotation_factor = 15.0
  c.data.translation_factor = 0.08
  c.data.flip_probability = 0.5
  c.data.color_jitter = 0.3
  c.data.erase_probability = 0.2
  s = c.data.synthetic
  s.image_size = 240
  s.train_identities = 600
  s.train_rigs = 150
  s.suits = 0.0
  s.actions = ()
  c.optimizer.learning_rate = 1e-3
  c.optimizer.trunk_factor = 0.1
  c.train.num_epochs = 4.0
  c.train.eval_epochs = 0.0
  if skeleton != "h36m_17":
    c.eval.limb_priors = ""  # those shipped are of h36m_17
  return c
