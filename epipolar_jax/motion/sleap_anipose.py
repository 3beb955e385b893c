"""sleap-anipose's h5: `tracks` [frames, tracks, nodes, 3]; names may be there."""

import pathlib

import numpy as np

from epipolar_jax.keypoints import hdf5
from epipolar_jax.motion.motion import Motion

_MOST_VALUES = 1 << 28


def recognise(head: bytes) -> bool:
  """An HDF5 file."""
  return head.startswith(b"\x89HDF\r\n\x1a\n")


def write(path: pathlib.Path, motion: Motion) -> None:
  """Writes everybody's motion, mm, from frame 0 on, with names of joints and people.

  Raises:
    ModuleNotFoundError: h5py is not installed.
  """
  people = motion.people or tuple(f"track_{i}" for i in range(motion.points.shape[1]))
  before = np.full((motion.first_frame, *motion.points.shape[1:]), np.nan)
  with hdf5.replacing(path) as file:
    file["tracks"] = np.concatenate([before, motion.points])
    file["tracks"].attrs["Description"] = "Shape: (n_frames, n_tracks, n_nodes, 3)."
    file["node_names"] = np.array([joint.encode() for joint in motion.joints])
    file["track_names"] = np.array([person.encode() for person in people])


def read(path: pathlib.Path) -> Motion:
  """Reads such a file, in mm; joints without names are called by their number.

  Raises:
    ValueError: the file is damaged or of another layout.
    ModuleNotFoundError: h5py is not installed.
  """
  with hdf5.opened(path) as file:
    points = file.array("tracks", "f", 4)
    if points.shape[-1] != 3 or points.size > _MOST_VALUES:
      raise ValueError(f"{path}: tracks is {points.shape}; it should be (frames, tracks, nodes, 3)")
    names = {
      name: tuple(file.texts(name, fixed=True)) if file.is_dataset(name) else ()
      for name in ("node_names", "track_names")
    }
  joints = names["node_names"] or tuple(str(i) for i in range(points.shape[2]))
  return Motion(points, joints, people=names["track_names"])
