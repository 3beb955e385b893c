"""The Rendered Hand Pose data set as a TFDS builder: the larger hand of every image, made once.

  python -m data.rhd.builder --raw RHD_published_v2 --data_dir data_cache

Reads the published files (`annotations`), checks every record, and stores as ArrayRecord, without
TensorFlow, in shards by several processes; a stopped run goes on where it stopped:

  image        [320, 320, 3] JPEG, RGB; the whole image, cut to the hand when it is read
  joints_3d    [21, 3] mm, camera frame, of the hand with more pixels in the mask, RHD order
  joints_2d    [21, 2] px
  visible      [21] bool
  intrinsics   [3, 3]
  hand_side    int, 0 left, 1 right (also when both hands have as many pixels)
  hand_pixels  [2] int, mask pixels of the left and of the right hand
  frame        int, number of the image in its folder

Splits: train and validation, the original's `training` and `evaluation`. Palm or wrist, the cut and
the canonical frame are choices of the reader (`inputs.hand_crops`, `tasks.lifting.poses`).
"""

import argparse
import collections
import functools
import hashlib
import os
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
import tqdm

from data import faults, files, integrity, sharded, storing
from data.rhd import annotations

_HANDS_PER_SHARD = 512
# Raise when the same files give other bytes than before.
_VERSION = 2
_JPEG_QUALITY = 95


class Rhd(sharded.Builder):
  """TFDS builder of one split; use `prepare` and `open_split`."""

  VERSION = tfds.core.Version("1.0.0")
  # Named here so that TFDS does not search for a project's tags and citations.
  pkg_dir_path = pathlib.Path(__file__).parent

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description="One hand of each image of the Rendered Hand Pose data set.",
      features=features(),
      disable_shuffling=True,
      metadata=tfds.core.MetadataDict(),
    )

  def keep(self, summary: dict[str, Any]) -> None:
    """Writes it into the data set's own metadata."""
    self.info.metadata.update(summary)


def features() -> tfds.features.FeaturesDict:
  """Types and shapes of the fields."""
  tensor, scalar = tfds.features.Tensor, tfds.features.Scalar
  side = annotations.SIDE
  return tfds.features.FeaturesDict(
    {
      "image": tfds.features.Image(shape=(side, side, 3), encoding_format="jpeg"),
      "joints_3d": tensor(shape=(21, 3), dtype=np.float32),
      "joints_2d": tensor(shape=(21, 2), dtype=np.float32),
      "visible": tensor(shape=(21,), dtype=np.bool_),
      "intrinsics": tensor(shape=(3, 3), dtype=np.float32),
      "hand_side": scalar(dtype=np.int32),
      "hand_pixels": tensor(shape=(2,), dtype=np.int32),
      "frame": scalar(dtype=np.int32),
    }
  )


def prepare(
  root: str | os.PathLike,
  data_dir: str | os.PathLike,
  split: str,
  *,
  stop: bool = True,
  jpeg_quality: int = _JPEG_QUALITY,
  processes: int = 0,
) -> tfds.core.DatasetBuilder:
  """Prepares one split under `data_dir`/rhd, unless it is there already.

  It appears under its name only when complete; a run that was stopped goes on with the shards that
  it had finished.

  Args:
    root: the raw data set, see `annotations.find_folder`.
    data_dir: folder for prepared data sets; created if need be.
    split: train or validation.
    stop: the first bad record raises; False leaves bad records out and counts them.
    jpeg_quality: of the stored images, 1..100.
    processes: that work side by side; 0 works in this one.

  Returns:
    A builder whose data are there: `as_data_source(split)` reads them, `info.metadata` sums up.

  Raises:
    FileNotFoundError: no raw data; the message says where to get them.
    faults.BadRecord: a bad record, with its file and number.
    ValueError: another data set was prepared there.
  """
  source = annotations.find_folder(pathlib.Path(root).expanduser(), split)
  mark = fingerprint(source, split)
  data_dir = pathlib.Path(data_dir).expanduser().resolve()
  parts = data_dir / f".rhd_{split}_{mark}_{jpeg_quality}"
  work = functools.partial(
    _work, source / annotations.annotation_name(split), split, parts, stop, jpeg_quality, processes
  )
  with sharded.alone(parts), storing.quiet_tfds():
    builder = _builder(data_dir, split, work)
    storing.prepare(builder)
  shutil.rmtree(parts, ignore_errors=True)
  if builder.info.metadata.get("fingerprint") != mark:
    raise ValueError(
      f"{builder.data_dir} was prepared from other annotations than those of {source}; remove it "
      "or give another data_dir"
    )
  return builder


