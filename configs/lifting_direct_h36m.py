"""Bodies from 2D heatmaps, straight to the camera's frame; and every option of the lifting tasks.

  python train.py --config configs/lifting_direct_h36m.py
  python train.py --config configs/lifting_direct_h36m.py:residual

The first is the original's configs/lifting/lifting_direct_h36m.yaml, a network after Zimmermann and
Brox (ICCV 2017); no number was published. The second is better at the same input, output and
metrics (docs/lifting.md): a residual perceptron (Martinez et al., ICCV 2017) on joints as a camera
sees them that is turned to the middle of the crop; absolute error, AdamW, cosine. They need
Human3.6M; with data that anyone can make:

  python train.py --config configs/lifting_direct_h36m.py --config.data.name=synthetic

Variants of the original, as overrides (its sgd rows were run on hands, configs/lifting_direct_rhd):
  --config.task=lifting                       coordinates in the body's own frame
  --config.task=lifting_rot                   and the rotation to the camera's
  --config.task=keypoint_lifting_direct       heatmaps of a network (model.init=pose:FILE.pth)
"""

import ml_collections

from configs import h36m, synthetic_full


def get_config(lifter: str = "original") -> ml_collections.ConfigDict:
  """The original's recipe (Adam at 1e-5, 16 epochs, squared error), or "residual".

  Raises:
    ValueError: another lifter.
  """
  c = h36m.get_config()
  c.task = "lifting_direct"  # see epipolar_jax/tasks/lifting
  c.model.fusion.merge = "none"
  c.lifting = l = ml_collections.ConfigDict()
  l.lifter = "original"  # original, or residual: a perceptron on joints normalised by camera rays
  l.width = 1024  # of the residual lifter's hidden layers
  l.num_blocks = 2  # of the residual lifter
  l.dropout = 0.1  # of the residual lifter; the original's heads have theirs built in
  l.loss = "mse"  # mse (the original's, invisible joints as zeros) or l1 (all joints, and the sum)
  l.heatmap_weight = 0.0  # of the 2D loss of tasks with estimated heatmaps; the original has none
  l.heatmap_size = 64  # side of the heatmaps of true joints
  l.heatmap_layout = "crop"  # parity: original, hands in the top left corner, rows for columns
  l.train_views = 1  # views of a frame that a training step draws; 0 is all
  l.flip = False  # hands: right hands are mirrored in their own frame
  l.wrist = False  # hands: the root is the wrist, else the middle of the palm
  l.joint_noise = 0.0  # hands: of 2D joints in training, px of the whole image
  l.center_noise = 0.0  # hands: of the crop's centre, before its size is chosen
  l.offset_noise = 0.0  # hands: of the crop's centre, after its size is chosen
  c.data.synthetic = synthetic_full.get_config().data.synthetic
  c.optimizer.learning_rate = 1e-5
  c.optimizer.step_epochs = (12,)
  c.train.batch_size = 8
  c.train.num_epochs = 16.0
  c.train.eval_epochs = 4.0
  c.eval.batch_size = 8
  if lifter == "residual":
    _improve(c)
  elif lifter != "original":
    raise ValueError(f"lifter {lifter!r}: after .py: comes residual, or nothing for the original's")
  return c


def _improve(c: ml_collections.ConfigDict) -> None:
  c.lifting.lifter = "residual"
  c.lifting.loss = "l1"
  c.optimizer.learning_rate = 1e-3
  c.optimizer.schedule = "cosine"
  c.optimizer.warmup_epochs = 0.2
  c.optimizer.weight_decay = 1e-2
  c.optimizer.gradient_clip = 1.0
  c.train.batch_size = 64
