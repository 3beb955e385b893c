"""What the builders share: a quiet TFDS, images as JPEG, work in order on several threads."""

import collections
import concurrent.futures
import contextlib
import io
import itertools
import logging
import pathlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import cv2
import numpy as np
import tensorflow_datasets as tfds

from data import integrity
from epipolar_jax import disk_space
from epipolar_jax.inputs import datasets

# At least, of a JPEG: 0.17 were measured on Human3.6M-like images, 0.2 and more on small ones.
BYTES_PER_PIXEL = 0.1
# Side of the blocks of a JPEG with coarser colours, px; and at most so many of them are a tile.
_BLOCK = 16
_TILE_BLOCKS = 3


@contextlib.contextmanager
def quiet_tfds() -> Iterator[None]:
  """Keeps TFDS from announcing a download of unknown size; our bar and all errors still show."""
  tfds.disable_progress_bar()
  logger = logging.getLogger("absl")
  level = logger.level
  logger.setLevel(logging.ERROR)
  try:
    with contextlib.redirect_stdout(io.StringIO()):
      yield
  finally:
    logger.setLevel(level)


def prepare(builder: tfds.core.DatasetBuilder) -> None:
  """Makes a data set unless it is there; what a killed builder left unfinished goes first.

  The caller holds a lock: nobody else is making this data set.

  Raises:
    integrity.DamagedDataError: it is there, but not as it was made.
    datasets.MissingDataError: array_record is not installed.
  """
  datasets.check_format()
  folder = pathlib.Path(builder.data_dir)
  for half in folder.parent.glob(f"{folder.name}.incomplete*"):
    shutil.rmtree(half, ignore_errors=True)
  made = not folder.exists()
  builder.download_and_prepare()
  if made:
    integrity.record(folder)
  else:
    integrity.check(folder)


def check_space(folder: pathlib.Path, pixels: int) -> None:
  """Refuses to make data that the disk has no room for.

  Args:
    folder: where they will be.
    pixels: of all images.

  Raises:
    OSError: says how much is needed, and how much is free.
  """
  disk_space.check(
    folder,
    int(pixels * BYTES_PER_PIXEL),
    "the data set",
    "make room and give the same command again (what is finished is kept), or choose another "
    "folder with --data_dir (train.py: --config.data.dir)",
  )


def encode_jpeg(image: np.ndarray, quality: int, *, tiles: bool = False) -> io.BytesIO:
  """An image as the bytes of a JPEG, which TFDS stores without TensorFlow.

  Args:
    image: [h, w, 3] uint8 RGB, or [h, w] or [h, w, 1] uint8 grey, which becomes RGB.
    quality: 1..100.
    tiles: restart markers every few blocks, so that a reader can decode a part
      (`inputs.stored_images`); one or two percent more bytes.

  Raises:
    ValueError: pixels of another type or shape; the message says how to convert them.
  """
  image = _as_rgb(image)
  settings = [cv2.IMWRITE_JPEG_QUALITY, quality]
  if tiles:
    blocks = -(-image.shape[1] // _BLOCK)
    interval = max(n for n in range(1, _TILE_BLOCKS + 1) if blocks % n == 0)
    settings += [cv2.IMWRITE_JPEG_RST_INTERVAL, interval]
    settings += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
  done, data = cv2.imencode(".jpg", image[..., ::-1], settings)
  if not done:
    raise ValueError("OpenCV could not encode the image as JPEG")
  return io.BytesIO(data.tobytes())


def _as_rgb(image: np.ndarray) -> np.ndarray:
  """[h, w, 3] uint8 of a colour or grey image."""
  image = np.asarray(image)
  if image.dtype != np.uint8:
    hints = {
      "f": "np.clip(np.rint(255 * image), 0, 255).astype(np.uint8) converts floats of 0..1",
      "u": "(image >> 8).astype(np.uint8) converts 16 bits that are used in full",
      "b": "255 * image.astype(np.uint8) converts masks",
    }
    hint = hints.get(image.dtype.kind, "image.astype(np.uint8) converts whole numbers of 0..255")
    raise ValueError(f"an image of {image.dtype}; JPEG takes uint8 of 0..255: {hint}")
  if image.ndim == 2:
    image = image[..., None]
  if image.ndim != 3 or image.shape[2] not in (1, 3) or not image.size:
    alpha = image.ndim == 3 and image.shape[2] == 4
    hint = ". image[..., :3] drops the alpha channel" if alpha else ""
    raise ValueError(
      f"an image of shape {image.shape}; allowed: [h, w, 3] RGB, or [h, w] or [h, w, 1] grey{hint}"
    )
  return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


def in_order(work: Callable[[Any], Any], items: Iterable[Any], *, threads: int) -> Iterator[Any]:
  """Yields `work(item)` in the order of the items, a few of them under way at once.

  Args:
    work: releases the interpreter lock most of the time.
    items: consumed as results are taken.
    threads: at work together.
  """
  waiting = iter(items)
  with concurrent.futures.ThreadPoolExecutor(threads) as pool:
    pending = collections.deque(
      pool.submit(work, item) for item in itertools.islice(waiting, 2 * threads)
    )
    while pending:
      result = pending.popleft().result()
      pending.extend(pool.submit(work, item) for item in itertools.islice(waiting, 1))
      yield result