def _work(path, split, parts, stop, quality, processes):
  """Makes all shards of a split; returns them and the summary."""
  records = annotations.read(path)
  items = list(records.items())
  parts.mkdir(parents=True, exist_ok=True)
  jobs = [
    sharded.Job(
      parts / f"{start:07d}",
      tuple(items[start : start + _HANDS_PER_SHARD]),
      functools.partial(make_example, path, quality=quality),
      features,
      _facts,
      stop,
    )
    for start in range(0, len(items), _HANDS_PER_SHARD)
  ]
  sharded.check_space(jobs, annotations.SIDE**2)
  found, shards, sums = faults.Faults(stop), [], collections.Counter()
  bar = tqdm.tqdm(total=len(items), unit="img", desc=f"prepare {split}", smoothing=0.05)
  with bar, sharded.pool(processes) as run_all:
    for job, shard in zip(jobs, run_all(jobs)):
      found.merge(shard.left_out, shard.first)
      sums.update(shard.facts)
      if shard.length:
        shards.append((shard.path, shard.length))
      bar.update(len(job.items))
  if not shards:
    raise ValueError(f"no record of {path} can be used: {found.first}")
  return {split: shards}, {
    "fingerprint": fingerprint(path.parent, split),
    "records": len(items),
    "left_hands": sums["left_hands"],
    "right_hands": sums["right_hands"],
    "reprojection_px": sums["reprojection_px"] / sum(length for _, length in shards),
    "dropped": found.counts,
    "first_dropped": found.first,
  }


def _facts(made: Sequence[dict[str, Any]]) -> dict[str, Any]:
  """Counts by side, and the sum of the median distances of joints from where they project to."""
  sides = [example["hand_side"] for example in made]
  errors = [
    annotations.reprojection_error(*(e[k] for k in ("joints_3d", "joints_2d", "intrinsics")))
    for e in made
  ]
  return {
    "left_hands": sides.count(0),
    "right_hands": sides.count(1),
    "reprojection_px": float(np.sum(errors)),
  }


def open_split(data_dir: str | os.PathLike, split: str) -> tfds.core.DatasetBuilder:
  """A split that was prepared before.

  Raises:
    FileNotFoundError: it was not; the message says how to.
    ValueError: unknown split.
  """
  if split not in annotations.FOLDERS:
    raise ValueError(f"split is {split!r}; it must be one of {', '.join(annotations.FOLDERS)}")
  builder = _builder(data_dir, split)
  with storing.quiet_tfds():
    prepared = builder.is_prepared()
  if not prepared:
    raise FileNotFoundError(
      f"{builder.data_dir} is not there: the data set is not prepared. `python -m data.rhd.builder "
      f"--raw FOLDER --data_dir {os.fspath(data_dir)}` does it. {annotations.WHERE_FROM}"
    )
  integrity.check(pathlib.Path(builder.data_dir))
  return builder


def _builder(data_dir, split, work=None):
  data_dir = os.fspath(pathlib.Path(data_dir).expanduser().resolve())
  config = sharded.Config(name=split, work=work)
  with storing.quiet_tfds():
    return Rhd(data_dir=data_dir, config=config, file_format="array_record")


def fingerprint(source: pathlib.Path, split: str) -> str:
  """Twelve hex digits over a split's annotation file and the version of this builder."""
  digest = hashlib.sha256(f"rhd {_VERSION}".encode())
  digest.update(files.read(source / annotations.annotation_name(split)))
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


def make_example(path: pathlib.Path, item: tuple[int, Any], *, quality: int) -> dict[str, Any]:
  """Reads, checks and encodes one image.

  Args:
    path: of the annotation file.
    item: number of the image, and its record as it stands in the file.
    quality: of the JPEG.

  Raises:
    faults.BadRecord: see `annotations`.
  """
  frame, record = item
  checked = annotations.check(path, frame, record)
  name = f"{frame:05d}.png"
  pixels = annotations.hand_pixels(path.parent / "mask" / name)
  image = annotations.read_image(path.parent / "color" / name, channels=3)
  hand_side = 0 if pixels[0] > pixels[1] else 1
  hand = slice(21 * hand_side, 21 * hand_side + 21)
  return {
    "image": storing.encode_jpeg(image, quality, tiles=True),
    "joints_3d": checked.joints_3d[hand].astype(np.float32),
    "joints_2d": checked.joints_2d[hand].astype(np.float32),
    "visible": checked.visible[hand],
    "intrinsics": checked.intrinsics.astype(np.float32),
    "hand_side": hand_side,
    "hand_pixels": pixels,
    "frame": frame,
  }


def main() -> None:
  """Prepares both splits from the command line."""
  parser = argparse.ArgumentParser(
    description="Prepares the Rendered Hand Pose data set.", epilog=annotations.WHERE_FROM
  )
  parser.add_argument("--raw", required=True, help="folder with training and evaluation")
  parser.add_argument("--data_dir", default="data_cache", help="folder for prepared data sets")
  parser.add_argument(
    "--on_fault",
    choices=("stop", "skip"),
    default="stop",
    help="stop at the first record that cannot be used, or leave such records out and count them",
  )
  parser.add_argument("--jpeg_quality", type=int, default=_JPEG_QUALITY)
  parser.add_argument("--processes", type=int, default=os.cpu_count(), help="0: only this one")
  arguments = parser.parse_args()
  try:
    for split in annotations.FOLDERS:
      builder = prepare(
        arguments.raw,
        arguments.data_dir,
        split,
        stop=arguments.on_fault == "stop",
        jpeg_quality=arguments.jpeg_quality,
        processes=arguments.processes,
      )
      print(summary(builder))
  except faults.BadRecord as fault:
    raise SystemExit(
      f"{fault}\nMend it and run the same command again (finished shards are kept), or leave such "
      "records out and have them counted: --on_fault skip"
    ) from fault
  except (OSError, ValueError) as error:
    raise SystemExit(str(error)) from error


if __name__ == "__main__":
  main()
