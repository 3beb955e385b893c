"""Recordings in the place of the reader's own, by the names that the pages give them."""

import dataclasses
import pathlib
import shutil

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation, Slerp

from data.synthetic import clip
from epipolar_jax import skeletons
from epipolar_jax.calibration import boards
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.keypoints import joint_sets, writing
from epipolar_jax.keypoints.observations import Observations
from epipolar_jax.rigs import lenses
from epipolar_jax.rigs.rig import Rig
from epipolar_jax.visualize import film
from tests import walkers
from tests.calibration import rendered

FILMED = frozenset(
  {f"{start}cam{i}.mp4" for i in (1, 2, 3, 4) for start in ("", "day1/", "day2/", "session_")}
  | {f"{start}cam{i}.csv" for i in (1, 2, 3, 4) for start in ("day1/", "session_")}
  | {f"{folder}calibration.toml" for folder in ("", "day1/", "day2/")}
  | {"better.toml"}
)
SESSION = frozenset(
  {f"session_cam{i}.csv" for i in (1, 2, 3, 4)}
  | {f"pose/cam0{i}_json" for i in (1, 2, 3, 4)}
  | {"calibration.toml", "Calib.toml", "intrinsics.toml", "board_cameras.toml", "xy_CHARUCO.csv"}
  | {f"board/cam{i}.mp4" for i in (0, 1, 2)}
)
_FRAMES, _TURN = 48, 1.0
# Half of a standing person of 1.72 m, mm: to its left, forward, up; and how far a joint swings.
_NOSE = (0, 90, 1600)
_LEFT = {
  "eye": (30, 80, 1630),
  "ear": (75, 0, 1610),
  "shoulder": (180, 0, 1420),
  "elbow": (250, 0, 1140),
  "wrist": (260, 100, 900),
  "hip": (100, 0, 930),
  "knee": (105, 20, 500),
  "ankle": (110, -10, 90),
}
_SWING = {"elbow": 120, "wrist": 250, "knee": -120, "ankle": -250}
# COCO's order: left and right of every part.
_JOINTS = ("nose", *(f"{side}_{part}" for part in _LEFT for side in ("left", "right")))


def turned(rig: Rig, degrees: float, seed: int = 0) -> Rig:
  """The rig with each camera but the first turned about a random axis through its centre."""
  rng = np.random.default_rng(seed)
  small = rng.normal(size=(len(rig.names), 3))
  small *= np.radians(degrees) / np.linalg.norm(small, axis=-1, keepdims=True)
  small[0] = 0
  turns = Rotation.from_rotvec(small).as_matrix()
  r, t = turns @ rig.cameras.rotation, np.einsum("vij,vj->vi", turns, rig.cameras.translation)
  cameras = Cameras(rig.cameras.intrinsics, r, t)
  return Rig(rig.names, rig.sizes_wh, rig.lenses, cameras, rig.unit_mm)


def film_a_person(folder: pathlib.Path) -> None:
  """Videos of a rendered person, a calibration that is a degree off, and 2D labels."""
  clip.write(folder, frames=_FRAMES, views=4, hide=0, seed=0)
  (folder / "truth.npz").rename(folder / "truth_of_the_stand_in.npz")
  exact = Rig.read(folder / "calibration.json")
  exact.write(folder / "better.toml", "aniposelib")
  turned(exact, _TURN).write(folder / "calibration.toml", "aniposelib")
  joints = np.load(folder / "truth_of_the_stand_in.npz")["joints_3d"]
  for day in ("day1", "day2"):
    (folder / day).mkdir(exist_ok=True)
    exact.write(folder / day / "calibration.toml", "aniposelib")
    for name in exact.names:
      (folder / day / f"{name}.mp4").write_bytes((folder / f"{name}.mp4").read_bytes())
  seen = walkers.observed(joints, exact, noise_px=0.5)
  seen = Observations(seen.points, seen.score, skeletons.H36M_17.joints, exact.names)
  for view, name in enumerate(exact.names):
    writing.write(folder / "day1" / f"{name}.csv", _of(seen, view), "deeplabcut")
    writing.write(folder / f"session_{name}.csv", _of(seen, view), "deeplabcut")
    (folder / f"session_{name}.mp4").write_bytes((folder / f"{name}.mp4").read_bytes())


