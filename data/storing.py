"""What the builders share: a quiet TFDS, pictures as JPEG, work in order on several threads."""

import collections
import concurrent.futures
import contextlib
import io
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import cv2
import numpy as np
import tensorflow_datasets as tfds

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


def encode_jpeg(image: np.ndarray, quality: int, *, tiles: bool = False) -> io.BytesIO:
  """An RGB picture [h, w, 3] uint8 as the bytes of a JPEG, which TFDS stores without TensorFlow.

  Args:
    image: the pixels.
    quality: 1..100.
    tiles: restart markers every few blocks, so that a reader can decode a part
      (`inputs.pictures`); one or two percent more bytes.
  """
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
