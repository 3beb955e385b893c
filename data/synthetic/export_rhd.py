"""Synthetic hands as Rendered Hand Pose has them: images, masks and pickled annotations.

A run that was stopped goes on where it was: finished records wait in a file of their own until all
of a split are there and the annotation file is written.
"""

import argparse
import functools
import json
import os
import pathlib
import pickle

import cv2
import numpy as np
import tqdm

from data import storing
from data.rhd import annotations
from data.synthetic import hand_scene

# Raise when the same options give other images than before.
VERSION = 1
# xyz, uv_vis and K of one image.
_ROW = np.dtype([("xyz", "<f8", (42, 3)), ("uv_vis", "<f8", (42, 3)), ("K", "<f8", (3, 3))])
_CHOICES = "synthetic.json"
_THREADS = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the options of this layout."""
  parser.add_argument("--images", type=int, default=2000, help="training images")
  parser.add_argument("--validation_images", type=int, default=200)
  parser.add_argument("--people", type=int, default=60, help="in the training split")
  parser.add_argument("--seed", type=int, default=0)


def write(output: pathlib.Path, arguments: argparse.Namespace) -> str:
  """Writes the data set, or what is missing of it.

  Args:
    output: folder; empty, not there, or of an earlier run with equal options.
    arguments: of `add_arguments`.

  Returns:
    What was written and what to do next.

  Raises:
    ValueError: fewer than one image in a split.
    FileExistsError: the folder holds something else.
  """
  counts = {"train": arguments.images, "validation": arguments.validation_images}
  if min(counts.values()) < 1:
    raise ValueError(f"images and validation_images are {counts}; each must be at least 1")
  missing = {}
  for split, count in counts.items():
    folder = output / annotations.FOLDERS[split]
    choices = {"version": VERSION, "seed": arguments.seed, "people": arguments.people}
    _claim(folder, choices | {"images": count})
    if not (folder / annotations.annotation_name(split)).exists():
      missing[split] = count
  if missing:
    generator = hand_scene.Generator(arguments.seed, identities=arguments.people)
    for split, count in missing.items():
      _write_split(generator, split, count, output / annotations.FOLDERS[split])
  return (
    f"wrote {sum(counts.values())} images to {output}. They are synthetic: results on them say "
    f"nothing about Rendered Hand Pose.\nNext: python -m data.rhd.builder --raw {output} "
    "--data_dir data_cache"
  )


def _claim(folder, choices):
  """Writes down what a folder is for, or checks that it is for the same."""
  path = folder / _CHOICES
  if not folder.exists() or not any(folder.iterdir()):
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(choices))
  elif not path.exists() or path.read_text() != json.dumps(choices):
    raise FileExistsError(
      f"{folder} holds other data, or those of a run with other options: choose another --output "
      "or delete it"
    )


def _write_split(generator, split, count, folder):
  """Draws what is missing of a split, then writes its annotations."""
  for kind in ("color", "mask"):
    (folder / kind).mkdir(exist_ok=True)
  rows = folder / "records.partial"
  rows.touch()
  done = min(rows.stat().st_size // _ROW.itemsize, count)
  # A record that was cut off in the middle.
  os.truncate(rows, done * _ROW.itemsize)
  make = functools.partial(_save_image, generator, split, folder)
  if done < count:
    # Compiles before the threads start, which would both compile the same.
    generator.labelled_image(split, done)
  with (
    rows.open("ab") as file,
    tqdm.tqdm(total=count, initial=done, unit="img", desc=f"write rhd {split}") as bar,
  ):
    for record in storing.in_order(make, range(done, count), threads=_THREADS):
      file.write(record)
      file.flush()
      bar.update()
  records = np.frombuffer(rows.read_bytes(), _ROW, count)
  whole = {
    frame: {name: record[name].copy() for name in _ROW.names}
    for frame, record in enumerate(records)
  }
  path = folder / annotations.annotation_name(split)
  unnamed = path.with_suffix(".unfinished")
  unnamed.write_bytes(pickle.dumps(whole, protocol=4))
  unnamed.rename(path)
  rows.unlink()


def _save_image(generator, split, folder, index):
  """Draws and saves one image and its mask; returns its record as bytes."""
  labelled = generator.labelled_image(split, index)
  name = f"{index:05d}.png"
  for kind, pixels in (("color", labelled.image[..., ::-1]), ("mask", labelled.mask)):
    if not cv2.imwrite(os.fspath(folder / kind / name), pixels):
      raise OSError(f"cannot write {folder / kind / name}")
  record = np.zeros((), _ROW)
  record["xyz"], record["K"] = labelled.joints_3d / 1000, labelled.intrinsics
  record["uv_vis"] = np.concatenate([labelled.joints_2d, labelled.visible[:, None]], 1)
  return record.tobytes()
