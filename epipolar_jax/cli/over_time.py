"""--smooth, --fill and --cutoff_hz: joints over time, as `predict` and `triangulate` offer it."""

import argparse


def add(verb: argparse.ArgumentParser) -> None:
  """Adds the options."""
  verb.add_argument(
    "--smooth",
    choices=("kalman", "butterworth"),
    help="over time: kalman weighs each point by its covariance, fills gaps and needs no setting; "
    "butterworth is a low-pass filter. Without it no frame depends on another",
  )
  verb.add_argument(
    "--fill", type=int, metavar="FRAMES", help="kalman: longest gap that is filled (10)"
  )
  verb.add_argument("--cutoff_hz", type=float, help="butterworth: cut-off frequency (6)")


def check(options: argparse.Namespace, fps: float | None) -> None:
  """Raises ValueError if the options do not belong together; before the work."""
  for name, of in (("fill", "kalman"), ("cutoff_hz", "butterworth")):
    if getattr(options, name) is not None and options.smooth != of:
      raise ValueError(f"--{name} belongs to --smooth {of}")
  if options.fill is not None and options.fill < 0:
    raise ValueError(f"--fill should be at least 0, got {options.fill}")
  if options.smooth != "butterworth":
    return
  if fps is None:
    raise ValueError(
      "--smooth butterworth needs frames a second, and they are not known: say --fps"
    )
  from epipolar_jax.motion import butterworth

  butterworth.check(fps, _cutoff(options))


def apply(estimated, options: argparse.Namespace, fps: float | None):
  """The `Estimate` as the options want it; prints what was done to it."""
  if options.smooth is None:
    return estimated
  if options.smooth == "butterworth":
    from epipolar_jax.motion import butterworth

    print(f"Smoothed: Butterworth, cut-off at {_cutoff(options):g} Hz, no delay")
    return butterworth.smooth(estimated, fps=fps, cutoff_hz=_cutoff(options))
  import numpy as np

  from epipolar_jax.motion import smoothing

  fill = 10 if options.fill is None else options.fill
  found = smoothing.smooth(estimated, fill=fill)
  number, wild = estimated.valid.sum(), (found.weight < 0.5) & estimated.valid
  moved = np.linalg.norm(found.estimate.points - estimated.points, axis=-1)[estimated.valid]
  if number:
    print(
      f"Smoothed: Kalman; half of the points moved by less than {np.median(moved):.3g} mm; "
      f"{wild.sum()} of {number} stood out and counted little; {found.estimate.filled.sum()} in "
      f"gaps of up to {fill} frames were filled (`filled` in joints.npz)"
    )
  return found.estimate


def _cutoff(options: argparse.Namespace) -> float:
  return 6.0 if options.cutoff_hz is None else options.cutoff_hz
