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


def encode_jpeg(image: np.ndarray, quality: int) -> io.BytesIO:
  """An RGB picture [h, w, 3] uint8 as the bytes of a JPEG, which TFDS stores without TensorFlow."""
  done, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
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
