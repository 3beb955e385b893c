"""Joints in 3D from one view: bodies and hands, from 2D joints, images or estimated heatmaps.

Coordinates are relative to the root. Networks work in units of a reference bone, whose true length
gives the millimetres back, as in the original; so nothing here says how tall a person is.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from epipolar_jax import heatmaps, losses, models, skeletons
from epipolar_jax.geometry import affine, cameras, canonical, linalg, sampling
from epipolar_jax.models import lifting, pose_resnet, resnet
from epipolar_jax.tasks import task


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


class Frame(NamedTuple):
  """The joints that give a pose its origin, its unit and its own axes."""

  root: int
  bone: tuple[int, int]
  align: int
  side: int


class Truth(NamedTuple):
  """What the labels say of one pose in one camera.

  Attributes:
    camera: [j, 3], root-relative, in bone units, in the camera's axes.
    canonical: [j, 3], in the pose's own axes.
    rotation: [3, 3], camera = canonical @ rotation.
    scale: [], mm, length of the reference bone.
  """

  camera: jax.Array
  canonical: jax.Array
  rotation: jax.Array
  scale: jax.Array


class Seen(NamedTuple):
  """What the network is shown of n = b·v views; fields that a task does not use are None.

  Attributes:
    uv: [n, j, 2] true joints, network px.
    visible: [n, j] bool.
    side: [n], 1 for a right hand.
    images: [b, v, h, w, 3], normalised.
    cameras: K of the network input [b, v, 3, 3], R [b, v, 3, 3], t [b, v, 3].
  """

  uv: jax.Array
  visible: jax.Array
  side: jax.Array | None
  images: jax.Array | None
  cameras: tuple[jax.Array, jax.Array, jax.Array]


class Lifted(NamedTuple):
  """What is said of n views; None what is not.

  Attributes:
    camera: [n, j, 3], the pose in the camera's axes.
    canonical: [n, j, 3], in its own axes.
    rotation: [n, 3, 3], from these to the camera's.
    maps: [n, h, w, j], the network's heatmaps.
  """

  camera: jax.Array | None = None
  canonical: jax.Array | None = None
  rotation: jax.Array | None = None
  maps: jax.Array | None = None


def frame_of(skeleton: skeletons.Skeleton) -> Frame:
  """Origin, unit and axes of a skeleton's poses."""
  if skeleton is skeletons.RHD_21:
    base = skeleton.index("middle4")
    return Frame(0, (base, skeleton.index("middle3")), base, skeleton.index("pinky4"))
  neck = skeleton.index("neck")
  return Frame(skeleton.root, (neck, skeleton.root), neck, skeleton.index("lhip"))


