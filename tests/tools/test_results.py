"""The table of several evaluations: what it says, and what it refuses to put together."""

import copy
import json
import re

import pytest

from epipolar_jax.tools import results


def _record(error):
  numbers = {"mpjpe_mm": error, "mpjpe_mm_interval": [error - 1.25, error + 1.25]}
  off = {"methods": {"dlt": numbers | {"mpjpe_mm": error + 5}}}
  methods = {"dlt": numbers, "robust": {"mpjpe_mm": None, "mpjpe_mm_interval": None}}
  return {
    "version": "1",
    "step": 300,
    "protocol": {"mpjpe": "absolute", "views": "all", "crop": "true box"},
    "splits": {"test": {"frames": 8, "methods": methods, "boxes_off": off}},
    "config": {
      "task": "multiview",
      "data": {"name": "synthetic", "image_size": 64, "synthetic": {"suits": 0.0}},
      "model": {"fusion": {"merge": "none"}},
      "eval": {"splits": ["test"], "max_frames": 0, "box_error": 0.06},
    },
  }


def test_rows_cells_and_conditions():
  records = {"with": _record(30.04), "without": _record(40.0)}
  lines = results.table(records, boxes_off=False, intervals=True).splitlines()
  assert lines[0] == "| network | triangulation | test |"
  assert lines[2] == "| with | dlt | 30.0 (28.8–31.3) |"
  assert lines[3] == "| with | robust | – |"
  assert lines[4] == "| without | dlt | 40.0 (38.8–41.2) |"
  assert "true boxes" in lines[-1] and "Frames: test 8" in lines[-1]
  off = results.table(records, boxes_off=True, intervals=False)
  assert "| with | dlt | 35.0 |" in off and "robust" not in off and "up to 6 %" in off


@pytest.mark.parametrize(
  "path, value",
  [
    (("version",), "2"),
    (("config", "data", "synthetic", "suits"), 1.0),
    (("config", "eval", "max_frames"), 4),
    (("protocol", "views"), "0,2"),
  ],
)
def test_what_is_not_comparable_is_refused(path, value):
  other = copy.deepcopy(_record(30.0))
  part = other
  for name in path[:-1]:
    part = part[name]
  part[path[-1]] = value
  with pytest.raises(ValueError, match=re.escape(".".join(path)) + f" is .* and {value!r}"):
    results.table({"a": _record(30.0), "b": other}, boxes_off=False, intervals=False)


def test_other_networks_are_what_a_table_is_for():
  other = _record(30.0)
  other["config"]["model"]["fusion"]["merge"] = "late"
  results.table({"a": _record(30.0), "b": other}, boxes_off=False, intervals=False)


def test_folders_and_files_are_read_and_others_refused(tmp_path, capsys):
  run = tmp_path / "run"
  run.mkdir()
  (run / "eval.json").write_text(json.dumps(_record(30.0)))
  results.main([str(run)])
  assert "| run | dlt | 30.0 |" in capsys.readouterr().out
  (run / "eval.json").write_text(json.dumps({"splits": {}}))
  with pytest.raises(ValueError, match=r"run eval\.py again"):
    results.main([str(run)])
