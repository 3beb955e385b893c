"""A learnt prior of human poses for two cameras, where nothing else contradicts a wrong view.

What the network of `body_network` makes of both rays of every joint takes the place of the
triangulated points. The result turns and moves with the cameras. It is trained on simulated poses
and cameras with a detector's errors, by `data.synthetic.bake_prior`.
"""

import dataclasses
import functools
import pathlib
from typing import Any

import jax
import numpy as np

from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.keypoints import npz
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.triangulation import body_network
from epipolar_jax.triangulation.body_network import SKELETON, Params
from epipolar_jax.triangulation.estimate import Estimate

SHIPPED = pathlib.Path(__file__).parents[1] / "shipped" / "body_prior" / "weights.npz"

_FORM = 1
_ROWS = 256  # frames and people at a time, so that one program is compiled
_FROM_M = 1000.0


@dataclasses.dataclass(frozen=True, eq=False)
class BodyPrior:
  """The network and how large its errors are.

  Attributes:
    params: of `body_network.predict`.
    scale: by which its standard deviations are multiplied for 68 % of errors to lie within one;
      fitted on a validation split.
  """

  params: Params
  scale: float

  def apply(
    self, estimate: Estimate, observations: Observations, cameras: Cameras
  ) -> tuple[Estimate, np.ndarray]:
    """The estimate with points and covariances that the prior had a part in.

    Joints that are not valid stay so. Joints that the prior does not know, and people in frames
    without both hips and both shoulders, stay as they are.

    Args:
      estimate: of the observations.
      observations: of two views, undistorted px, as they were detected: each view by itself.
      cameras: [2], in the order of the views, mm.

    Returns:
      The estimate and where it was changed, bool [f, p, j].

    Raises:
      ValueError: as of `check`.
    """
    check(estimate.joints, estimate.views)
    known, order = _order(estimate.joints)
    frames, people = estimate.valid.shape[:2]
    rows = frames * people
    points = observations.points.reshape(rows, 2, -1, 2)[:, :, order]
    score = observations.score.reshape(rows, 2, -1)[:, :, order]
    valid = estimate.valid.reshape(rows, -1)[:, order] & known
    usable = valid[:, [SKELETON.index(name) for name in body_network.TORSO]].all(axis=1)
    seen = np.isfinite(points).all(-1) & (score > 0) & (valid & usable[:, None])[:, None]
    to_plane = np.linalg.inv(np.asarray(cameras.intrinsics, np.float64))
    lifted = np.concatenate([points, np.ones((*points.shape[:-1], 1))], axis=-1)
    xy = np.einsum("vab,nvjb->nvja", to_plane, np.where(seen[..., None], lifted, 1.0))[..., :2]
    rotation = np.asarray(cameras.rotation, np.float64)
    centres = -np.einsum("vab,va->vb", rotation, np.asarray(cameras.translation, np.float64))
    origin = centres.mean(axis=0)
    found, covariance = _in_blocks(
      self.params, xy, np.clip(score, 0.0, 1.0), seen, rotation, (centres - origin) / _FROM_M
    )
    changed = valid & usable[:, None] & np.isfinite(found).all(-1)
    new_points = estimate.points.reshape(rows, -1, 3).copy()
    new_covariance = estimate.covariance.reshape(rows, -1, 3, 3).copy()
    row, joint = np.nonzero(changed)
    new_points[row, order[joint]] = found[row, joint] * _FROM_M + origin
    new_covariance[row, order[joint]] = covariance[row, joint] * (_FROM_M * self.scale) ** 2
    new_points = new_points.reshape(estimate.points.shape)
    touched = np.zeros((rows, len(estimate.joints)), bool)
    touched[row, order[joint]] = True
    touched = touched.reshape(estimate.valid.shape)
    return dataclasses.replace(
      estimate,
      points=new_points,
      covariance=new_covariance.reshape(estimate.covariance.shape),
      reprojection_px=_reprojection(estimate, new_points, touched, observations, cameras),
    ), touched

  def write(self, path: pathlib.Path) -> None:
    """Writes it as an npz of half precision."""
    arrays = {"form": np.int64(_FORM), "scale": np.float64(self.scale)}
    for name, layer in self.params.items():
      arrays |= {f"{name}/{i}": np.asarray(x, np.float16) for i, x in enumerate(layer)}
    np.savez_compressed(path, **arrays)


