"""The Rendered Hand Pose data set as a TFDS builder: the larger hand of every picture, made once.

  python -m data.rhd.builder RHD_published_v2 --data_dir data_cache

Reads the published files (`annotations`), checks every record, and stores as ArrayRecord, without
TensorFlow:

  image        [320, 320, 3] JPEG, RGB; the whole picture, cut to the hand when it is read
  joints_3d    [21, 3] mm, camera frame, of the hand with more pixels in the mask, RHD order
  joints_2d    [21, 2] px
  visible      [21] bool
  intrinsics   [3, 3]
  hand_side    int, 0 left, 1 right (also when both hands have as many pixels)
  hand_pixels  [2] int, mask pixels of the left and of the right hand
  frame        int, number of the picture in its folder

Splits: train and validation, the original's `training` and `evaluation`. Palm or wrist, the cut and
the canonical frame are choices of the reader (`inputs.hand_crops`, `geometry.hands`).
"""

import argparse
import dataclasses
import functools
import hashlib
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
import tqdm

from data import faults, storing
from data.rhd import annotations

_THREADS = os.cpu_count() or 1
_VERSION = 1


@dataclasses.dataclass(eq=False, kw_only=True)
class Config(tfds.core.BuilderConfig):
  """TFDS configuration: one split.

  Attributes:
    source: folder of the raw split; None to read what is prepared.
    stop: the first bad record stops the work; otherwise bad records are left out and counted.
    jpeg_quality: 1..100.
  """

  source: pathlib.Path | None = None
  stop: bool = True
  jpeg_quality: int = 95


class Rhd(tfds.core.GeneratorBasedBuilder):
  """TFDS builder; use `prepare` and `open_split`."""

  VERSION = tfds.core.Version("1.0.0")
  # Named here so that TFDS does not search for a project's tags and citations.
  pkg_dir_path = pathlib.Path(__file__).parent

  def _info(self) -> tfds.core.DatasetInfo:
    tensor, scalar = tfds.features.Tensor, tfds.features.Scalar
    side = annotations.SIDE
    features = {
      "image": tfds.features.Image(shape=(side, side, 3), encoding_format="jpeg"),
      "joints_3d": tensor(shape=(21, 3), dtype=np.float32),
      "joints_2d": tensor(shape=(21, 2), dtype=np.float32),
      "visible": tensor(shape=(21,), dtype=np.bool_),
      "intrinsics": tensor(shape=(3, 3), dtype=np.float32),
      "hand_side": scalar(dtype=np.int32),
      "hand_pixels": tensor(shape=(2,), dtype=np.int32),
      "frame": scalar(dtype=np.int32),
    }
    return tfds.core.DatasetInfo(
      builder=self,
      description="One hand of each picture of the Rendered Hand Pose data set.",
      features=tfds.features.FeaturesDict(features),
      disable_shuffling=True,
      metadata=tfds.core.MetadataDict(),
    )

  def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
    return {self.builder_config.name: self._generate_examples()}

  def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
    split, source = self.builder_config.name, self.builder_config.source
    path = source / annotations.annotation_name(split)
    records = annotations.read(path)
    found = faults.Faults(stop=self.builder_config.stop)
    sides, errors = [0, 0], []
    work = functools.partial(_make_or_fault, path, quality=self.builder_config.jpeg_quality)
    progress = tqdm.tqdm(total=len(records), unit="img", desc=f"prepare {split}", smoothing=0.05)
    with progress:
      for made in storing.in_order(work, records.items(), threads=_THREADS):
        progress.update()
        if isinstance(made, faults.BadRecord):
          found.add(made)
          continue
        example, error = made
        sides[example["hand_side"]] += 1
        errors.append(error)
        yield example["frame"], example
    if not errors:
      raise ValueError(f"no record of {path} can be used: {found.first}")
    self.info.metadata.update(
      fingerprint=fingerprint(source, split),
      records=len(records),
      left_hands=sides[0],
      right_hands=sides[1],
      reprojection_px=float(np.mean(errors)),
      dropped=found.counts,
      first_dropped=found.first,
    )


def prepare(
  root: str | os.PathLike,
  data_dir: str | os.PathLike,
  split: str,
  *,
  stop: bool = True,
  jpeg_quality: int = 95,
) -> tfds.core.DatasetBuilder:
  """Prepares one split under `data_dir`/rhd, unless it is there already.

  It appears under its name only when complete; a run that was stopped starts again.

  Args:
    root: the raw data set, see `annotations.find_folder`.
    data_dir: folder for prepared data sets; created if need be.
    split: train or validation.
    stop: the first bad record raises; False leaves bad records out and counts them.
    jpeg_quality: of the stored pictures, 1..100.

  Returns:
    A builder whose data are there: `as_data_source(split)` reads them, `info.metadata` sums up.

  Raises:
    FileNotFoundError: no raw data; the message says where to get them.
    faults.BadRecord: a bad record, with its file and number.
    ValueError: another data set was prepared there.
  """
  source = annotations.find_folder(pathlib.Path(root).expanduser(), split)
  builder = _builder(data_dir, split, source=source, stop=stop, jpeg_quality=jpeg_quality)
  with storing.quiet_tfds():
    builder.download_and_prepare()
  if builder.info.metadata.get("fingerprint") != fingerprint(source, split):
    raise ValueError(
      f"{builder.data_dir} was prepared from other annotations than those of {source}; remove it "
      "or give another data_dir"
    )
  return builder


