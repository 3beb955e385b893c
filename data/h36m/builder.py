"""Human3.6M as a TFDS builder: `python -m data.h36m.builder --raw FOLDER --data_dir data_cache`.

Reads what the H36M toolbox wrote, checks it, undistorts and cuts every image once, and stores
frames with their four views as ArrayRecord (`examples` lists the fields). Work is done in shards by
several processes; a stopped run goes on where it stopped. Training reads the result through
`open_prepared`, which needs no raw data.
"""

import argparse
import collections
import contextlib
import dataclasses
import functools
import itertools
import json
import os
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

import tensorflow_datasets as tfds
import tqdm

from data import faults, files, integrity, opening, sharded, storing
from data.h36m import annotations, examples, raw_digests, raw_images
from data.h36m import options as options_lib

Options = options_lib.Options
_FRAMES_PER_SHARD = 128
_SUMMARY = "summary.json"
_NAME = "h36m"


@dataclasses.dataclass(eq=False, kw_only=True)
class Config(sharded.Config):
  """TFDS configuration.

  Attributes:
    options: how images are stored.
  """

  options: Options = dataclasses.field(default_factory=Options)


class H36m(sharded.Builder):
  """TFDS builder; use `prepare`."""

  VERSION = tfds.core.Version("1.0.0")
  # Named here so that TFDS does not search for a project's tags and citations.
  pkg_dir_path = pathlib.Path(__file__).parent

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description="Human3.6M: four calibrated views of each frame, undistorted and cut.",
      features=examples.features(self.builder_config.options),
      disable_shuffling=True,
    )

  def keep(self, summary: dict[str, Any]) -> None:
    """Writes it beside the data, for readers that do not open them."""
    raw_digests.write(pathlib.Path(self.data_dir), summary.pop("raw_crc32"))
    text = json.dumps(summary, indent=2)
    (pathlib.Path(self.data_dir) / _SUMMARY).write_text(text + "\n", encoding="utf-8")


def prepare(
  raw: str | os.PathLike,
  data_dir: str | os.PathLike,
  options: Options,
  *,
  images: str = "auto",
  processes: int = 0,
  stop: bool = True,
  stop_incomplete: bool = False,
) -> tfds.core.DatasetBuilder:
  """Prepares Human3.6M, unless it is prepared already.

  Args:
    raw: folder with `annot` and the images, or the folder above it (h36m/annot).
    data_dir: folder for data sets; created if need be.
    options: how images are stored.
    images: where they are: folder, zip, undistorted_zip, or auto, the first of these.
    processes: that work side by side; 0 works in this one.
    stop: at the first faulty record; otherwise its frame is left out and counted.
    stop_incomplete: at the first frame that not all cameras have. Human3.6M has such frames.

  Returns:
    A builder whose `as_data_source("train")` and `("validation")` read.

  Raises:
    FileNotFoundError: something of the raw data is not there.
    ValueError: an annotation file cannot be read, other data are prepared in this place, or (with
      `stop`) a fault; the message names file and record.
  """
  data_dir = pathlib.Path(data_dir).expanduser().resolve()
  root = annotations.find_root(pathlib.Path(raw).expanduser().resolve())
  store = raw_images.find_store(root, images)
  sources = {s: annotations.path_of(root, s) for s in annotations.SPLITS}
  known = _known(data_dir, root)
  mark = options_lib.fingerprint(options, {s: files.read(path) for s, path in sources.items()})
  parts = data_dir / f".{_NAME}_{options.name}_{mark}"

  def work():
    bad, incomplete = faults.Faults(stop), faults.Faults(stop_incomplete)
    jobs = {
      split: _jobs(path, parts / split, store, options, known, bad, incomplete)
      for split, path in sources.items()
    }
    shards, summary, read = _run(jobs, options, processes, bad)
    bad.merge(incomplete.counts, incomplete.first)
    return shards, {
      "fingerprint": mark,
      "raw": str(root),
      "splits": summary,
      "raw_crc32": read,
      "left_out": bad.counts,
      "first_of_each": bad.first,
    }

  config = Config(name=options.name, options=options, work=work)
  with sharded.alone(parts), storing.quiet_tfds():
    builder = H36m(data_dir=os.fspath(data_dir), config=config, file_format="array_record")
    _refuse_other(pathlib.Path(builder.data_dir), mark)
    storing.prepare(builder)
  shutil.rmtree(parts, ignore_errors=True)
  return builder


