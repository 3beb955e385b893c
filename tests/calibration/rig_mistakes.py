"""How often each mistake is named: python -m tests.calibration.rig_mistakes --noise_px 2.

The table of docs/check.md. Each case is a rig, a walk and a mistake of its own; the numbers do not
depend on the machine.
"""

import argparse
import collections
import time

import numpy as np

from epipolar_jax.calibration import diagnosis
from tests.calibration import injected

_SIZE_MM = 2000.0


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--noise_px", type=float, default=2.0)
  parser.add_argument("--outliers", type=float, default=0.05)
  parser.add_argument("--cases", type=int, default=200, help="of each mistake, and good ones")
  parser.add_argument("--first_seed", type=int, default=1000)
  parser.add_argument("--views", type=int, nargs="+", default=(3, 4, 5, 6, 8, 12, 16))
  parser.add_argument("--mistakes", nargs="+", default=("none", *injected.NAMES))
  options = parser.parse_args()
  noise = {"noise_px": options.noise_px, "outliers": options.outliers}
  for mistake in options.mistakes:
    start, count = time.monotonic(), collections.Counter()
    for seed in range(options.first_seed, options.first_seed + options.cases):
      views = int(np.random.default_rng(seed).choice(options.views))
      if mistake == "none":
        found = diagnosis.diagnose(*injected.case(views, seed, **noise), size_mm=_SIZE_MM)
        kind = "alarm" if found.alarm else "no alarm"
      else:
        kind = _kind(views, mistake, seed, noise)
      count[kind] += 1
    shares = ", ".join(f"{kind} {n}" for kind, n in sorted(count.items()))
    print(f"{mistake:>24}: {shares} ({time.monotonic() - start:.0f} s)", flush=True)


def _kind(views: int, mistake: str, seed: int, noise: dict[str, float]) -> str:
  """Whether one mistake is named: by itself, with others, another one, or not at all."""
  broken, cameras, name = injected.inject(views, mistake, seed, **noise)
  found = diagnosis.diagnose(*broken, size_mm=_SIZE_MM)
  if mistake == "all unit":
    factor = _factor(seed, views, broken)
    return "named" if f"({factor:.4g} times)" in found.unit and not found.explanations else "silent"
  right = [x for x in found.explanations if x.mistake == name and set(x.cameras) == set(cameras)]
  if right and len(found.explanations) == 1:
    return "named"
  names = [(x.mistake, x.cameras, round(x.after_px, 1)) for x in found.explanations]
  worst = round(float(np.nanmax(found.left_out)), 1)
  print(f"  seed {seed}, {views} views, {mistake} of {cameras} ({worst} px): {names}", flush=True)
  if right:
    return "named among others"
  return "another named" if names else "alarm" if found.alarm else "silent"


def _factor(seed: int, views: int, broken) -> float:
  """By how much the unit of a recording is wrong, above 1."""
  _, rig = injected.case(views, seed)
  size = np.linalg.norm(broken[1].cameras.translation) / np.linalg.norm(rig.cameras.translation)
  return max(size, 1 / size)


if __name__ == "__main__":
  main()
