"""`python tests/cli/predict_job.py predict --videos ...`: the command, with dots for a detector.

For tests that need processes of their own.
"""

import pathlib
import sys

_ROOT = pathlib.Path(__file__).parents[2]


def main() -> int:
  """Runs the command."""
  sys.path[0] = str(_ROOT)
  from epipolar_jax import __main__ as command
  from epipolar_jax.cli import detectors
  from tests.footage import dots

  detectors.detector_of = lambda *_, **__: dots.DotDetector()
  return command.main(sys.argv[1:])


if __name__ == "__main__":
  sys.exit(main())
