"""The command `epipolar` (= python -m epipolar_jax).

epipolar predict --videos cam*.mp4 --cameras calibration.toml --out DIR
epipolar triangulate --keypoints cam*.csv --cameras calibration.toml --out DIR
epipolar calibrate --keypoints DIR/keypoints.npz --cameras calibration.toml --out better.toml
epipolar check --cameras calibration.toml --keypoints cam*.csv   (what is wrong with them)
epipolar convert calibration.toml OUT --format pose2sim   (2D and 3D files too)
"""

import sys
from collections.abc import Sequence

from epipolar_jax.cli import parsing

# 128 + SIGINT, as shells have it.
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
  """Runs a verb; a user's mistake is one sentence and status 2, unless --debug asks for more.

  Status 1: of `check`, it read everything, and something is suspicious; of `predict`, nothing at
  all was triangulated. Ctrl-C is 130.
  """
  options = parsing.parser().parse_args(arguments)
  try:
    status = options.run(options)
  except (OSError, ValueError, ModuleNotFoundError) as error:
    if options.debug:
      raise
    print(f"epipolar {options.verb}: {error}", file=sys.stderr)
    return 2
  except KeyboardInterrupt:
    if options.debug:
      raise
    more = " The same command goes on where it was." if options.verb == "predict" else ""
    print(f"Stopped.{more}", file=sys.stderr)
    return _INTERRUPTED
  return status or 0


if __name__ == "__main__":
  sys.exit(main())