def check(joints: tuple[str, ...], views: tuple[str, ...]) -> None:
  """Raises ValueError unless there are two views, and hips and shoulders among the joints."""
  if len(views) != 2:
    raise ValueError(
      f"the body prior is for two cameras, and there are {len(views)} ({', '.join(views)}): leave "
      "it out, more cameras correct each other"
    )
  if missing := [name for name in body_network.TORSO if name not in joints]:
    raise ValueError(
      f"the body prior is for people and needs hips and shoulders: there is no "
      f"{', '.join(missing)} among the joints {', '.join(joints)}"
    )


@functools.cache
def shipped() -> BodyPrior:
  """The prior that comes with the software."""
  return read(SHIPPED)


def read(path: pathlib.Path) -> BodyPrior:
  """What `BodyPrior.write` wrote.

  Raises:
    ValueError: it is no such file; names it.
  """
  names = npz.names(path)
  found = npz.read(path, names)
  try:
    if int(found.pop("form")) != _FORM:
      raise ValueError(f"it is not of form {_FORM}")
    scale = float(found.pop("scale"))
    layers: dict[str, dict[int, np.ndarray]] = {}
    for name, array in found.items():
      layer, _, index = name.partition("/")
      layers.setdefault(layer, {})[int(index)] = np.asarray(array, np.float32)
    params = {name: tuple(x[i] for i in range(len(x))) for name, x in layers.items()}
    width, blocks = params["in"][1].shape[0], len(params) - 2
    shapes = jax.eval_shape(
      lambda: body_network.init(jax.random.key(0), width=width, blocks=blocks)
    )
    if jax.tree.map(np.shape, params) != jax.tree.map(lambda x: x.shape, shapes):
      raise ValueError("the layers have other shapes")
    if not all(np.isfinite(x).all() for x in jax.tree.leaves(params)) or not 0 < scale < np.inf:
      raise ValueError("a number is not finite")
  except (ValueError, KeyError, TypeError, IndexError) as error:
    raise ValueError(
      f"{path} is no body prior ({error}): make it again with python -m data.synthetic.bake_prior"
    ) from error
  return BodyPrior(params, scale)


def _in_blocks(params, xy, score, seen, rotation, centres) -> tuple[np.ndarray, np.ndarray]:
  """`body_network.symmetric` of any number of rows before the same two cameras; float64."""
  total = len(xy)
  points = np.zeros((total, SKELETON.num_joints, 3))
  covariance = np.zeros((*points.shape, 3))
  cameras = [np.broadcast_to(np.float32(x), (_ROWS, *np.shape(x))) for x in (rotation, centres)]
  for start in range(0, total, _ROWS):
    rows: list[Any] = []
    for array in (np.float32(xy), np.float32(score), seen):
      part = array[start : start + _ROWS]
      rows.append(np.pad(part, [(0, _ROWS - len(part))] + [(0, 0)] * (part.ndim - 1)))
    found = body_network.symmetric(params, *rows, *cameras)
    stop = min(start + _ROWS, total)
    points[start:stop], covariance[start:stop] = (np.asarray(x)[: stop - start] for x in found)
  return points, covariance


def _order(joints: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
  """Which of the prior's joints are there, and their places (0 where not)."""
  known = np.array([name in joints for name in SKELETON.joints])
  places = [joints.index(name) if name in joints else 0 for name in SKELETON.joints]
  return known, np.array(places)


def _reprojection(estimate, points, changed, observations, cameras) -> np.ndarray:
  """Reprojection errors [f, p, v, j] px of the points that were changed, the others as before."""
  r, t = np.asarray(cameras.rotation, np.float64), np.asarray(cameras.translation, np.float64)
  x = np.einsum("vab,fpjb->fpvja", r, points) + t[:, None]
  in_front = np.where(np.abs(x[..., 2:]) > 1e-9, x, 1.0)
  k = np.asarray(cameras.intrinsics, np.float64)
  uv = np.einsum("vab,fpvjb->fpvja", k, in_front / in_front[..., 2:])[..., :2]
  off = np.linalg.norm(uv - observations.points, axis=-1)
  known = changed[:, :, None] & np.isfinite(estimate.reprojection_px)
  return np.where(known, off, estimate.reprojection_px)
