"""The networks of the lifting tasks: which there are, what each consists of, how it is run."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from epipolar_jax import heatmaps, models, skeletons
from epipolar_jax.geometry import canonical, sampling
from epipolar_jax.models import lifting, pose_resnet, resnet
from epipolar_jax.tasks import task
from epipolar_jax.tasks.lifting import views


class Kind(NamedTuple):
  """What distinguishes the lifting tasks.

  Attributes:
    sees: joints (true ones, as heatmaps or coordinates), features (of a trunk), heatmaps (estimated
      in the view) or fused (estimated in all views together).
    canonical: coordinates are in the pose's own frame, else in the camera's.
    viewpoint: the rotation between the two frames is estimated as well.
    pool: side of the blocks of heatmap pixels that the heatmap lifter averages first.
  """

  sees: str
  canonical: bool
  viewpoint: bool
  pool: int


KINDS = {
  "lifting_direct": Kind("joints", canonical=False, viewpoint=False, pool=8),
  "lifting": Kind("joints", canonical=True, viewpoint=False, pool=8),
  "lifting_rot": Kind("joints", canonical=True, viewpoint=True, pool=8),
  "img_lifting_rot": Kind("features", canonical=True, viewpoint=True, pool=0),
  "keypoint_lifting_direct": Kind("heatmaps", canonical=False, viewpoint=False, pool=8),
  "keypoint_lifting_rot": Kind("heatmaps", canonical=True, viewpoint=True, pool=2),
  "multiview_img_lifting_rot": Kind("fused", canonical=True, viewpoint=True, pool=2),
}


class Lifted(NamedTuple):
  """Network outputs for n views; None where the task predicts none.

  Attributes:
    camera: [n, j, 3], the pose in the camera's axes.
    canonical: [n, j, 3], in its own axes.
    rotation: [n, 3, 3], camera = canonical @ rotation.
    maps: [n, h, w, j], the network's heatmaps.
  """

  camera: jax.Array | None = None
  canonical: jax.Array | None = None
  rotation: jax.Array | None = None
  maps: jax.Array | None = None


def build(
  config: ml_collections.ConfigDict, kind: Kind, axis_name: str | None
) -> lifting.LiftingNet:
  """The lifter, and the network before it."""
  model, options = config.model, config.lifting
  num_joints = skeletons.of_model(model).num_joints
  dtype = task.choose(
    {"float32": jnp.float32, "bfloat16": jnp.bfloat16}, model.dtype, "model.dtype"
  )
  trunk = {
    "depth": model.backbone_depth,
    "width": model.width,
    "dtype": dtype,
    "bn_momentum": models.bn_momentum(model),
    "axis_name": axis_name,
  }
  backbone = None
  if kind.sees == "features":
    backbone = resnet.ResNet(**trunk)
  elif kind.sees == "heatmaps":
    backbone = pose_resnet.PoseResNet(
      num_joints=num_joints,
      deconv_channels=model.deconv_channels,
      head_init_std=model.head_init_std,
      **trunk,
    )
  elif kind.sees == "fused":
    backbone = models.build(model, config.parity, axis_name=axis_name)
  return lifting.LiftingNet(_lifter(options, num_joints, kind, dtype), backbone)


def make_forward(config: ml_collections.ConfigDict, kind: Kind) -> Callable[..., Lifted]:
  """The function that `nn.apply` runs: (network, seen, dropout keys [n], train) -> `Lifted`."""
  size, sigma = config.data.image_size, config.heatmap.sigma
  residual = config.lifting.lifter == "residual"
  draw = functools.partial(
    views.joint_heatmaps,
    image_size=size,
    map_size=config.lifting.heatmap_size,
    sigma=sigma,
    layout=config.lifting.heatmap_layout,
  )
  decode = functools.partial(
    heatmaps.decode_softmax, radius=2.5 * sigma / models.STRIDE, stride=models.STRIDE
  )

  def said(coordinates: jax.Array, rotation: jax.Array | None, maps=None) -> Lifted:
    name = "canonical" if kind.canonical else "camera"
    return Lifted(**{name: coordinates}, rotation=rotation, maps=maps)

  def forward(
    network: lifting.LiftingNet, seen: views.Seen, keys: jax.Array | None, *, train: bool
  ) -> Lifted:
    maps = features = None
    if kind.sees == "features":
      pooled = jnp.mean(network.backbone(views.flat(seen.images), train=train), (1, 2))
      return said(*network.lifter(pooled, seen.side, keys))
    if kind.sees == "heatmaps":
      early = network.backbone.early(views.flat(seen.images), train=train)
      deep = network.backbone.trunk.late(early, train=train)
      features = network.backbone.upsample(deep, train=train)
      maps = network.backbone.heatmaps(features)
    elif kind.sees == "fused":
      maps = views.flat(network.backbone(seen.images, seen.cameras, train=train)["heatmaps"])
    if not residual:
      shown = jax.vmap(draw)(seen.uv, seen.visible) if maps is None else maps
      return said(*network.lifter(shown, seen.side, keys), maps)

    uv, weight = seen.uv, seen.visible
    if maps is not None:
      # Through the coordinates the lifter's gradient would blur the heatmaps; features learn from
      # both losses.
      uv, weight = jax.vmap(jax.vmap(decode))(jax.lax.stop_gradient(jnp.moveaxis(maps, -1, 1)))
    read = functools.partial(views.normalise, size=size)
    shown, turn = jax.vmap(read)(uv, weight, views.flat(seen.cameras.intrinsics))
    if features is not None:
      at = heatmaps.image_to_map(uv, stride=models.STRIDE)
      looks = jax.vmap(sampling.bilinear)(features, at).reshape(len(shown), -1)
      whole = jnp.mean(deep, (1, 2))
      shown = jnp.concatenate([x.astype(shown.dtype) for x in (shown, looks, whole)], axis=1)
    poses = network.lifter(shown, seen.side, keys)
    if kind.canonical and not kind.viewpoint:
      return Lifted(canonical=poses[:, 0], maps=maps)
    # The first pose is in the turned camera's axes, the second in its own. The rotation follows
    # from the two (`complete`): estimated by itself it would not agree with them.
    camera = jax.vmap(canonical.from_canonical)(poses[:, 0], turn)
    return Lifted(camera=camera, canonical=poses[:, 1] if kind.viewpoint else None, maps=maps)

  return forward


def describe(config: ml_collections.ConfigDict, kind: Kind) -> dict[str, Any]:
  """What a checkpoint's weights depend on; stored with it and compared on restore."""
  options = config.lifting
  meta = {"lifter": options.lifter, "flip": options.flip}
  meta |= skeletons.describe(skeletons.of_model(config.model))
  if options.lifter == "residual":
    meta |= {"width": options.width, "num_blocks": options.num_blocks}
  elif kind.sees == "joints":
    meta |= {"heatmap_size": options.heatmap_size, "heatmap_layout": options.heatmap_layout}
  described = {"task": config.task, "lifting": meta}
  if kind.sees != "joints":
    model = config.model
    described["model"] = {"backbone_depth": model.backbone_depth, "width": model.width}
    if kind.sees != "features":
      described["model"]["deconv_channels"] = model.deconv_channels
    if kind.sees == "fused":
      described["model"]["fusion"] = {"merge": model.fusion.merge}
    if config.parity.bgr:
      described["parity"] = {"bgr": True}
  return described


def _lifter(
  options: ml_collections.ConfigDict, num_joints: int, kind: Kind, dtype: Any
) -> nn.Module:
  if task.choose({"original": 0, "residual": 1}, options.lifter, "lifting.lifter"):
    if kind.sees == "features":
      raise ValueError(
        "lifting.lifter 'residual' lifts joints, and img_lifting_rot has none: choose task "
        "keypoint_lifting_rot, which finds them in the same images"
      )
    return lifting.ResidualLifter(
      num_joints,
      num_frames=1 + kind.viewpoint,
      width=options.width,
      num_blocks=options.num_blocks,
      dropout=options.dropout,
      dtype=dtype,
    )
  if kind.sees == "features":
    return lifting.FeatureLifter(num_joints)
  return lifting.HeatmapLifter(num_joints, pool=kind.pool, viewpoint=kind.viewpoint, dtype=dtype)
