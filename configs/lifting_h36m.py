"""Bodies from images: the pose in the body's own frame, and the rotation to the camera's.

  python train.py --config configs/lifting_h36m.py --config.model.init=imagenet:resnet50.pth
  python train.py --config configs/lifting_h36m.py:residual
    --config.model.init=imagenet:resnet50.pth

The first is the original's configs/lifting/img_lifting_rot_h36m.yaml, after Boukhayma et al. (CVPR
2019): a ResNet-50's pooled features and two linear layers. No number was published, and the
original cannot run it: its Human3.6M reader gives neither frame nor rotation. Here the neck lies on
the -y axis and the left hip at z = 0, x > 0. With data that anyone can make:
--config.data.name=synthetic.

In the second a PoseResNet finds the joints in the image, taught by the 2D labels; a residual
perceptron lifts them, with the features at each joint and of the whole image at hand, to the
camera's and to the body's own axes.

Variants of the original, as overrides:
  --config.task=keypoint_lifting_rot          from heatmaps that a PoseResNet finds in the image
  --config.task=multiview_img_lifting_rot --config.model.fusion.merge=late
    --config.lifting.train_views=0            from heatmaps fused along epipolar lines
"""

import ml_collections

from configs import lifting_direct_h36m


def get_config(lifter: str = "original") -> ml_collections.ConfigDict:
  """lifting_direct_h36m on images; "residual" finds the joints first."""
  c = lifting_direct_h36m.get_config(lifter)
  c.task = "img_lifting_rot"
  if lifter == "residual":
    c.task = "keypoint_lifting_rot"
    c.lifting.heatmap_weight = 1.0
    c.lifting.train_views = 0
    c.model.head_init_std = 0.03
    c.train.batch_size = 8
  return c
