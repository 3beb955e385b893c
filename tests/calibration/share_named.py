"""How often each mistake is named: python -m tests.calibration.share_named --noise_px 2 --seeds 2.

The table of docs/check.md. Every mistake once a seed in rigs of 3 to 8 cameras, and each rig
without a mistake.
"""

import argparse
import collections

from epipolar_jax.calibration import diagnosis
from tests.calibration import injected


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--noise_px", type=float, default=2.0)
  parser.add_argument("--outliers", type=float, default=0.0)
  parser.add_argument("--seeds", type=int, default=2)
  parser.add_argument("--first_seed", type=int, default=100)
  parser.add_argument("--views", type=int, nargs="+", default=range(3, 9))
  options = parser.parse_args()
  named, wrong = collections.Counter(), collections.Counter()
  alarms = cases = 0
  for seed in range(options.first_seed, options.first_seed + options.seeds):
    for views in options.views:
      good = injected.case(views, seed, noise_px=options.noise_px, outliers=options.outliers)
      alarms += diagnosis.diagnose(*good).alarm
      cases += 1
      for mistake in injected.NAMES:
        broken, cameras, name = injected.inject(*good, mistake, seed)
        found = diagnosis.diagnose(*broken).explanations
        right = [x for x in found if x.mistake == name and set(x.cameras) == set(cameras)]
        named[mistake] += len(found) == 1 and bool(right)
        wrong[mistake] += bool(found) and not right
        if len(found) != 1 or not right:
          names = [(x.mistake, x.cameras, round(x.after_px, 1)) for x in found]
          print(f"  seed {seed}, {views} views, {mistake} of {cameras}: {names}", flush=True)
  for mistake in injected.NAMES:
    print(f"{mistake:>24} named {named[mistake]} of {cases}, wrongly {wrong[mistake]}")
  total = cases * len(injected.NAMES)
  print(f"{'all':>24} named {named.total()} of {total}, wrongly {wrong.total()}")
  print(f"{'good rigs':>24} alarms {alarms} of {cases}")


if __name__ == "__main__":
  main()
