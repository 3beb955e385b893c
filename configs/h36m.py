"""Epipolar transformer, ResNet-50, 256 x 256, Human3.6M: the paper's main row and every option.

  python train.py --config configs/h36m.py

Published: 33.1 mm MPJPE (He et al., CVPR 2020, README of the authors' release; 45.3 without
fusion, configs/h36m_baseline.py). Not measured here: Human3.6M cannot be redistributed.
Hardware of the original: 2-4 GPUs. All other configs are deltas of this one. Override any leaf on
the command line, for example `--config.optimizer.learning_rate=1e-4`.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """The headline run; every leaf says what it is."""
  c = ml_collections.ConfigDict()
  c.task = "multiview"  # what is trained: see epipolar_jax/tasks/
  c.seed = 0  # with the config and the step it determines every number

  c.model = m = ml_collections.ConfigDict()
  m.backbone = "resnet"  # resnet, movenet_lightning or movenet_thunder
  m.backbone_depth = 50  # ResNet-18, 34, 50, 101 or 152
  m.width = 1.0  # multiplies the trunk's channels (64, 128, 256, 512)
  m.deconv_channels = 256  # channels of the three deconvolutions and of the fused feature
  # What joints there are: h36m_17, union_20 (with MPII), rhd_21 (a hand), coco_17 or a .toml file.
  m.skeleton = "h36m_17"
  m.dtype = "float32"  # compute type of the network: float32 or bfloat16; parameters stay float32
  # Of the running statistics, in torch's sense: new = 0.9 old + 0.1 batch; below 0 they are the
  # averages over all steps.
  m.bn_momentum = 0.1
  m.head_init_std = 0.001  # of deconvolution and head kernels at the start; 0.03 or so from scratch
  m.share_weights = True  # one network for views that are predicted and views that are looked at
  # Starting weights: imagenet:FILE (trunk only) or pose:FILE of a .pth or .safetensors file,
  # checkpoint:FOLDER of a run or checkpoint of this project, movenet:lightning or movenet:thunder
  # (shipped) for these backbones; "" is random.
  m.init = ""
  m.fusion = f = ml_collections.ConfigDict()
  # Where views meet: none, early (after layer1), late (before the head: the paper), both, or
  # heatmaps (after the head, every joint for itself; needs train.loss = cross_entropy).
  f.merge = "late"
  # Views that a view looks at: nearest camera (the paper); two_nearest or any, drawn in training
  # (evaluation: the nearest); all others, averaged.
  f.sources = "nearest"
  f.compare = "features"  # what finds the match: features, or rgb (the images at feature size)
  f.num_samples = 64  # samples on an epipolar line
  f.attention = "avg"  # avg (softmax-weighted sum over the line) or max (best sample)
  f.similarity = "dot"  # dot, cos or prior
  f.softmax = True  # normalise the similarities; False divides by num_samples
  f.scale = 0.125  # multiplies the similarities before the softmax
  f.pooling = False  # maximum over sample pairs before the similarity
  f.prior = "none"  # learned table per ordered view pair: none, add or multiply
  f.prior_views = 0  # cameras of the prior tables; 0 without a prior
  f.embeddings = ("z",)  # 1x1 convolutions: any of theta (query), phi (key), g (value), z (output)
  f.bottleneck = 1  # divides the inner width of theta, phi, g
  f.z_residual = True  # z(out) + out instead of z(out)
  f.other_grad = ("match", "value")  # branches of the other view that carry gradient
  f.algorithm = "auto"  # gather, blocks, dense or kernel: same numbers, other speed

  c.data = d = ml_collections.ConfigDict()
  d.name = "h36m"  # builder under data/
  d.dir = "data_cache"  # prepared data sets are kept here
  d.image_size = 256  # side of the square network input, px
  d.scale_factor = 0.0  # augmentation: crop scale is multiplied by 1 + N(0, this), clipped at 1 s
  d.rotation_factor = 0.0  # augmentation: degrees, N(0, this) clipped at 2 s, for 60 % of the views
  d.translation_factor = 0.0  # augmentation: crop centre moves by up to this share of its side
  d.flip_probability = 0.0  # augmentation: mirror a whole frame, all views together
  d.color_jitter = 0.0  # augmentation: brightness and contrast of each view, up to +- this share
  d.erase_probability = 0.0  # augmentation: of covering a random box of a view with one colour
  d.num_threads = 8  # host threads that decode and warp, of each worker if there are any
  d.num_workers = 0  # host processes that do so; 0 is this one
  d.h36m = hd = ml_collections.ConfigDict()
  hd.stored_size = 512  # px, side of the prepared images (builder's --image_size); 0: whole
  hd.train_every = 1  # trains on every n-th frame
  hd.eval_every = 64  # evaluates every n-th frame; 64 is the original's choice
  hd.drop_damaged = False  # when reading, before eval_every thins out; else eval.damaged decides

  # Bugs and oddities of the original, to agree with it number for number; all off by default.
  c.parity = p = ml_collections.ConfigDict()
  p.bgr = False  # BGR images, normalised by RGB's mean and deviation; its checkpoints need it
  p.late_source = False  # early fusion looks at unfused late features of the other view
  p.legacy_normalize = False  # USE_CORRECT_NORMALIZE False: samples placed by the pixels' edges
  p.edge_aligned = False  # align_corners False, as torch 1.3: in the sampler and the peak decoder
  p.zero_means_outside = False  # a similarity of exactly zero counts as outside the map
  p.lost_lines = False  # lines through corners and between parallel cameras find nothing
  p.target_floor = False  # targets are 0.01 far from the joint, for squared losses

  c.heatmap = h = ml_collections.ConfigDict()
  h.sigma = 8.0  # of the target Gaussian, image px
  h.decode = "peak"  # peak (argmax + window, the paper's) or softmax (for cross_entropy)

  c.optimizer = o = ml_collections.ConfigDict()
  o.name = "adam"  # adam, or sgd (momentum 0.9)
  o.learning_rate = 1e-3  # at the start
  o.trunk_factor = 1.0  # of the rate, for the backbone's trunk: below 1 if pretrained; 0 freezes it
  o.schedule = "step"  # step (x 0.1 at step_epochs) or cosine (to zero, after warmup)
  o.step_epochs = (2, 3)  # epochs at which the rate falls, for schedule = step
  o.warmup_epochs = 0.0  # linear warm-up
  o.weight_decay = 0.0  # decoupled (AdamW); 0 is the paper's Adam
  o.gradient_clip = 0.0  # global norm; 0 is off

  c.train = t = ml_collections.ConfigDict()
  t.batch_size = 16  # frames a step over all devices, each with all its views
  # Parts of a step's batch that are worked through one after the other, for less memory; batch
  # normalisation is then over a part at a time.
  t.accumulate = 1
  t.num_epochs = 4.0  # passes over the training frames
  t.loss = "joint"  # joint, smooth_mse or mse (the original) or cross_entropy (over pixels)
  t.loss_per_joint = False  # add the joints' losses up (LOSS_PER_JOINT) instead of averaging them
  t.reprojection_weight = 0.0  # of the distance between a pixel and the match of its match
  t.similarity_weight = 0.0  # of 1 - cosine between a pixel's feature and what it matched
  t.log_steps = 50  # steps between two log lines
  t.checkpoint_minutes = 10.0  # time between two checkpoints; one more at the end and at SIGTERM
  t.eval_epochs = 1.0  # epochs between two evaluations on the validation split; 0 is never
  t.patience = 0  # such evaluations without a smaller error end the run, at its best; 0 is off

  c.eval = e = ml_collections.ConfigDict()
  e.batch_size = 16  # frames a step over all devices
  e.splits = ("validation",)  # evaluated in this order; the first gives eval.json's mpjpe_mm
  e.max_frames = 0  # of each split; 0 is all
  # How joints become 3D: dlt (views weighted by heatmap score), robust (the same, outliers are
  # down-weighted), rpsm (the best pose by heatmaps and limb lengths), dlt_unweighted, or one of the
  # original: pymvg (the paper's: all views that score above 0.05, equally weighted), naive, refine,
  # epipolar, epipolar_dlt. Several, separated by commas, are compared; the first is the main one.
  e.triangulation = "dlt"
  # Cameras: "" is all of them, "0,2" these alone (fusion has no others). pairs, triples or every
  # add the error for every choice of 2, of 3 or of any number of them.
  e.views = ""
  # Share of a box's side by which boxes are off in a second pass, as a detector's are; 0: no such
  # pass. Multi-view tasks alone.
  e.box_error = 0.06
  e.alignment = "absolute"  # of the chosen protocol: absolute, relative, scaled or procrustes
  e.clamp_mm = 0.0  # errors of joints count as at most this; 0 is off, 150 the original's
  e.ground_truth = "dataset"  # 3D truth: dataset, or retriangulated from the true 2D (the original)
  e.damaged = "keep"  # frames that the data set marks as damaged: keep or drop (the original)
  e.ransac_mm = 35.0  # largest distance from a ray for naive, refine, epipolar
  e.confidence = 0.85  # score above which epipolar and epipolar_dlt trust a view
  e.limb_priors = ""  # limb lengths for rpsm: synthetic, or a file by tools.limb_priors
  e.rpsm_root = "triangulated"  # middle of rpsm's grid: triangulated, or truth (parity: an oracle)
  e.multitest = False  # look at every other view in turn, keep the most confident joint (MULTITEST)
  # Training frames that BN statistics are re-estimated from before a test (RECOMPUTE_BN); 0 is off.
  e.recompute_bn_frames = 0
  e.num_images = 4  # frames drawn to eval_SPLIT.png for each split
  return c
