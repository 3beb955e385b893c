"""Large data sets in shards: made by several processes, kept when a run is stopped, then published.

A builder cuts its records into `Job`s, one for each shard; `results` makes them, or finds them made
by an earlier run; `Builder`, a TFDS builder, moves the finished shards to their final names.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import json
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import cv2
import tensorflow_datasets as tfds
from tensorflow_datasets.core import dataset_builder, example_serializer
from tensorflow_datasets.core import splits as splits_lib
from tensorflow_datasets.core import writer as writer_lib

from data import faults, storing
from epipolar_jax import locking

Example = dict[str, Any]
# Shards of each split, in order: path and number of examples.
Shards = dict[str, list[tuple[pathlib.Path, int]]]


@dataclasses.dataclass(frozen=True)
class Job:
  """One shard to make; it travels to another process.

  Attributes:
    part: path of the shard, without suffix; its folder is for shards made the same way only.
    items: what goes into it.
    make: makes an example of an item; raises `faults.BadRecord` where that is not possible.
    features: of the examples; what else `make` gives is for `describe` alone.
    describe: what the summary needs to know of the shard's examples, as JSON can hold it.
    stop: at the first fault; otherwise the item is left out and counted.
  """

  part: pathlib.Path
  items: tuple[Any, ...]
  make: Callable[[Any], Example]
  features: Callable[[], tfds.features.FeaturesDict]
  describe: Callable[[Sequence[Example]], dict[str, Any]]
  stop: bool


@dataclasses.dataclass(frozen=True)
class Shard:
  """A finished shard.

  Attributes:
    path: of its file; none is there when `length` is 0.
    length: examples in it.
    facts: what the job's `describe` said.
    left_out: items left out, by kind of fault.
    first: the first message of each kind.
  """

  path: pathlib.Path
  length: int
  facts: dict[str, Any]
  left_out: dict[str, int]
  first: dict[str, str]


@dataclasses.dataclass(eq=False, kw_only=True)
class Config(tfds.core.BuilderConfig):
  """TFDS configuration of a `Builder`.

  Attributes:
    work: makes all shards and returns them and the summary; None to only read.
  """

  work: Callable[[], tuple[Shards, dict[str, Any]]] | None = None


class Builder(dataset_builder.FileReaderBuilder, skip_registration=True):
  """TFDS builder whose configuration does the work; subclasses say what is in it and keep facts."""

  def keep(self, summary: dict[str, Any]) -> None:
    """Stores the summary with the data."""
    raise NotImplementedError

  def _download_and_prepare(self, dl_manager: Any, download_config: Any = None) -> None:
    """Moves finished shards to their final names and describes them."""
    shards, summary = self.builder_config.work()
    infos = []
    for split, parts in shards.items():
      template = self._get_filename_template(split)
      info = splits_lib.SplitInfo(
        name=split,
        shard_lengths=[length for _, length in parts],
        num_bytes=sum(path.stat().st_size for path, _ in parts),
        filename_template=template,
      )
      for index, (path, _) in enumerate(parts):
        os.replace(path, template.sharded_filepath(shard_index=index, num_shards=len(parts)))
      infos.append(info)
    self.info.set_splits(splits_lib.SplitDict(infos))
    self.keep(summary)


@contextlib.contextmanager
def pool(processes: int) -> Iterator[Callable[[Iterable[Job]], Iterator[Shard]]]:
  """Yields a function from jobs to their shards, in order; few jobs are under way at once.

  Args:
    processes: that work side by side; 0 works in this one.
  """
  if not processes:
    yield lambda jobs: map(make_shard, jobs)
    return
  context = multiprocessing.get_context("spawn")
  with concurrent.futures.ProcessPoolExecutor(
    processes, context, initializer=_start_worker
  ) as executor:

    def run_all(jobs: Iterable[Job]) -> Iterator[Shard]:
      pending = collections.deque()
      for job in jobs:
        pending.append(executor.submit(make_shard, job))
        if len(pending) > 2 * processes:
          yield pending.popleft().result()
      while pending:
        yield pending.popleft().result()

    try:
      yield run_all
    except BaseException:
      executor.shutdown(wait=False, cancel_futures=True)
      raise


def check_space(jobs: Sequence[Job], pixels: int) -> None:
  """Refuses to make shards that the disk has no room for.

  Args:
    jobs: of which those that were made before need nothing.
    pixels: of the images of an item.

  Raises:
    OSError: says how much is needed, and how much is free.
  """
  items = sum(len(job.items) for job in jobs if not job.part.with_suffix(".json").exists())
  if items:
    storing.check_space(jobs[0].part.parent, items * pixels)


def _start_worker() -> None:
  """One thread of OpenCV each; and a worker ends with the builder, however that ended."""
  cv2.setNumThreads(1)
  threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
  multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
  os._exit(1)


@contextlib.contextmanager
def alone(parts: pathlib.Path) -> Iterator[None]:
  """Lets one builder at a time work on a data set; a lock of a dead process holds nobody up.

  Args:
    parts: folder of the unfinished shards; the lock lies beside it.

  Raises:
    ValueError: another builder is at work there.
  """
  file = parts.with_name(f".lock{parts.name}")
  try:
    with locking.alone(file):
      yield
  except locking.BusyError as busy:
    raise ValueError(
      f"{busy} is making {parts.parent}'s {parts.name} (lock: {file}): wait for it to end, or give "
      "another --data_dir"
    ) from None


def make_shard(job: Job) -> Shard:
  """Makes one shard, or finds it made, and says what is in it.

  Raises:
    faults.BadRecord: an item cannot be used and the job is to stop then.
  """
  record, path = job.part.with_suffix(".json"), job.part.with_suffix(".array_record")
  if record.exists():
    shard = Shard(path, **json.loads(record.read_text(encoding="utf-8")))
    # What was left out may have been mended since.
    if path.exists() and not shard.left_out:
      return shard
  bad = faults.Faults(job.stop)
  made, features = [], job.features()
  for item in job.items:
    try:
      made.append(job.make(item))
    except faults.BadRecord as fault:
      bad.add(fault)
  serializer = example_serializer.ExampleSerializer(features.get_serialized_info())
  temporary = job.part.with_suffix(".tmp")
  if made:
    rows = (
      (i, serializer.serialize_example(features.encode_example({k: e[k] for k in features})))
      for i, e in enumerate(made)
    )
    writer_lib.ExampleWriter(tfds.core.FileFormat.ARRAY_RECORD).write(temporary, rows)
    os.replace(temporary, path)
  shard = Shard(path, len(made), job.describe(made), bad.counts, bad.first)
  kept = {k: v for k, v in vars(shard).items() if k != "path"}
  temporary.write_text(json.dumps(kept), encoding="utf-8")
  # Last: a shard with a record is complete.
  os.replace(temporary, record)
  return shard
