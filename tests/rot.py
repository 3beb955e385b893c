"""Flips bits in the files of a checkpoint: `python -m tests.rot [--flips 500] [--checkpoint DIR]`.

Every flip is of one bit in a copy, which is then restored as eval.py does. It is refused, or gives
the weights that were written; anything else is a silent fault. Prints a table by kind of file.
"""

import argparse
import collections
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from epipolar_jax import checkpointing, digests

_SHIPPED = pathlib.Path(checkpointing.__file__).parent / "shipped" / "synthetic_full"
OUTCOMES = ("refused", "the same weights", "other weights")


def kind(path: pathlib.Path) -> str:
  """The kind of a file of a checkpoint, by its place (relative)."""
  if path.parts[0] == "meta":
    return "meta"
  return "arrays" if path.parent.name == "d" else "description of the arrays"


def flips(
  checkpoint: pathlib.Path, count: int, rng: np.random.Generator
) -> Iterator[tuple[str, str]]:
  """Yields the kind of file and the outcome of each flip, spread over the kinds."""
  wanted = digests.of_tree(checkpointing.read_weights(checkpoint, say=str)[0])
  groups = collections.defaultdict(list)
  for path in sorted(checkpoint.rglob("*")):
    if path.is_file() and path.stat().st_size and path.name != "config.json":
      groups[kind(path.relative_to(checkpoint))].append(path)
  names = sorted(groups)
  with tempfile.TemporaryDirectory() as temporary:
    copy = pathlib.Path(temporary) / "copy"
    shutil.copytree(checkpoint, copy)
    for index in range(count):
      name = names[index % len(names)]
      sizes = np.array([path.stat().st_size for path in groups[name]])
      source = groups[name][rng.choice(len(sizes), p=sizes / sizes.sum())]
      damaged = copy / source.relative_to(checkpoint)
      content = bytearray(source.read_bytes())
      content[rng.integers(len(content))] ^= 1 << rng.integers(8)
      damaged.write_bytes(content)
      try:
        found = digests.of_tree(checkpointing.read_weights(copy, say=str)[0])
        yield name, OUTCOMES[1] if found == wanted else OUTCOMES[2]
      except checkpointing.DamagedError:
        yield name, OUTCOMES[0]
      shutil.copyfile(source, damaged)


def main(arguments: Sequence[str] | None = None) -> None:
  """Prints the table."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--flips", type=int, default=500)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--checkpoint", type=pathlib.Path, default=_SHIPPED)
  options = parser.parse_args(arguments)
  jax.config.update("jax_platforms", "cpu")
  rng = np.random.default_rng(options.seed)
  counts = collections.Counter(flips(options.checkpoint.absolute(), options.flips, rng))
  print("| file |", " | ".join(OUTCOMES), "|\n|---|---|---|---|")
  for name in sorted({name for name, _ in counts}):
    print(f"| {name} |", " | ".join(str(counts[name, outcome]) for outcome in OUTCOMES), "|")
  if any(outcome == OUTCOMES[2] for _, outcome in counts):
    raise SystemExit(1)


if __name__ == "__main__":
  main()
