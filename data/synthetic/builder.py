"""The synthetic data set as a TFDS builder: made once, stored as ArrayRecord, without TensorFlow.

`prepare(options, data_dir, split)` returns a builder whose data are on disk; read them with
`builder.as_data_source(split)`. Training, validation and test data are made apart, so evaluating a
checkpoint does not wait for training data. One example is one frame with all its v views:

  image            [v] JPEG, [s, s, 3] uint8 RGB
  intrinsics       [v, 3, 3] for the stored pixels; integers are pixel centres
  rotation         [v, 3, 3], world to camera
  translation      [v, 3] mm, world to camera
  joints_3d        [17, 3] mm, world, in the order of `Options.skeleton`
  joints_2d        [v, 17, 2] stored px
  visible          [v, 17] bool, inside the stored image and not behind an occluder
  box_center       [v, 2] stored px, middle of the person box
  box_size         [v] stored px, side of the person box
  subject          int, unique over the splits
  action           str, the motion clip's
  frame            int, its number in the split
  occluded         [v] bool, an occluder was put before the view
  occluded_views   int, how many were

Splits: train, validation, test, and test_occluded_1 and _2: the frames of test once more with a
large occluder before one and two of the views (with many cameras a box may stand before a neighbour
too; `occluded` says so). People, clips and rigs of train, validation and
test are different ones.
"""

import argparse
import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
import tqdm

from data import storing
from data.synthetic import options as options_lib
from data.synthetic import rig as rig_lib
from data.synthetic import scene
from epipolar_jax import locking

Options = options_lib.Options
# Both cores of a small machine: the drawing releases the interpreter lock.
_THREADS = 2
_REPROJECTION_TOLERANCE_PX = 0.01


@dataclasses.dataclass(eq=False, kw_only=True)
class Config(tfds.core.BuilderConfig):
  """TFDS configuration: its name carries the fingerprint of the options."""

  options: Options = dataclasses.field(default_factory=Options)
  base: str = "train"  # the split that is made; "test" brings its occluded versions with it


