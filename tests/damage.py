"""Random damage to files, and that a reader bears it: what every reader's fuzz test uses."""

import pathlib
import resource
from collections.abc import Callable

import numpy as np

_WORDS = [b"-1", b"1e999", b"nan", b"99999999999999999999", b"null", b"true", b'"x"', b"[]", b"{}"]
_WORDS += [
  b"0",
  b"\xff\xfe",
  b"",
  b"[[[[",
  b"1000000000",
  b"<",
  b"1e-320",
  b",",
  b"\t",
  b"\n",
  b'"',
]


def damage(data: bytes, rng: np.random.Generator) -> bytes:
  """Cut short, bytes swapped or changed, a number or a block replaced, a piece repeated or gone."""
  kind = rng.integers(6)
  i, j = sorted(rng.integers(0, len(data), 2))
  if kind == 0:
    return data[:i]
  if kind == 1:
    changed = bytearray(data)
    for k in rng.integers(0, len(data), rng.integers(1, 8)):
      changed[k] = rng.integers(256)
    return bytes(changed)
  if kind == 2:
    return data[:i] + data[j : j + 1] + data[i + 1 : j] + data[i : i + 1] + data[j + 1 :]
  if kind == 3:
    word = _WORDS[rng.integers(len(_WORDS))]
    return data[:i] + word + data[i + int(rng.integers(0, 20)) :]
  if kind == 4:
    return data[:i] + data[i : i + 200] * int(rng.integers(2, 50)) + data[i:]
  return data[:i] + data[min(j, i + 300) :]


def mutate(value, rng: np.random.Generator):
  """One value somewhere in a json document becomes of another type, missing or huge."""
  if isinstance(value, (dict, list)) and len(value) and rng.random() < 0.85:
    keys = list(value) if isinstance(value, dict) else range(len(value))
    key = keys[int(rng.integers(len(keys)))]
    copy = value.copy()
    copy[key] = mutate(value[key], rng)
    return copy
  others = [None, True, -1, 10**400, 1e308, "x", "", [], {}, [[]], [1, [2]], {"rows": 10**9}]
  return others[rng.integers(len(others))]


def check_reader(
  read: Callable[[], object],
  path: pathlib.Path,
  *,
  check: Callable[[object], None],
  rounds: int = 60,
  rng: np.random.Generator | None = None,
  more_mb: int = 300,
) -> None:
  """A reader of a damaged file raises a ValueError with a text, or gives something sound.

  Args:
    read: reads the file.
    path: a good file, which is overwritten with damaged copies.
    check: raises if what was read is not sound.
    rounds: number of copies; at least one must be refused.
    more_mb: how much the process may grow meanwhile.
  """
  rng = np.random.default_rng(0) if rng is None else rng
  data = path.read_bytes()
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  refused = 0
  for _ in range(rounds):
    path.write_bytes(damage(data, rng))
    try:
      found = read()
    except ValueError as error:
      assert str(error)
      refused += 1
    else:
      check(found)
  path.write_bytes(data)
  assert refused, "no damage was refused"
  assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < more_mb << 10