def open_prepared(data_dir: str | os.PathLike, image_size: int) -> tfds.core.DatasetBuilder:
  """Opens what `prepare` made.

  Raises:
    FileNotFoundError: it is not there.
    opening.UnsafeData: it names classes that are none of TFDS's own.
  """
  return opening.open_folder(_find(data_dir, image_size))


def read_summary(data_dir: str | os.PathLike, image_size: int) -> dict[str, Any]:
  """What `prepare` found: frames, subjects and damaged ranges of each split, what was left out.

  Raises:
    FileNotFoundError: nothing is prepared there.
    integrity.DamagedDataError: it is not what `prepare` wrote.
  """
  return _read_summary(_find(data_dir, image_size) / _SUMMARY)


def _read_summary(path: pathlib.Path) -> dict[str, Any]:
  try:
    found = json.loads(files.read_text(path))
    splits = found["splits"].values()
    ranges = [edge for split in splits for pair in split["damaged"] for edge in pair]
    numbers = [*(split["frames"] for split in splits), *ranges]
  except FileNotFoundError:
    raise
  except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
    raise integrity.DamagedDataError(
      f"{path} is not what the builder wrote ({type(error).__name__}: {str(error)[:200]}): prepare "
      "the data again"
    ) from error
  if not all(type(x) is int and x >= 0 for x in numbers):
    raise integrity.DamagedDataError(f"{path}: frames and damaged ranges should be whole numbers")
  return found


def _find(data_dir, image_size):
  folder = pathlib.Path(data_dir).expanduser().resolve() / _NAME
  folder = folder / options_lib.config_name(image_size) / str(H36m.VERSION)
  if not (folder / "dataset_info.json").exists():
    raise FileNotFoundError(f"{folder} does not hold a prepared Human3.6M")
  return folder


def _refuse_other(folder, mark):
  """Raises ValueError if the folder holds data made from other annotations or options."""
  if not (folder / _SUMMARY).exists():
    return
  summary = _read_summary(folder / _SUMMARY)
  if summary.get("fingerprint") != mark:
    raise ValueError(
      f"{folder} was made from {summary.get('raw')} with other annotations or options: choose "
      "another --data_dir or delete it"
    )


def _known(data_dir: pathlib.Path, root: pathlib.Path) -> dict[str, int]:
  """CRC-32 of raw images by those who prepared them before, at other sizes."""
  made = (path.parent for path in sorted(data_dir.glob(f"{_NAME}/*/*/{_SUMMARY}")))
  return raw_digests.of_raw(root, [(f, str(_read_summary(f / _SUMMARY).get("raw"))) for f in made])


def _jobs(path, folder, store, options, known, bad, incomplete) -> list[sharded.Job]:
  """Cuts a split into shards."""
  frames = annotations.frames(annotations.read(path), path.name, bad, incomplete)
  folder.mkdir(parents=True, exist_ok=True)
  make = functools.partial(examples.make, name=path.name, store=store, options=options)

  def with_known(chunk):
    images = (str(r.get("image")).replace("\\", "/") for frame in chunk for r in frame.records)
    return functools.partial(make, expected={x: known[x] for x in images if x in known})

  chunks = [frames[i : i + _FRAMES_PER_SHARD] for i in range(0, len(frames), _FRAMES_PER_SHARD)]
  features = functools.partial(examples.features, options)
  return [
    sharded.Job(
      folder / f"{number * _FRAMES_PER_SHARD:07d}",
      tuple(chunk),
      with_known(chunk),
      features,
      _facts,
      bad.stop,
    )
    for number, chunk in enumerate(chunks)
  ]


def _facts(made: Sequence[dict[str, Any]]) -> dict[str, Any]:
  return {
    "subjects": dict(collections.Counter(str(example["subject"]) for example in made)),
    "damaged": _ranges([example["damaged"] for example in made]),
    "raw_crc32": {image: x for example in made for image, x in example["raw_crc32"].items()},
  }


