"""One's own recordings: any animal, any rig, a few labelled frames.

python -m data.footage.builder --name mouse --videos 'cam*.mp4' --cameras calibration.toml
    --labels 'cam*.csv'
python train.py --config configs/footage.py:mouse
epipolar predict --videos 'new*.mp4' --cameras calibration.toml --checkpoint runs/footage_mouse
    --out new

What comes after .py: is the --name of the data set.
"""

import ml_collections

from configs import synthetic_full


def get_config(name: str = "") -> ml_collections.ConfigDict:
  """MoveNet Lightning's trunk, heatmaps fused along epipolar lines, half an hour on two cores."""
  c = synthetic_full.get_config()
  c.data.name = "footage"
  c.data.footage = f = ml_collections.ConfigDict()
  f.name = name
  del c.data.synthetic
  # The builder writes it: edit its tree, its pairs and its size there before training.
  c.model.skeleton = f"data_cache/footage/{name}/skeleton.toml" if name else "coco_17"
  c.model.backbone = "movenet_lightning"
  c.model.init = "movenet:lightning"
  c.data.image_size = 192
  c.data.scale_factor = 0.2
  c.data.rotation_factor = 15.0
  c.data.translation_factor = 0.1
  c.data.flip_probability = 0.0  # left and right of an animal that nothing else tells apart
  c.data.erase_probability = 0.3
  # A head of one's own joints starts from noise and has to learn fast, but pretrained features are
  # soon lost on a few frames. For joints that MoveNet has: 1e-3 and 0.05.
  c.optimizer.learning_rate = 1e-2
  c.optimizer.trunk_factor = 0.01
  c.train.num_epochs = 60.0
  c.train.eval_epochs = 5.0
  c.train.patience = 4
  c.eval.splits = ("test",)
  c.eval.triangulation = "robust,dlt"
  c.eval.limb_priors = ""
  return c
