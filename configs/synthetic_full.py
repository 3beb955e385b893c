"""What the method can do without any licence: synthetic people, four cameras, occluders.

python train.py --config configs/synthetic_full.py
"""

import ml_collections

from configs import h36m


def get_config() -> ml_collections.ConfigDict:
  """ResNet-18 at half width, 128 x 128; heatmaps are fused for each joint along epipolar lines."""
  c = h36m.get_config()
  c.model.backbone_depth = 18
  c.model.width = 0.5
  c.model.deconv_channels = 64
  c.model.head_init_std = 0.03
  c.model.fusion.merge = "heatmaps"
  c.model.fusion.sources = "all"
  c.model.fusion.num_samples = 32
  c.data.name = "synthetic"
  c.data.image_size = 128
  c.data.scale_factor = 0.1
  c.data.rotation_factor = 10.0
  c.data.translation_factor = 0.03
  c.data.color_jitter = 0.2
  c.data.num_threads = 2
  c.data.synthetic = s = ml_collections.ConfigDict()
  s.seed = 0  # of the generator
  s.image_size = 160  # side of the stored image, px
  s.num_views = 4  # cameras around the subject
  s.train_frames = 3000  # frames, each with all its views
  s.validation_frames = 32
  s.test_frames = 128  # and as many again with one and with two occluded views
  s.train_identities = 400  # people; the other splits have a third as many, others
  s.train_rigs = 100  # camera rigs and rooms, likewise
  s.suits = 1.0  # share of people in suits whose left is blue and whose right is orange
  s.actions = ("walking", "running", "dancing", "kicking", "boxing", "jumping")  # () is all
  s.camera_noise = 1.0  # noise, blur, exposure
  s.cameras = "around"  # or "ceiling", "far", "near"
  s.skeleton = "h36m_17"  # or "coco_17": the joints that are stored, model.skeleton the same
  s.clutter = 8  # pieces of furniture in a room
  c.heatmap.sigma = 4.0
  c.heatmap.decode = "softmax"
  c.optimizer.schedule = "cosine"
  c.optimizer.learning_rate = 2e-3
  c.optimizer.warmup_epochs = 0.1
  c.optimizer.weight_decay = 1e-4
  c.optimizer.gradient_clip = 1.0
  c.train.loss = "cross_entropy"
  c.train.batch_size = 4
  c.train.num_epochs = 10.0
  c.train.eval_epochs = 2.0
  c.eval.batch_size = 8
  c.eval.limb_priors = "synthetic"
  c.eval.splits = ("test", "test_occluded_1", "test_occluded_2")
  return c
