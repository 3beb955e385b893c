"""h36m with embedded features (theta, phi, g, z), pooled samples and pictorial structures.

  python train.py --config configs/h36m_embedded.py
  python eval.py --config configs/h36m_embedded.py --checkpoint RUN
      --config.eval.triangulation=pymvg,rpsm --config.eval.limb_priors=LIMBS.json

Published: none for this very file (epipolar/keypoint_h36m_param); the paper's best without extra
data, 26.9 mm, is ResNet-50, 256 x 256, with pictorial structures. Not measured here. The original
starts from ImageNet (--config.model.init=imagenet:resnet50-0676ba61.pth), trains 30 epochs over
every fifth frame and has 20 heatmaps, of which 17 count. Hardware: GPUs, unnamed; time: not
published.
"""

import ml_collections

from configs import h36m


def get_config() -> ml_collections.ConfigDict:
  """Narrow embeddings: 32.3 GMAC for four views, against 31.6 of the headline run."""
  c = h36m.get_config()
  f = c.model.fusion
  f.embeddings = ("theta", "phi", "g", "z")
  f.bottleneck = 2
  f.pooling = True
  f.z_residual = False
  c.optimizer.step_epochs = (20, 25)
  c.train.num_epochs = 30.0
  c.eval.triangulation = "pymvg"
  return c