def build(config: ml_collections.ConfigDict, axis_name: str | None) -> task.Task:
  """The task of a config whose `task` is one of `KINDS`; arguments as of `tasks.build`.

  Raises:
    ValueError: an option that is unknown, or does not go with the task.
  """
  kind = KINDS[config.task]
  skeleton = skeletons.by_num_joints(config.model.num_joints)
  frame, hands = frame_of(skeleton), skeleton is skeletons.RHD_21
  size = config.data.image_size
  network = _network(config, kind, axis_name)
  forward = nn.apply(_forward(config, kind), network, mutable=["batch_stats"])
  forward_eval = nn.apply(_forward(config, kind), network)
  compare = task.choose({"mse": _mse, "l1": _l1}, config.lifting.loss, "lifting.loss")
  joint_loss = functools.partial(_heatmap_loss, sigma=config.heatmap.sigma)
  axes_of = functools.partial(canonical.canonical_frame, align=frame.align, side=frame.side)

  def see(batch: task.Batch) -> Seen:
    intrinsics = jax.vmap(jax.vmap(cameras.crop_intrinsics))(batch["crop"], batch["intrinsics"])
    uv = jax.vmap(jax.vmap(affine.apply))(batch["crop"], batch["joints_2d"])
    inside = jnp.all((uv >= 0) & (uv < size), -1)
    views = uv.shape[1]
    images = None
    if kind.sees != "joints":
      images = task.normalize_images(batch["image"], bgr=config.parity.bgr)
    return Seen(
      uv=_flat(uv),
      visible=_flat(inside & batch["visible"]),
      side=jnp.repeat(batch["hand_side"], views) if hands else None,
      images=images,
      cameras=(intrinsics, batch["rotation"], batch["translation"]),
    )

  def truth(batch: task.Batch, seen: Seen) -> Truth:
    points = jnp.repeat(batch["joints_3d"], batch["rotation"].shape[1], axis=0)
    rotation, translation = _flat(batch["rotation"]), _flat(batch["translation"])
    found = jax.vmap(functools.partial(describe, frame=frame))(points, rotation, translation)
    return found._replace(canonical=mirrored(found.canonical, seen))

  def mirrored(canonical_pose: jax.Array, seen: Seen) -> jax.Array:
    """Right hands as left ones and back, with `lifting.flip`; [n j 3] in the pose's own axes."""
    if not (hands and config.lifting.flip):
      return canonical_pose
    return _where(seen.side == 1, jax.vmap(canonical.mirror)(canonical_pose), canonical_pose)

  def complete(lifted: Lifted, seen: Seen) -> Lifted:
    """With a viewpoint, adds what follows from what the network says."""
    if not kind.viewpoint:
      return lifted
    if lifted.camera is None:
      own = mirrored(lifted.canonical, seen)
      return lifted._replace(camera=jax.vmap(canonical.from_canonical)(own, lifted.rotation))
    own, rotation = jax.vmap(axes_of)(lifted.camera)
    return lifted._replace(canonical=mirrored(own, seen), rotation=rotation)

  @jax.jit
  def init(key: jax.Array) -> task.Variables:
    seen = see(_blank(size, skeleton.num_joints, images=kind.sees != "joints"))
    variables = nn.init(_forward(config, kind), network)(key, seen, None, train=False)
    return {"params": variables["params"], "batch_stats": variables.get("batch_stats", {})}

  def loss(variables: task.Variables, batch: task.Batch, key: jax.Array):
    seen = see(batch)
    count, views = batch["rotation"].shape[:2]
    keys = task.frame_keys(key, count, axis_name=axis_name)
    keys = _flat(jax.vmap(lambda k: jax.random.split(k, views))(keys))
    lifted, updated = forward(variables, seen, keys, train=True)
    values = compare(lifted, complete(lifted, seen).camera, truth(batch, seen), seen)
    if lifted.maps is not None and config.lifting.heatmap_weight:
      maps = jnp.moveaxis(lifted.maps, -1, 1)
      of_joints = jax.vmap(jax.vmap(joint_loss))(maps, seen.uv) * seen.visible
      values = values + config.lifting.heatmap_weight * jnp.mean(of_joints, axis=1)
    weight = jnp.repeat(batch["valid"], views).astype(jnp.float32)
    return jnp.sum(values * weight), jnp.sum(weight), updated.get("batch_stats", {})

  def predict(variables: task.Variables, batch: task.Batch) -> dict[str, jax.Array]:
    seen = see(batch)
    lifted = complete(forward_eval(variables, seen, None, train=False), seen)
    wanted = truth(batch, seen)
    scale = wanted.scale[:, None, None]
    shape = batch["rotation"].shape[:2]
    out = {}
    if lifted.canonical is not None:
      out["canonical"] = lifted.canonical * scale
      out["canonical_truth"] = wanted.canonical * scale
    if lifted.camera is not None:
      out["camera"] = lifted.camera * scale
      out["camera_truth"] = wanted.camera * scale
      to_world = functools.partial(jax.vmap(canonical.to_world), rotation=_flat(batch["rotation"]))
      out["world"], out["world_truth"] = to_world(out["camera"]), to_world(out["camera_truth"])
    if lifted.rotation is not None:
      off = jax.vmap(canonical.angle_between)(lifted.rotation, wanted.rotation)
      out["rotation_error_deg"] = off * (180.0 / jnp.pi)
    out = {name: x.reshape(*shape, *x.shape[1:]) for name, x in out.items()}
    if "world_truth" in out:
      out["world_truth"] = out["world_truth"][:, 0]  # the same of every view
    return out

  return task.Task(init, loss, predict, _describe(config, kind))


def describe(
  points: jax.Array, rotation: jax.Array, translation: jax.Array, *, frame: Frame
) -> Truth:
  """The labels of one pose in one camera.

  Args:
    points: [j, 3] mm, world.
    rotation: [3, 3], R_cw.
    translation: [3] mm, t_cw.
    frame: of the skeleton.
  """
  x_c = cameras.to_camera(points, rotation, translation)
  relative = x_c - x_c[frame.root][None]
  scale = linalg.safe_norm(x_c[frame.bone[0]] - x_c[frame.bone[1]])
  unit = linalg.safe_divide(relative, scale)
  own, turn = canonical.canonical_frame(unit, align=frame.align, side=frame.side)
  return Truth(unit, own, turn, scale)


