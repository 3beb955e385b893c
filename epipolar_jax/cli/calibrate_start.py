"""What `epipolar calibrate` starts from: a rig with poses, and one person, animal or board."""

import argparse
import pathlib
from typing import NamedTuple


class Start(NamedTuple):
  """Where refining starts.

  Attributes:
    rig: of the views; posed.
    observations: of one person or board.
    board: [j, 3], mm, where corners are; None of people.
    posed: the poses are new, so that nothing can be compared with how it was.
  """

  rig: object
  observations: object
  board: object
  posed: bool


def read(options: argparse.Namespace, length, up) -> Start:
  """Reads cameras and keypoints, or finds boards in videos, and poses cameras that have no pose.

  Raises:
    ValueError: nobody, or no board, is seen by two cameras.
  """
  from epipolar_jax.calibration import board_poses, boards
  from epipolar_jax.keypoints import reading
  from epipolar_jax.matching import people
  from epipolar_jax.rigs.rig import Rig

  if options.cameras is None and options.videos:
    return _from_board_alone(options)
  if options.cameras is None:
    rig = _guess(options)
  else:
    rig = Rig.read(options.cameras, unit=options.unit)
  if options.videos:
    rig, observations = _of_videos(options, rig)
  else:
    observations = reading.read_recording(options.keypoints, rig.names, joint_set=options.joint_set)
  rig, board = rig.select(observations.views), None
  if options.board is not None:
    board = boards.corners(options.board, observations.joints)
  if options.start == "intrinsics" and board is not None:
    rig = board_poses.pose(observations, rig, board)
    print(f"Posed {len(rig.names)} cameras by the board; the world is that of {rig.names[0]}")
  elif options.start != "poses":
    rig, observations = _posed(options, observations, rig, length, up)
  else:
    observations = people.match(observations, rig, people=1)
  if not observations.points.shape[1]:
    raise ValueError("nobody is confirmed by a second view")
  return Start(rig, observations, board, options.start != "poses")


def _of_videos(options: argparse.Namespace, rig):
  """The rig for images of the videos' size, and the corners of a board in them."""
  from epipolar_jax.footage import rigs
  from epipolar_jax.keypoints import reading

  found = _corners(options, reading.pair_all(options.videos, rig.names))
  rig, said = rigs.fitted(rig, dict(zip(found.views, found.sizes_wh)))
  for text in said:
    print(text)
  return rig, found


def _corners(options: argparse.Namespace, sources: dict[str, pathlib.Path]):
  from epipolar_jax.calibration import boards

  try:
    from epipolar_jax.footage import board_videos
  except ImportError as error:
    raise ValueError(
      f"videos need OpenCV ({error}): pip install '.[video]' in the clone; on a server without "
      "libGL, opencv-python-headless in place of opencv-python"
    ) from error
  charuco = None if options.charuco is None else _charuco(options.charuco)
  grid = boards.parse(options.board)
  return board_videos.read(sources, grid, charuco=charuco, every=options.every)


def _charuco(text: str) -> tuple[str, float]:
  parts = text.split(",")
  try:
    dictionary, marker = parts[0], float(parts[1])
    if len(parts) != 2:
      raise ValueError
  except (IndexError, ValueError):
    raise ValueError(
      f"--charuco is DICTIONARY,MARKER_MM, as DICT_4X4_50,40; got {text!r}"
    ) from None
  return dictionary, marker


def _from_board_alone(options: argparse.Namespace) -> Start:
  """Cameras from nothing but their detections of a board."""
  import numpy as np

  from epipolar_jax.calibration import board_poses, boards, single
  from epipolar_jax.geometry.cameras import Cameras
  from epipolar_jax.rigs.rig import Rig

  sources = _named(options.videos)
  found = _corners(options, sources)
  board = boards.corners(options.board, found.joints)
  each = []
  for view, name in enumerate(found.views):
    one = single.calibrate(name, found.points[:, 0, view], board, found.sizes_wh[view])
    print(
      f"camera {name}: focal length {one.intrinsics[0, 0]:.1f} ± {one.sigma_focal:.1f} px, "
      f"{one.error_px:.2f} px rms left in {len(one.frames)} frames"
    )
    each.append(one)
  count = len(each)
  cameras = Cameras(
    np.stack([one.intrinsics for one in each]), np.stack([np.eye(3)] * count), np.zeros((count, 3))
  )
  rig = Rig(found.views, found.sizes_wh, tuple(one.lens for one in each), cameras, 1.0)
  rig = board_poses.pose(found, rig, board)
  print(f"Posed {count} cameras by the board; the world is that of {rig.names[0]}")
  return Start(rig, found, board, True)


def _guess(options: argparse.Namespace):
  """A rig of which only the size of the images is known, named as the keypoints' files are."""
  from epipolar_jax.calibration import guessed
  from epipolar_jax.keypoints import reading

  try:
    wide, high = map(int, options.image_wh.lower().split("x"))
  except ValueError:
    wide, high = 0, 0
  if not (0 < wide < 1 << 16 and 0 < high < 1 << 16):
    raise ValueError(f"--image_wh is WIDTHxHEIGHT in px, as 1920x1080; got {options.image_wh!r}")
  if len(options.keypoints) == 1:
    names = reading.read_file(options.keypoints[0], joint_set=options.joint_set).views
  else:
    names = tuple(_named(options.keypoints))
  return guessed.rig(names, (wide, high))


def _named(files: list[str]) -> dict[str, pathlib.Path]:
  """Files by camera: CAMERA=FILE, or the file's name without its ending."""
  sources: dict[str, pathlib.Path] = {}
  for text in files:
    name, given, path = text.partition("=")
    file = pathlib.Path(path if given else text)
    name = name if given else file.stem
    if name in sources:
      raise ValueError(
        f"{sources[name]} and {file} would both be camera {name}: CAMERA=FILE names it"
      )
    sources[name] = file
  if len(sources) < 2:
    raise ValueError("a rig has two cameras or more: give the files of all of them")
  return sources


def _posed(options: argparse.Namespace, observations, rig, length, up):
  """A rig posed from the frames that are fitted, and the keypoints of one person in all views."""
  import numpy as np

  from epipolar_jax.calibration import following, guessed, refining, unposed, world
  from epipolar_jax.matching import people

  alone = observations
  if observations.points.shape[1] > 1:
    alone = following.foremost(observations)
    print("In each view the person with the highest scores was taken, until cameras were posed")
  fitted = refining.fitted(alone)
  if options.start == "guess":
    rig = guessed.pose(fitted, rig)
    focal = zip(rig.names, np.asarray(rig.cameras.intrinsics)[:, 0, 0])
    print("Focal lengths, px: " + ", ".join(f"{name} {value:.0f}" for name, value in focal))
  else:
    rig = unposed.pose(fitted, rig)
  rig, said = world.stand(alone, rig, size_mm=options.size_mm, length=length, up=up)
  print(f"Posed {len(rig.names)} cameras from their intrinsics; {'; '.join(said)}")
  return rig, people.match(observations, rig, people=1)