class Synthetic(tfds.core.GeneratorBasedBuilder):
  """TFDS builder; use `prepare`."""

  VERSION = tfds.core.Version("1.0.0")
  # Named here so that TFDS does not search for a project's tags and citations.
  pkg_dir_path = pathlib.Path(__file__).parent

  def _info(self) -> tfds.core.DatasetInfo:
    options = self.builder_config.options
    size, views, joints = options.image_size, options.num_views, options.num_joints
    image = tfds.features.Image(shape=(size, size, 3), encoding_format="jpeg")

    def tensor(*shape, dtype=np.float32):
      return tfds.features.Tensor(shape=shape, dtype=dtype)

    features = {
      "image": tfds.features.Sequence(image, length=views),
      "intrinsics": tensor(views, 3, 3),
      "rotation": tensor(views, 3, 3),
      "translation": tensor(views, 3),
      "joints_3d": tensor(joints, 3),
      "joints_2d": tensor(views, joints, 2),
      "visible": tensor(views, joints, dtype=np.bool_),
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
      description="Dressed, skinned bodies moved by motion capture, seen by calibrated cameras.",
      features=tfds.features.FeaturesDict(features),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
    options = self.builder_config.options
    base = self.builder_config.base
    splits = [split for split in options_lib.SPLITS if options_lib.base_split(split) == base]
    generator = scene.Generator(options)
    # Compiles before the threads start, which would both compile the same.
    generator.frame(base, 0)
    total = options.num_views * sum(options.num_frames(split) for split in splits)
    progress = tqdm.tqdm(total=total, unit="img", desc=f"make {base} data", smoothing=0.05)
    return {split: self._generate_examples(generator, split, progress) for split in splits}

  def _generate_examples(
    self, generator: scene.Generator, split: str, progress: tqdm.tqdm
  ) -> Iterator[tuple[int, dict[str, Any]]]:
    options = self.builder_config.options
    indices = range(options.num_frames(split))
    work = functools.partial(make_example, generator, split)
    for example in storing.in_order(work, indices, threads=_THREADS):
      progress.update(options.num_views)
      yield example["frame"], example
    if progress.n == progress.total:
      progress.close()


def prepare(options: Options, data_dir: str | os.PathLike, split: str) -> tfds.core.DatasetBuilder:
  """Makes one split of the data set of `options` under `data_dir`, unless it is there already.

  The directory is named after a fingerprint of the options, the generator's version and its
  assets, so other options never read these data. It appears under its name only when complete.
  Of several processes one makes it, the others wait.

  Args:
    options: what to make; equal options give equal data.
    data_dir: folder for data sets; created if need be.
    split: one of `options.SPLITS`; test and its occluded versions are made together.

  Returns:
    A prepared builder: `as_data_source(split)` reads it.

  Raises:
    ValueError: an unknown split.
  """
  base = options_lib.base_split(split)
  size = f"{options.image_size}px_{options.num_views}views"
  if options.skeleton != "h36m_17":
    size += f"_{options.skeleton}"
  config = Config(
    name=f"{size}_{base}_{options_lib.fingerprint(options, base)}", options=options, base=base
  )
  data_dir = os.fspath(pathlib.Path(data_dir).expanduser().resolve())
  lock = pathlib.Path(data_dir) / f".lock_{config.name}"
  with locking.alone(lock, waiting=_tell_who_makes_it), storing.quiet_tfds():
    builder = Synthetic(data_dir=data_dir, config=config, file_format="array_record")
    if not pathlib.Path(builder.data_dir).exists():
      storing.check_space(pathlib.Path(data_dir), _pixels(options, base))
    storing.prepare(builder)
  return builder


def _pixels(options: Options, base: str) -> int:
  """Of all images of the splits that are made together."""
  splits = [split for split in options_lib.SPLITS if options_lib.base_split(split) == base]
  frames = sum(options.num_frames(split) for split in splits)
  return frames * options.num_views * options.image_size**2


def _tell_who_makes_it(who: str) -> None:
  print(f"{who} is making these data; waiting until they are there.", flush=True)


def make_example(generator: scene.Generator, split: str, index: int) -> dict[str, Any]:
  """Makes, checks and encodes one example."""
  frame = generator.frame(split, index)
  _check(frame, split, index)
  quality = generator.options.jpeg_quality
  return {
    "image": [storing.encode_jpeg(image, quality) for image in frame.images],
    "intrinsics": frame.rig.intrinsics.astype(np.float32),
    "rotation": frame.rig.rotation.astype(np.float32),
    "translation": frame.rig.translation.astype(np.float32),
    "joints_3d": frame.joints_3d.astype(np.float32),
    "joints_2d": frame.joints_2d.astype(np.float32),
    "visible": frame.visible,
    "box_center": frame.box_center.astype(np.float32),
    "box_size": frame.box_size.astype(np.float32),
    "subject": frame.subject,
    "action": frame.action,
    "frame": index,
    "occluded": frame.occluded,
    "occluded_views": int(frame.occluded.sum()),
  }


def _check(frame, split, index):
  """Raises ValueError when stored cameras and joints do not agree, on a NaN, or on no body."""
  arrays = (frame.rig.intrinsics, frame.rig.rotation, frame.rig.translation)
  stored = rig_lib.Rig(*(array.astype(np.float32).astype(np.float64) for array in arrays))
  points, depth = rig_lib.project(stored, frame.joints_3d.astype(np.float32))
  error = np.abs(points - frame.joints_2d).max()
  # Written so that NaN fails.
  if not error <= _REPROJECTION_TOLERANCE_PX or not (depth > 0).all():
    raise ValueError(f"frame {index} of {split}: joints reproject {error} px off")
  clear = ~frame.occluded
  if not (frame.rendering.person[clear].max((1, 2)) > 0).all():
    raise ValueError(f"frame {index} of {split}: a view without an occluder shows no body")


def main() -> None:
  """Makes a data set from the command line: one flag per option."""
  parser = argparse.ArgumentParser(description="Makes the synthetic multi-view data set.")
  parser.add_argument("--data_dir", required=True, help="folder for data sets")
  for field in dataclasses.fields(Options):
    kind = _names if field.name == "actions" else field.type
    parser.add_argument(f"--{field.name}", type=kind, default=field.default)
  arguments = vars(parser.parse_args())
  data_dir = arguments.pop("data_dir")
  for base in ("train", "validation", "test"):
    print(prepare(Options(**arguments), data_dir, base).data_dir)


def _names(text):
  return tuple(text.split(","))


if __name__ == "__main__":
  main()