def joint_heatmaps(
  uv: jax.Array, visible: jax.Array, *, image_size: int, map_size: int, sigma: float, layout: str
) -> jax.Array:
  """Heatmaps of true joints as the original shows them to its lifting networks: floor 0.01.

  Args:
    uv: [j, 2], network px.
    visible: [j]; the maps of other joints are zero.
    image_size: side of the network input, px.
    map_size: side of the maps.
    sigma: of the Gaussian, network px.
    layout: "crop": the maps cover the network input. "reference": the original's maps of hands,
      whose rows and columns are exchanged and whose pixels are 4 px wide whatever the size.

  Returns:
    [h, w, j].

  Raises:
    ValueError: another layout.
  """
  stride = image_size / map_size
  task.choose({"crop": 0, "reference": 0}, layout, "lifting.heatmap_layout")
  if layout == "reference":
    uv, stride = uv[:, ::-1], 4
  draw = functools.partial(
    heatmaps.gaussian_target, size_hw=(map_size, map_size), stride=stride, sigma=sigma, floor=True
  )
  return jnp.moveaxis(jax.vmap(draw)(uv), 0, -1) * visible.astype(uv.dtype)[None, None]


def normalise(
  uv: jax.Array, visible: jax.Array, intrinsics: jax.Array, *, size: int
) -> tuple[jax.Array, jax.Array]:
  """2D joints as a camera would see them that looks at the middle of the crop.

  Args:
    uv: [j, 2], network px.
    visible: [j] bool, or weights in [0, 1].
    intrinsics: [3, 3], K of the network input.
    size: side of the network input, px.

  Returns:
    inputs: [3 j + 1], coordinates (1 at the crop's border, 0 where not visible), visibilities, and
      the logarithm of the crop's angular size.
    turn: [3, 3], the turned camera's axes seen from the camera: x_turned = turn x_c.
  """
  middle = jnp.array([[0.5, 0.5], [1.0, 0.5]], uv.dtype) * (size - 1)
  center, edge = cameras.to_normalized(middle, intrinsics)
  turn = canonical.turn_to(jnp.append(center, 1.0))
  half = linalg.safe_norm(edge - center)
  xy = cameras.to_normalized(uv, intrinsics)
  rays = linalg.einsum("ij,nj->ni", turn, jnp.append(xy, jnp.ones_like(xy[:, :1]), axis=1))
  flat = linalg.safe_divide(linalg.safe_divide(rays[:, :2], rays[:, 2:]), half)
  visible = visible.astype(uv.dtype)
  extra = jnp.append(visible, jnp.log(jnp.maximum(half, 1e-3)))
  return jnp.append((flat * visible[:, None]).reshape(-1), extra), turn


def _network(
  config: ml_collections.ConfigDict, kind: Kind, axis_name: str | None
) -> lifting.LiftingNet:
  """The lifter, and the network before it."""
  model, options = config.model, config.lifting
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
      num_joints=model.num_joints,
      deconv_channels=model.deconv_channels,
      head_init_std=model.head_init_std,
      **trunk,
    )
  elif kind.sees == "fused":
    backbone = models.build(model, config.parity, axis_name=axis_name)
  return lifting.LiftingNet(_lifter(options, model.num_joints, kind, dtype), backbone)


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
      width=options.width,
      num_blocks=options.num_blocks,
      dropout=options.dropout,
      dtype=dtype,
    )
  if kind.sees == "features":
    return lifting.FeatureLifter(num_joints)
  return lifting.HeatmapLifter(num_joints, pool=kind.pool, viewpoint=kind.viewpoint, dtype=dtype)


