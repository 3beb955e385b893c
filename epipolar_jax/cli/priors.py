"""--prior: what is known of bodies before two cameras, as `predict` and `triangulate` offer it."""

import argparse
from collections.abc import Sequence


def add(verb: argparse.ArgumentParser) -> None:
  """Adds the option."""
  verb.add_argument(
    "--prior",
    choices=("body",),
    help="of two cameras: joints where a learnt prior of human poses and what each view detects by "
    "itself agree; without it they are triangulated",
  )


def check(options: argparse.Namespace, joints: Sequence[str], views: Sequence[str]) -> None:
  """Raises ValueError if the prior does not suit method, joints or views; before the work."""
  if options.method != "robust":
    raise ValueError(f"--prior takes the place of --method {options.method}: leave one of them out")
  from epipolar_jax.triangulation import body_prior

  body_prior.check(tuple(joints), tuple(views))


def apply(estimated, observations, cameras):
  """The `Estimate` of ideal observations with the prior; prints what it did."""
  import numpy as np

  from epipolar_jax.triangulation import body_prior

  found, changed = body_prior.shipped().apply(estimated, observations, cameras)
  moved = np.linalg.norm(found.points - estimated.points, axis=-1)[changed]
  if not changed.any():
    print("Body prior: no frame has both hips and both shoulders, nothing was changed")
    return found
  unknown = [name for name in found.joints if name not in body_prior.SKELETON.joints]
  rest = f"; it does not know {', '.join(unknown)}" if unknown else ""
  print(
    f"Body prior: {changed.sum()} of {found.valid.sum()} joints, moved by {np.median(moved):.3g} mm"
    f" (median), {np.percentile(moved, 90):.3g} mm (90th percentile){rest}"
  )
  return found
