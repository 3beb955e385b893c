"""Builds a data set of one's own recordings, for `train.py --config configs/footage.py:NAME`.

python -m data.footage.builder --name mouse --videos 'day1/*.mp4' --cameras day1/calibration.toml
    --labels 'day1/*.csv' [--skeleton mouse.toml] [--data_dir data_cache]
    [--videos 'day2/*.mp4' --cameras ... --labels ...]   a session after the other
    [--joints day1/joints.npz]                           in place of --labels: pseudo-labels
    [--validation 0.15] [--test 0.15]                    shares of time, or names of sessions

Frames with labels become examples: all views of a moment, undistorted and cut around the animal.
What is missing is a mask: joints without a label in a view, views that a session does not have.
"""

import argparse
import dataclasses
import io
import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
import tqdm

from data import storing
from data.footage import sessions as sessions_lib
from data.footage import splitting
from epipolar_jax import locking, skeletons
from epipolar_jax.cli import patterns
from epipolar_jax.footage import windows

NAME = "footage"
# Stored squares are this much larger than the box, so that crops may be moved, turned and enlarged.
_ROOM = 1.6
_QUALITY = 92
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,80}")


@dataclasses.dataclass(eq=False, kw_only=True)
class Config(tfds.core.BuilderConfig):
  """TFDS configuration: its name is the data set's.

  Attributes:
    sessions: what is recorded and labelled.
    skeleton: of the labels.
    splits: of each session the frames of each split, indices of its labels.
    image_size: side of the stored images, px.
  """

  sessions: tuple[sessions_lib.Session, ...] = ()
  skeleton: skeletons.Skeleton = skeletons.H36M_17
  splits: tuple[dict[str, np.ndarray], ...] = ()
  image_size: int = 320


