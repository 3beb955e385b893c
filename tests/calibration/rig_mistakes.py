"""How often each mistake is named: python -m tests.calibration.rig_mistakes --log mistakes.jsonl.

The table of docs/check.md. Each case is a rig, a walk and a mistake of its own; the numbers do not
depend on the machine. Cases that are in the log are not repeated: a run that was stopped goes on.
"""

import argparse
import collections
import json
import pathlib

import numpy as np

from epipolar_jax.calibration import diagnosis
from tests.calibration import injected

_SIZE_MM = 2000.0
_GOOD = "none"
# What a case is logged by.
_KEYS = ("mistake", "seed", "views", "noise_px", "outliers")


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--log", type=pathlib.Path, required=True, help="json lines; is added to")
  parser.add_argument("--noise_px", type=float, default=2.0)
  parser.add_argument("--outliers", type=float, default=0.05)
  parser.add_argument("--cases", type=int, default=200, help="of each mistake, and good ones")
  parser.add_argument("--first_seed", type=int, default=1000)
  parser.add_argument("--views", type=int, nargs="+", default=(2, 3, 4, 5, 6, 8, 12, 16))
  parser.add_argument("--mistakes", nargs="+", default=(_GOOD, *injected.NAMES))
  options = parser.parse_args()
  noise = {"noise_px": options.noise_px, "outliers": options.outliers}
  lines = options.log.read_text().splitlines() if options.log.exists() else []
  known = {tuple(case[key] for key in _KEYS): case for case in map(json.loads, lines)}
  cases = []
  with options.log.open("a") as log:
    # Seed by seed, so that a run that is stopped knows something about every mistake.
    for seed in range(options.first_seed, options.first_seed + options.cases):
      views = int(np.random.default_rng(seed).choice(options.views))
      for mistake in options.mistakes:
        key = (mistake, seed, views, *noise.values())
        if key not in known:
          known[key] = dict(zip(_KEYS, key)) | _outcome(views, mistake, seed, noise)
          log.write(json.dumps(known[key]) + "\n")
          log.flush()
        cases.append(known[key])
  print(table(cases))


def table(cases: list[dict]) -> str:
  """Counts of outcomes, a line for each mistake; rigs of two cameras by themselves."""
  lines = ["| mistake | 3 cameras or more | 2 cameras |", "|---|---|---|"]
  for mistake in dict.fromkeys(case["mistake"] for case in cases):
    cells = [mistake]
    for two in (False, True):
      kinds = [
        case["kind"] for case in cases if case["mistake"] == mistake and (case["views"] == 2) == two
      ]
      count = collections.Counter(kinds).most_common()
      cells.append(f"{len(kinds)}: " + ", ".join(f"{kind} {n}" for kind, n in count))
    lines.append("| " + " | ".join(cells) + " |")
  return "\n".join(lines)


def _outcome(views: int, mistake: str, seed: int, noise: dict[str, float]) -> dict:
  """Whether one mistake is named: by itself, with others, another one, or not at all."""
  if mistake == _GOOD:
    found = diagnosis.diagnose(*injected.case(views, seed, **noise), size_mm=_SIZE_MM)
    return {"kind": "alarm" if found.alarm else "no alarm"}
  broken, cameras, name = injected.inject(views, mistake, seed, **noise)
  found = diagnosis.diagnose(*broken, size_mm=_SIZE_MM)
  if mistake == "all unit":
    factor = _factor(seed, views, broken)
    right = f"({factor:.4g} times)" in found.unit and not found.explanations
    return {"kind": "named" if right else "silent"}
  right = [x for x in found.explanations if x.mistake == name and set(x.cameras) == set(cameras)]
  if right and len(found.explanations) == 1:
    return {"kind": "named"}
  names = [(x.mistake, x.cameras, round(x.after_px, 1)) for x in found.explanations]
  about = {"cameras": cameras, "worst_px": round(float(np.nanmax(found.left_out)), 1)}
  about |= {"names": names, "suspect": found.suspect}
  if right:
    return {"kind": "named among others"} | about
  kind = "another named" if names else "not named, alarm" if found.alarm else "silent"
  return {"kind": kind} | about


def _factor(seed: int, views: int, broken) -> float:
  """By how much the unit of a recording is wrong, above 1."""
  _, rig = injected.case(views, seed)
  size = np.linalg.norm(broken[1].cameras.translation) / np.linalg.norm(rig.cameras.translation)
  return max(size, 1 / size)


if __name__ == "__main__":
  main()