def _forward(config: ml_collections.ConfigDict, kind: Kind) -> Callable[..., Lifted]:
  """The function that `nn.apply` runs: (network, seen, dropout keys [n], train) -> `Lifted`."""
  size, sigma = config.data.image_size, config.heatmap.sigma
  residual = config.lifting.lifter == "residual"
  draw = functools.partial(
    joint_heatmaps,
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
    network: lifting.LiftingNet, seen: Seen, keys: jax.Array | None, *, train: bool
  ) -> Lifted:
    maps = features = None
    if kind.sees == "features":
      pooled = jnp.mean(network.backbone(_flat(seen.images), train=train), (1, 2))
      return said(*network.lifter(pooled, seen.side, keys))
    if kind.sees == "heatmaps":
      early = network.backbone.early(_flat(seen.images), train=train)
      features = network.backbone.late(early, train=train)
      maps = network.backbone.heatmaps(features)
    elif kind.sees == "fused":
      maps = _flat(network.backbone(seen.images, *seen.cameras, train=train)["heatmaps"])
    if not residual:
      shown = jax.vmap(draw)(seen.uv, seen.visible) if maps is None else maps
      return said(*network.lifter(shown, seen.side, keys), maps)

    uv, weight = seen.uv, seen.visible
    if maps is not None:
      # The heatmaps learn from the 2D labels alone: the lifter's gradient would blur them.
      uv, weight = jax.vmap(jax.vmap(decode))(jax.lax.stop_gradient(jnp.moveaxis(maps, -1, 1)))
    read = functools.partial(normalise, size=size)
    shown, turn = jax.vmap(read)(uv, weight, _flat(seen.cameras[0]))
    if features is not None:
      at = heatmaps.image_to_map(uv, stride=models.STRIDE)
      looks = jax.vmap(sampling.bilinear)(features, at)
      shown = jnp.append(shown, looks.reshape(len(looks), -1).astype(shown.dtype), axis=1)
    coordinates = network.lifter(shown, seen.side, keys)
    if kind.canonical and not kind.viewpoint:
      return Lifted(canonical=coordinates, maps=maps)
    # It speaks of the turned camera. A viewpoint follows from the pose (`complete`): estimated
    # apart, the two would not agree.
    return Lifted(camera=jax.vmap(canonical.from_canonical)(coordinates, turn), maps=maps)

  return forward


def _mse(lifted: Lifted, camera: jax.Array | None, truth: Truth, seen: Seen) -> jax.Array:
  """The original's loss of each view, [n]: mean squares of what the network says, invisible joints
  as zeros."""
  del camera
  pose, wanted = _pose(lifted, truth)
  values = jnp.mean(jnp.square((pose - wanted) * seen.visible[:, :, None]), (1, 2))
  if lifted.rotation is not None:
    values = values + jnp.mean(jnp.square(lifted.rotation - truth.rotation), (1, 2))
  return values


def _l1(lifted: Lifted, camera: jax.Array | None, truth: Truth, seen: Seen) -> jax.Array:
  """Mean absolute differences of each view, [n], of all joints: hidden ones have labels too.

  Where the network says a rotation, also of that and of what both give together.
  """
  del seen
  pose, wanted = _pose(lifted, truth)
  values = jnp.mean(jnp.abs(pose - wanted), (1, 2))
  if lifted.rotation is not None:
    values = values + jnp.mean(jnp.abs(lifted.rotation - truth.rotation), (1, 2))
    values = values + jnp.mean(jnp.abs(camera - truth.camera), (1, 2))
  return values


def _pose(lifted: Lifted, truth: Truth) -> tuple[jax.Array, jax.Array]:
  """The pose as the network says it, and the true one in the same frame."""
  if lifted.camera is None:
    return lifted.canonical, truth.canonical
  return lifted.camera, truth.camera


def _heatmap_loss(heatmap: jax.Array, uv: jax.Array, *, sigma: float) -> jax.Array:
  """Cross-entropy of one heatmap [h w] against a Gaussian at uv [2] network px, []."""
  target = heatmaps.gaussian_target(uv, size_hw=heatmap.shape, stride=models.STRIDE, sigma=sigma)
  return losses.heatmap_cross_entropy(heatmap.astype(jnp.float32), target)


def _describe(config: ml_collections.ConfigDict, kind: Kind) -> dict[str, Any]:
  """What a checkpoint's weights depend on; stored with it and compared on restore."""
  options = config.lifting
  meta = {"lifter": options.lifter, "flip": options.flip, "num_joints": config.model.num_joints}
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


def _blank(size: int, num_joints: int, *, images: bool) -> dict[str, jax.Array]:
  """A batch of one frame in two views, to initialise with."""
  eye = jnp.broadcast_to(jnp.eye(3), (1, 2, 3, 3))
  batch = {
    "crop": eye[:, :, :2],
    "intrinsics": eye,
    "rotation": eye,
    "translation": jnp.array([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]]),
    "joints_2d": jnp.zeros((1, 2, num_joints, 2)),
    "visible": jnp.ones((1, 2, num_joints), bool),
    "hand_side": jnp.zeros(1),
  }
  return batch | ({"image": jnp.zeros((1, 2, size, size, 3), jnp.uint8)} if images else {})


def _flat(x: jax.Array) -> jax.Array:
  """[b v ...] to [b·v ...]."""
  return x.reshape(-1, *x.shape[2:])


def _where(condition: jax.Array, yes: jax.Array, no: jax.Array) -> jax.Array:
  """`yes` [n j 3] in the items where condition [n] holds."""
  return jnp.where(condition[:, None, None], yes, no)