def record_a_session(folder: pathlib.Path) -> None:
  """Keypoints of a walking person and of a board, the board's videos, and their calibrations."""
  exact = _ring()
  turned(exact, _TURN).write(folder / "calibration.toml", "aniposelib")
  named = dataclasses.replace(turned(exact, _TURN), names=tuple(f"cam0{i}" for i in (1, 2, 3, 4)))
  named.write(folder / "Calib.toml", "pose2sim")
  exact.write(folder / "intrinsics.toml", "aniposelib")
  seen = _walk(exact)
  for view, name in enumerate(seen.views):
    writing.write(folder / f"session_{name}.csv", _of(seen, view), "deeplabcut")
  shutil.rmtree(folder / "pose", ignore_errors=True)
  (folder / "pose").mkdir()
  names = joint_sets.JOINT_SETS["BODY_25B"]
  more = ((0, 0), (0, 0), (0, 0), (0, len(names) - len(_JOINTS)))
  points = np.pad(seen.points, (*more, (0, 0)), constant_values=np.nan)
  whole = Observations(points, np.pad(seen.score, more), names, seen.views)
  for view, name in enumerate(seen.views):
    writing.write(folder / "pose" / f"{name[:3]}0{name[3:]}_json", _of(whole, view), "openpose")
  _board_keypoints(folder)
  _board_videos(folder / "board")


def _ring() -> Rig:
  """Four cameras of 1920 x 1080 px around the person."""
  ring = walkers.ring(4, lens=lenses.OpenCV((-0.05, 0.01, 0.0, 0.0)))
  k = np.array([[1500.0, 0, 959.5], [0, 1500, 539.5], [0, 0, 1]])
  cameras = Cameras(np.stack([k] * 4), ring.cameras.rotation, ring.cameras.translation)
  names = tuple(f"cam{i}" for i in (1, 2, 3, 4))
  return Rig(names, ((1920, 1080),) * 4, ring.lenses, cameras, 1.0)


def _walk(rig: Rig) -> Observations:
  """Eight seconds on a circle with 2 px of noise; the second camera is three frames late."""
  late = 3
  time = np.arange(240 + late)[:, None] / 20
  sides = np.array([0, *(1, -1) * len(_LEFT)])
  body = np.array([_NOSE, *(x for x in _LEFT.values() for _ in "lr")], np.float64)
  body[:, 0] *= np.where(sides, sides, 1)
  swing = np.array([0, *(_SWING.get(part, 0) for part in _LEFT for _ in "lr")]) * sides
  points = np.tile(body, (len(time), 1, 1))
  points[:, :, 1] += np.sin(3 * time) * swing
  turns = Rotation.from_rotvec(np.array([0, 0, 0.5]) * time).as_matrix()
  path = 400 * np.concatenate([np.sin(time / 2), np.cos(time / 2), 0 * time], axis=-1)
  seen = walkers.observed(points @ turns.swapaxes(1, 2) + path[:, None], rig, noise_px=2.0)
  found = seen.points[late:].copy()
  found[:, :, 1] = seen.points[:-late, :, 1]
  return Observations(found, seen.score[late:], _JOINTS, rig.names)


def _board_keypoints(folder: pathlib.Path) -> None:
  """Caliscope's csv of a moving board of 4 x 5 squares, and cameras that are half a degree off."""
  rig, grid = rendered.rig(4), boards.Grid(4, 5, 54.0)
  layout = boards.corners(grid.text, tuple(map(str, range(grid.inner))))
  turns, shifts = zip(*rendered.poses(9, grid))
  times, frames = 15 * np.arange(len(turns)), np.arange(15 * (len(turns) - 1))
  turns = Slerp(times, Rotation.from_matrix(np.stack(turns)))(frames).as_matrix()
  shifts = CubicSpline(times, np.stack(shifts))(frames)
  rows = ["sync_index,cam_id,object_id,keypoint_id,img_loc_x,img_loc_y"]
  for frame, pose in enumerate(zip(turns, shifts)):
    for view in range(4):
      uv = rendered.corners(view, layout, *pose, views=4)
      rows += [f"{frame},{view},0,{i},{u:.3f},{v:.3f}" for i, (u, v) in enumerate(uv)]
  (folder / "xy_CHARUCO.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
  named = Rig(tuple("0123"), rig.sizes_wh, rig.lenses, rig.cameras, 1.0)
  turned(named, 0.5).write(folder / "board_cameras.toml", "aniposelib")


def _board_videos(folder: pathlib.Path) -> None:
  folder.mkdir(exist_ok=True)
  grid = boards.Grid(6, 5, 60.0)
  paper = rendered.charuco(grid, 0, 45.0)
  poses = rendered.poses(20, grid)
  for view in range(3):
    images = (np.stack([rendered.image(view, paper, grid, *p)] * 3, axis=-1) for p in poses)
    film.write_mp4(folder / f"cam{view}.mp4", images, fps=10)


def _of(seen: Observations, view: int) -> Observations:
  one = slice(view, view + 1)
  return Observations(seen.points[:, :, one], seen.score[:, :, one], seen.joints, seen.views[one])