class Footage(tfds.core.GeneratorBasedBuilder):
  """TFDS builder; use `prepare`."""

  VERSION = tfds.core.Version("1.0.0")
  # Named here so that TFDS does not search for a project's tags and citations.
  pkg_dir_path = pathlib.Path(__file__).parent

  def _info(self) -> tfds.core.DatasetInfo:
    config = self.builder_config
    size, joints = config.image_size, config.skeleton.num_joints
    views = max((len(s.rig.names) for s in config.sessions), default=1)
    image = tfds.features.Image(shape=(size, size, 3), encoding_format="jpeg")

    def tensor(*shape, dtype=np.float32):
      return tfds.features.Tensor(shape=shape, dtype=dtype)

    features = {
      "image": tfds.features.Sequence(image, length=views),
      "present": tensor(views, dtype=np.bool_),
      "intrinsics": tensor(views, 3, 3),
      "rotation": tensor(views, 3, 3),
      "translation": tensor(views, 3),
      "joints_3d": tensor(joints, 3),
      "joints_2d": tensor(views, joints, 2),
      "visible": tensor(views, joints, dtype=np.bool_),
      "labelled": tensor(views, joints, dtype=np.bool_),
      "label_weight": tensor(views, joints),
      "box_center": tensor(views, 2),
      "box_size": tensor(views),
      "subject": tfds.features.Scalar(dtype=np.int32),
      "action": tfds.features.Text(),
      "frame": tfds.features.Scalar(dtype=np.int32),
      "occluded": tensor(views, dtype=np.bool_),
      "occluded_views": tfds.features.Scalar(dtype=np.int32),
    }
    return tfds.core.DatasetInfo(
      builder=self,
      description="Recordings of calibrated cameras with labels of one's own.",
      features=tfds.features.FeaturesDict(features),
      metadata=tfds.core.MetadataDict(
        skeleton=skeletons.to_dict(config.skeleton),
        sessions=[
          {"name": s.name, "cameras": list(s.rig.names), "recordings": s.footage.description}
          for s in config.sessions
        ],
      ),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
    splits = [s for s in splitting.SPLITS if any(len(x[s]) for x in self.builder_config.splits)]
    return {split: self._generate_examples(split) for split in splits}

  def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
    config = self.builder_config
    total = sum(len(chosen[split]) for chosen in config.splits)
    views = self.info.features["present"].shape[0]
    key = 0
    with tqdm.tqdm(total=total, unit="frame", desc=f"{split} frames") as bar:
      for number, session in enumerate(config.sessions):
        chosen = config.splits[number][split]
        for index, images in _frames(session, chosen):
          example = make_example(
            session, index, images, config.skeleton, size=config.image_size, views=views
          )
          bar.update()
          if example is not None:
            yield key, example | {"subject": number}
            key += 1


def _frames(session: sessions_lib.Session, chosen: np.ndarray) -> Iterator[tuple[int, list]]:
  """The images of labelled frames, decoded in one pass."""
  wanted = {int(session.labels.frames[index]): int(index) for index in chosen}
  if not wanted:
    return
  first = min(wanted)
  for number, images in enumerate(session.footage.frames(first), first):
    if number in wanted:
      yield wanted[number], images
    if number >= max(wanted):
      return


def make_example(
  session: sessions_lib.Session,
  index: int,
  images: Sequence[np.ndarray | None],
  skeleton: skeletons.Skeleton,
  *,
  size: int,
  views: int,
) -> dict[str, Any] | None:
  """One frame as it is stored; None where no view shows the animal.

  Args:
    session: whose frame it is.
    index: of the frame among the labels.
    images: [h, w, 3] of each camera, None where a recording has ended.
    skeleton: whose joints are stored, by name.
    size: side of the stored images, px.
    views: of the data set; those the session lacks are not `present`, and hold copies of one that
      it has.
  """
  rig, labels = session.rig, session.labels
  order = [labels.joints.index(j) if j in labels.joints else -1 for j in skeleton.joints]
  has = np.array(order) >= 0
  points = np.where(has[None, :, None], labels.points[index][:, order], np.nan)
  sigma = labels.sigma_px[index][:, order]
  joints_3d = np.where(has[:, None], labels.joints_3d[index][order], np.nan)
  stored = []
  for view, image in enumerate(images):
    box = _box(rig, view, joints_3d, points[view], image, skeleton.size_mm)
    if box is not None:
      stored.append((view, _cut(rig, view, image, points[view], sigma[view], *box, size=size)))
  if not stored:
    return None
  present = np.zeros(views, bool)
  present[: len(images)] = np.isin(np.arange(len(images)), [view for view, _ in stored])
  by_view = dict(stored)
  spare = {**stored[0][1], "labelled": np.zeros(len(order), bool)}
  all_views = [by_view.get(view, spare) for view in range(views)]
  example = {name: [one[name] for one in all_views] for name in spare}
  # A stream is read once.
  images = [io.BytesIO(jpeg.getvalue()) for jpeg in example.pop("image")]
  arrays = {name: np.stack(values) for name, values in example.items()}
  arrays = {k: x.astype(np.float32) if x.dtype == np.float64 else x for k, x in arrays.items()}
  return arrays | {
    "image": images,
    "present": present,
    "joints_3d": joints_3d.astype(np.float32),
    "visible": arrays["labelled"],
    "action": session.name,
    "frame": int(labels.frames[index]),
    "occluded": np.zeros(views, bool),
    "occluded_views": 0,
  }


def _box(rig, view, joints_3d, points, image, size_mm):
  """Centre and side of the square around the animal in a view's ideal image; None: not in it."""
  if image is None:
    return None
  known = np.isfinite(joints_3d).all(-1)
  labelled = np.isfinite(points).all(-1)
  wh = image.shape[1::-1]
  if known.sum() >= 2:
    arrays = (
      x[view] for x in (rig.cameras.intrinsics, rig.cameras.rotation, rig.cameras.translation)
    )
    return windows.around_pose(joints_3d[known], *arrays, size_mm=size_mm, size_wh=wh)
  if labelled.sum() >= 2:
    return windows.around(points, labelled, margin=windows.MARGIN)
  if labelled.any():
    return (np.array(wh) - 1) / 2, float(max(wh))
  return None


def _cut(rig, view, image, points, sigma, centre, side, *, size) -> dict[str, Any]:
  """A view's part of an example."""
  matrix = windows.affine(centre, np.array(_ROOM * side), size=size)
  k = np.asarray(rig.cameras.intrinsics[view], np.float64)
  labelled = np.isfinite(points).all(-1)
  moved = np.where(labelled[:, None], points, 0.0) @ matrix[:, :2].T + matrix[:, 2]
  labelled &= ((moved > -0.5) & (moved < size - 0.5)).all(-1)
  cut = windows.cut(image, rig.lenses[view], k, matrix, size=size)
  return {
    "image": storing.encode_jpeg(cut, _QUALITY, tiles=True),
    "intrinsics": np.vstack([matrix, [0.0, 0.0, 1.0]]) @ k,
    "rotation": np.asarray(rig.cameras.rotation[view], np.float64),
    "translation": np.asarray(rig.cameras.translation[view], np.float64),
    "joints_2d": np.where(labelled[:, None], moved, 0.0),
    "labelled": labelled,
    "label_weight": np.where(labelled, sessions_lib.weight(sigma, side), 0.0),
    "box_center": np.full(2, (size - 1) / 2),
    "box_size": np.float64(size / _ROOM),
  }


def prepare(
  name: str,
  sessions: Sequence[sessions_lib.Session],
  data_dir: str | os.PathLike,
  *,
  skeleton: skeletons.Skeleton | None = None,
  validation: str = "0.15",
  test: str = "0.15",
  every: int = 1,
  gap_s: float = 1.0,
  image_size: int = 320,
) -> tfds.core.DatasetBuilder:
  """Writes a data set to `data_dir/footage/NAME`.

  Args:
    name: letters, digits, - and _.
    sessions: at least one, with the same joints.
    data_dir: folder for data sets; created if need be.
    skeleton: names, tree and size of the joints; None: `sessions.skeleton_of`.
    validation, test, every, gap_s: as `splitting.split`.
    image_size: side of the stored images, px.

  Raises:
    ValueError: a name that is not allowed, joints that differ, a split that cannot be made, or a
      data set of this name is there already.
  """
  if not _PLAIN.fullmatch(name):
    raise ValueError(f"--name {name!r}: letters, digits, - and _ only, at most 80")
  _check_joints(sessions, skeleton)
  skeleton = skeleton or sessions_lib.skeleton_of(sessions)
  config = Config(
    name=name,
    sessions=tuple(sessions),
    skeleton=skeleton,
    splits=splitting.split(sessions, validation, test, every=every, gap_s=gap_s),
    image_size=image_size,
  )
  folder = pathlib.Path(data_dir).expanduser().resolve()
  made = folder / NAME / name
  if (made / str(Footage.VERSION)).exists():
    raise ValueError(f"{made} is there already: choose another --name, or remove it")
  with locking.alone(folder / f".lock_{NAME}_{name}"), storing.quiet_tfds():
    # First, so that there are no data without it wherever this is killed.
    made.mkdir(parents=True, exist_ok=True)
    (made / "skeleton.toml").write_text(skeletons.to_toml(skeleton), encoding="utf-8")
    builder = Footage(data_dir=os.fspath(folder), config=config, file_format="array_record")
    storing.prepare(builder)
  return builder


def _check_joints(sessions, skeleton) -> None:
  first = sessions[0]
  for session in sessions[1:]:
    if set(session.labels.joints) != set(first.labels.joints):
      differ = sorted(set(session.labels.joints) ^ set(first.labels.joints))
      raise ValueError(f"{first.name} and {session.name} label other joints: {', '.join(differ)}")
  if skeleton is not None and not set(skeleton.joints) & set(first.labels.joints):
    raise ValueError(
      f"no joint of the skeleton {skeleton.name} is labelled. The skeleton has "
      f"{', '.join(skeleton.joints)}; the labels have {', '.join(first.labels.joints)}"
    )


def main(argv: Sequence[str] | None = None) -> None:
  """Prepares a data set from the command line."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  several = {"action": "append", "required": True}
  parser.add_argument("--name", required=True, help="of the data set")
  parser.add_argument("--videos", nargs="+", **several, help="of a session, one a camera")
  parser.add_argument("--cameras", **several, help="calibration of a session")
  parser.add_argument("--labels", nargs="+", action="append", help="2D labels of a session")
  parser.add_argument("--joints", action="append", help="3D joints of a session, as labels")
  parser.add_argument("--session", action="append", help="name of a session; session_1, ...")
  parser.add_argument("--unit", help="of the calibrations: mm, cm, m or inch")
  parser.add_argument("--skeleton", help="name or TOML file; made from the labels otherwise")
  parser.add_argument("--validation", default="0.15", help="share of time, or names of sessions")
  parser.add_argument("--test", default="0.15", help="share of time, or names of sessions")
  parser.add_argument("--every", type=int, default=1, help="keeps every n-th labelled frame")
  parser.add_argument("--gap_s", type=float, default=1.0, help="seconds between the splits")
  parser.add_argument("--image_size", type=int, default=320, help="side of the stored images, px")
  parser.add_argument("--data_dir", default="data_cache", help="folder for prepared data sets")
  options = parser.parse_args(argv)
  try:
    sessions = _sessions(options)
    builder = prepare(
      options.name,
      sessions,
      options.data_dir,
      skeleton=skeletons.read(options.skeleton) if options.skeleton else None,
      validation=options.validation,
      test=options.test,
      every=options.every,
      gap_s=options.gap_s,
      image_size=options.image_size,
    )
  except (OSError, ValueError, ModuleNotFoundError) as error:
    raise SystemExit(str(error)) from error
  for split, info in builder.info.splits.items():
    print(f"{split}: {info.num_examples:,} frames")
  labelled = sum(len(range(0, len(x.labels.frames), options.every)) for x in sessions)
  if left := labelled - sum(info.num_examples for info in builder.info.splits.values()):
    print(
      f"{left:,} labelled frames are in none: nearer than --gap_s {options.gap_s:g} to another "
      "split, or without a body in any view"
    )
  print(
    f"prepared in {builder.data_dir}\npython train.py --config configs/footage.py:{options.name}"
  )


def _sessions(options: argparse.Namespace) -> list[sessions_lib.Session]:
  count = len(options.videos)
  labels, joints = options.labels or [], options.joints or []
  if bool(labels) == bool(joints):
    raise ValueError("give --labels for every session, or --joints for every session")
  names = options.session or [f"session_{i + 1}" for i in range(count)]
  given = {
    "--cameras": options.cameras,
    "--session": names,
    "--labels or --joints": labels or joints,
  }
  for flag, values in given.items():
    if len(values) != count:
      raise ValueError(
        f"--videos is given {count} times, {flag} {len(values)} times: one a session"
      )
  return [
    sessions_lib.read(
      names[i],
      patterns.expanded(options.videos[i], "video"),
      options.cameras[i],
      labels=patterns.expanded(labels[i], "label file") if labels else (),
      joints=joints[i] if joints else None,
      unit=options.unit,
    )
    for i in range(count)
  ]


if __name__ == "__main__":
  main()
