"""A short recording to try `epipolar predict` on: videos, a calibration and the true joints.

python -m data.synthetic.clip --output runs/clip [--frames 32] [--hide 1] [--seed 0]

A rendered person in everyday clothes moves in a room before calibrated cameras; with `--hide` a
pillar or a cupboard stands before some of them. Videos and calibration are what a laboratory has;
truth.npz is for judging.
"""

import argparse
import pathlib
from collections.abc import Sequence

import jax
import numpy as np
from tqdm import tqdm

from data.synthetic import furniture, motion, options, scene
from data.synthetic import rig as rig_lib
from data.synthetic import room as room_lib
from epipolar_jax.geometry.cameras import Cameras
from epipolar_jax.rigs import lenses
from epipolar_jax.rigs import rig as rigs
from epipolar_jax.visualize import film

_SIZE = 400
_FPS = 25
# The drawn field in sides of the person's box of 2 m.
_MARGIN = 1.5
_SPLIT = "test"


class Recorder(scene.Generator):
  """Draws consecutive moments of one person before fixed cameras.

  Args:
    num_views: cameras.
    seed: of everything.
  """

  def __init__(self, *, num_views: int = 4, seed: int = 0):
    super().__init__(
      options.Options(
        num_views=num_views, image_size=_SIZE, suits=0.0, seed=seed, margin=_MARGIN, train_rigs=3
      )
    )

  def cameras(self) -> rig_lib.Rig:
    """Of the whole recording."""
    rig, _ = self._set(_SPLIT, 0)
    return self.aim(rig, np.array([0.0, 0.0, 900.0]))[0]

  def moments(self, frames: int, hide: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images [v, s, s, 3] uint8 and joints [17, 3] mm of each frame.

    Args:
      frames: at 25 a second.
      hide: cameras that a large object stands before.

    Raises:
      ValueError: no clip is so long.
    """
    rng = self._rng(_SPLIT, "clip")
    texture, thickness, shape = self._look(_SPLIT, 0)
    _, room = self._set(_SPLIT, 0)
    rig = self.cameras()
    clips = [c for c in self._motion.split(_SPLIT) if c.frames / c.fps >= frames / _FPS]
    if not clips:
      raise ValueError(f"no motion clip lasts {frames} frames at {_FPS} a second")
    clip = max(clips, key=lambda c: c.rotations.std(axis=0).sum())
    light = room_lib.sample_light(rng, self.options.light_range)
    heading = rng.uniform(0, 2 * np.pi)
    bodies = [
      self._body_at(clip, index / _FPS, shape, thickness, heading) for index in range(frames)
    ]
    middle = np.asarray(bodies[frames // 2][2], np.float64)
    hidden = rng.permutation(self.options.num_views)[:hide]
    boxes = [
      furniture.sample_clutter(rng, room, middle, rig.centers, self.options.clutter),
      *(
        furniture.sample_occluder(rng, middle, rig.centers, view, scene.HIDDEN_IN_TEST)
        for view in hidden
      ),
    ]
    boxes = room_lib.Boxes.concatenate(boxes)
    cameras = tuple(
      np.asarray(a, np.float32) for a in (rig.intrinsics, rig.rotation, rig.translation)
    )
    lamp = room_lib.Light(*(np.asarray(a, np.float32) for a in light))
    found = []
    for index, (vertices, normals, joints) in enumerate(tqdm(bodies, unit="frame")):
      shadow = room_lib.floor_shadow(room, np.asarray(vertices), boxes, light)
      place = scene.room_arrays(room, boxes, shadow)
      rendering = self._renderer.draw(vertices, normals, texture, cameras, place, lamp)
      rendering = jax.tree.map(np.asarray, rendering)
      images = self._expose(rendering.color, self._rng(_SPLIT, "clip camera", index))
      found.append((images, np.asarray(joints, np.float64)))
    return found

  def _body_at(self, clip, seconds, shape, thickness, heading):
    """Vertices, normals and joints of the person, who also walks slowly across the room."""
    pose = motion.pose_at(self._motion, clip, seconds, heading=heading)
    place = np.array([200 * seconds - 200, 100 * seconds - 100, pose.translation[2]], np.float32)
    return self._renderer.pose(shape, pose.bone_rotations, place, 0.0, thickness)


def write(output: pathlib.Path, *, frames: int, views: int, hide: int, seed: int) -> None:
  """Writes cam1.mp4 and so on, calibration.json and truth.npz (joints [f, 17, 3] mm)."""
  recorder = Recorder(num_views=views, seed=seed)
  moments = recorder.moments(frames, hide)
  names = tuple(f"cam{view + 1}" for view in range(views))
  rig = recorder.cameras()
  cameras = Cameras(rig.intrinsics, rig.rotation, rig.translation)
  sizes = ((_SIZE, _SIZE),) * views
  output.mkdir(parents=True, exist_ok=True)
  rigs.Rig(names, sizes, (lenses.Pinhole(),) * views, cameras, 1.0).write(
    output / "calibration.json"
  )
  joints = np.stack([x for _, x in moments])
  np.savez_compressed(output / "truth.npz", joints_3d=joints, skeleton="h36m_17")
  for view, name in enumerate(names):
    film.write_mp4(output / f"{name}.mp4", (x[view] for x, _ in moments), fps=_FPS)


def main(arguments: Sequence[str] | None = None) -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--output", type=pathlib.Path, required=True, help="folder to write to")
  parser.add_argument("--frames", type=int, default=32, help="at 25 a second (32)")
  parser.add_argument("--views", type=int, default=4, help="cameras (4)")
  parser.add_argument("--hide", type=int, default=0, help="cameras with an object before them (0)")
  parser.add_argument("--seed", type=int, default=0)
  options = parser.parse_args(arguments)
  if not 2 <= options.views <= 16 or not 0 <= options.hide <= options.views or options.frames < 1:
    parser.error("--views is from 2 to 16, --hide at most --views, --frames at least 1")
  write(
    options.output,
    frames=options.frames,
    views=options.views,
    hide=options.hide,
    seed=options.seed,
  )
  print(
    f"Wrote {options.output}. Next:\n"
    f"python -m epipolar_jax predict --videos '{options.output}/cam*.mp4' "
    f"--cameras {options.output}/calibration.json --out {options.output}/joints"
  )


if __name__ == "__main__":
  main()