def open_split(data_dir: str | os.PathLike, split: str) -> tfds.core.DatasetBuilder:
  """A split that was prepared before.

  Raises:
    FileNotFoundError: it was not; the message says how to.
    ValueError: unknown split.
  """
  if split not in annotations.FOLDERS:
    raise ValueError(f"split is {split!r}; it must be one of {', '.join(annotations.FOLDERS)}")
  builder = _builder(data_dir, split)
  if not builder.is_prepared():
    raise FileNotFoundError(
      f"{builder.data_dir} is not there: the data set is not prepared. `python -m data.rhd.builder "
      f"FOLDER --data_dir {os.fspath(data_dir)}` does it. {annotations.WHERE_FROM}"
    )
  return builder


def _builder(data_dir, split, **options):
  data_dir = os.fspath(pathlib.Path(data_dir).expanduser().resolve())
  config = Config(name=split, **options)
  with storing.quiet_tfds():
    return Rhd(data_dir=data_dir, config=config, file_format="array_record")


def fingerprint(source: pathlib.Path, split: str) -> str:
  """Twelve hex digits over a split's annotation file and the version of this builder."""
  digest = hashlib.sha256(f"rhd {_VERSION}".encode())
  digest.update((source / annotations.annotation_name(split)).read_bytes())
  return digest.hexdigest()[:12]


def summary(builder: tfds.core.DatasetBuilder) -> str:
  """What was prepared and what was left out and why, for people."""
  m = builder.info.metadata
  kept = m["left_hands"] + m["right_hands"]
  lines = [
    f"{builder.data_dir}: {kept} of {m['records']} hands ({m['left_hands']} left, "
    f"{m['right_hands']} right); joints reproject to {m['reprojection_px']:.3f} px"
  ]
  for kind, count in m["dropped"].items():
    lines.append(f"  {count} left out, {kind}; the first: {m['first_dropped'][kind]}")
  return "\n".join(lines)


def make_example(
  path: pathlib.Path, frame: int, record: Any, *, quality: int
) -> tuple[dict[str, Any], float]:
  """Reads, checks and encodes one picture.

  Args:
    path: of the annotation file.
    frame: number of the picture.
    record: as it stands in the file.
    quality: of the JPEG.

  Returns:
    the example, and the median reprojection error of its joints in px.

  Raises:
    faults.BadRecord: see `annotations`.
  """
  checked = annotations.check(path, frame, record)
  name = f"{frame:05d}.png"
  pixels = annotations.hand_pixels(path.parent / "mask" / name)
  image = annotations.read_picture(path.parent / "color" / name, channels=3)
  hand_side = 0 if pixels[0] > pixels[1] else 1
  hand = slice(21 * hand_side, 21 * hand_side + 21)
  example = {
    "image": storing.encode_jpeg(image, quality),
    "joints_3d": checked.joints_3d[hand].astype(np.float32),
    "joints_2d": checked.joints_2d[hand].astype(np.float32),
    "visible": checked.visible[hand],
    "intrinsics": checked.intrinsics.astype(np.float32),
    "hand_side": hand_side,
    "hand_pixels": pixels,
    "frame": frame,
  }
  return example, checked.reprojection_px


def _make_or_fault(path, item, *, quality):
  """`make_example`, with a fault as its result, so that threads report faults in order."""
  try:
    return make_example(path, *item, quality=quality)
  except faults.BadRecord as fault:
    return fault


def main() -> None:
  """Prepares both splits from the command line."""
  parser = argparse.ArgumentParser(
    description="Prepares the Rendered Hand Pose data set.", epilog=annotations.WHERE_FROM
  )
  parser.add_argument("root", help="the folder that holds training and evaluation")
  parser.add_argument("--data_dir", default="data_cache", help="folder for prepared data sets")
  parser.add_argument(
    "--bad_records",
    choices=("stop", "skip"),
    default="stop",
    help="stop at the first record that cannot be used, or leave such records out and count them",
  )
  parser.add_argument("--jpeg_quality", type=int, default=95)
  arguments = parser.parse_args()
  for split in annotations.FOLDERS:
    builder = prepare(
      arguments.root,
      arguments.data_dir,
      split,
      stop=arguments.bad_records == "stop",
      jpeg_quality=arguments.jpeg_quality,
    )
    print(summary(builder))


if __name__ == "__main__":
  main()
