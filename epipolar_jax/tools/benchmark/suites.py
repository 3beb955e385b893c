"""The suites by name, and one of them run."""

import dataclasses
import datetime
import platform
from typing import Any

import jax

from epipolar_jax.tools.benchmark import (
  attention,
  backbone,
  calibration,
  generator,
  inputs,
  movenet,
  pipeline,
  predict,
  profile,
  recordings,
  report,
  scaling,
  starts,
  step,
  timing,
  triangulation,
)
from epipolar_jax.tools.benchmark import ceilings as ceilings_lib

# name: (seconds for each measurement, names of what to measure or () for all) -> rows
PLAIN = {
  "calibration": calibration.run,
  "generator": generator.run,
  "inputs": inputs.run,
  "movenet": movenet.run,
  "scaling": scaling.run,
  "starts": starts.run,
  "triangulation": triangulation.run,
}
# The same with a third argument, against: "torch" measures the original's way in PyTorch too, and
# the ratios are to it; "" does not.
COMPARED = {
  "attention": attention.run,
  "backbone": backbone.run,
  "pipeline": pipeline.run,
  "step": step.run,
}


# The same with a third argument, the recording that is looked at.
RECORDED = {"predict": predict.run, "profile": profile.run}


@dataclasses.dataclass(frozen=True)
class Found:
  """What a suite measured.

  Attributes:
    setting: suite, date, device and the like, in words.
    rows: the measurements.
    ceilings: of the device, in the same run.
  """

  setting: dict[str, str]
  rows: list[timing.Row]
  ceilings: ceilings_lib.Ceilings

  def text(self) -> str:
    """The setting as a line, the rows as a Markdown table."""
    head = ", ".join(f"{name} {value}" for name, value in self.setting.items())
    return f"{head}\n\n{report.table(self.rows, self.ceilings)}"

  def record(self) -> dict[str, Any]:
    """The same for JSON."""
    return self.setting | {"rows": [dataclasses.asdict(row) for row in self.rows]}


def run(
  name: str,
  seconds: float,
  only: tuple[str, ...] = (),
  against: str = "",
  recording: recordings.Recording = recordings.RENDERED,
) -> Found:
  """Measures a suite.

  Args:
    name: a key of `PLAIN`, `COMPARED` or `RECORDED`.
    seconds: for each measurement.
    only: names of what to measure, as the suite has them; () is all.
    against: "torch" compares, for those of `COMPARED`.
    recording: for those of `RECORDED`.
  """
  ceilings = ceilings_lib.measure(min(seconds, 1.0))
  if name in COMPARED:
    rows = COMPARED[name](seconds, only, against)
  elif name in RECORDED:
    rows = RECORDED[name](seconds, only, recording)
  else:
    rows = PLAIN[name](seconds, only)
  device = jax.devices()[0]
  setting = {
    "suite": name,
    "date": datetime.date.today().isoformat(),
    "device": f"{len(jax.devices())} x {device.device_kind} ({device.platform})",
    "machine": f"{platform.machine()}, {platform.system()}",
    "jax": jax.__version__,
  }
  return Found(setting | ceilings.words(), rows, ceilings)