def _run(jobs, options, processes, bad):
  """Makes all shards: ({split: [(path, frames)]}, {split: summary}, CRC-32 by image)."""
  total = sum(len(job.items) for group in jobs.values() for job in group)
  shards, summary, read = {}, {}, {}
  side = options.image_size or raw_images.SIDE
  sharded.check_space([*itertools.chain(*jobs.values())], annotations.NUM_CAMERAS * side**2)
  bar = tqdm.tqdm(total=annotations.NUM_CAMERAS * total, unit="img", desc="prepare h36m")
  with contextlib.closing(bar), sharded.pool(processes) as run_all:
    for split, group in jobs.items():
      shards[split] = []
      counts, damaged = collections.Counter(), []
      for job, shard in zip(group, run_all(group)):
        bad.merge(shard.left_out, shard.first)
        start = sum(length for _, length in shards[split])
        damaged = _join(damaged, start, shard.facts["damaged"])
        counts.update(shard.facts["subjects"])
        # Shards of a run that an older version began have none.
        read |= shard.facts.get("raw_crc32", {})
        if shard.length:
          shards[split].append((shard.path, shard.length))
        bar.update(annotations.NUM_CAMERAS * len(job.items))
      if not shards[split]:
        raise ValueError(f"no frame of the {split} split can be used: {bad.first or 'none there'}")
      summary[split] = {
        "frames": sum(counts.values()),
        "subjects": {name: counts[name] for name in sorted(counts, key=int)},
        "damaged": damaged,
      }
  return shards, summary, read


def _ranges(flags: list[bool]) -> list[list[int]]:
  """[start, stop) of each run of True."""
  edges = [0, *map(int, flags), 0]
  changes = [i for i in range(len(edges) - 1) if edges[i] != edges[i + 1]]
  return [list(pair) for pair in zip(changes[::2], changes[1::2])]


def _join(ranges, start, more):
  """`ranges` with `more`, which count from `start`; runs that touch become one."""
  joined = [list(r) for r in ranges]
  for low, high in more:
    if joined and joined[-1][1] == start + low:
      joined[-1][1] = start + high
    else:
      joined.append([start + low, start + high])
  return joined


def describe(summary: dict[str, Any]) -> str:
  """The summary as text."""
  lines = []
  for split, part in summary["splits"].items():
    people = ", ".join(f"S{subject} {count:,}" for subject, count in part["subjects"].items())
    hurt = sum(stop - start for start, stop in part["damaged"])
    lines.append(f"{split}: {part['frames']:,} frames ({people}), {hurt:,} of damaged clips")
  for kind, count in summary["left_out"].items():
    lines.append(f"left out, {kind}: {count:,}; the first: {summary['first_of_each'][kind]}")
  return "\n".join(lines)


def main() -> None:
  """Prepares the data set from the command line."""
  parser = argparse.ArgumentParser(description="Prepares Human3.6M for training.")
  parser.add_argument("--raw", required=True, help="folder with annot/ and the images")
  parser.add_argument("--data_dir", default="data_cache", help="folder for prepared data sets")
  for field in dataclasses.fields(Options):
    parser.add_argument(f"--{field.name}", type=field.type, default=field.default)
  parser.add_argument("--images", default="auto", help="auto, folder, zip or undistorted_zip")
  parser.add_argument("--processes", type=int, default=os.cpu_count(), help="0: only this one")
  parser.add_argument("--on_fault", choices=("stop", "skip"), default="stop")
  parser.add_argument("--on_incomplete", choices=("stop", "skip"), default="skip")
  arguments = parser.parse_args()
  options = Options(**{f.name: getattr(arguments, f.name) for f in dataclasses.fields(Options)})
  try:
    builder = prepare(
      arguments.raw,
      arguments.data_dir,
      options,
      images=arguments.images,
      processes=arguments.processes,
      stop=arguments.on_fault == "stop",
      stop_incomplete=arguments.on_incomplete == "stop",
    )
  except faults.BadRecord as fault:
    raise SystemExit(
      f"{fault}\nMend it and run the same command again (finished shards are kept), or leave such "
      "frames out and have them counted: --on_fault skip --on_incomplete skip"
    ) from fault
  except (OSError, ValueError) as error:
    raise SystemExit(str(error)) from error
  print(describe(read_summary(arguments.data_dir, options.image_size)))
  print(f"prepared in {builder.data_dir}")


if __name__ == "__main__":
  main()
