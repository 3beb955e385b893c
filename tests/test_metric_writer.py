"""The record of a run survives what kills and full disks leave in it."""

import json

import pytest

from epipolar_jax import metric_writer


def _row(step):
  return json.dumps({"step": step, "train/loss": 1.0}).encode()


@pytest.mark.parametrize(
  "bad",
  [b"{", b'{"step": 2, "ti', b"[]", b"3", b'{"step": "2"}', b"\xff\xfe", b"\0\0", b"[" * 9999],
)
def test_lines_that_are_none_do_not_stop_a_start(tmp_path, bad):
  path = tmp_path / "metrics.jsonl"
  path.write_bytes(b"\n".join([_row(1), bad, _row(2), _row(3), bad]))
  writer = metric_writer.MetricWriter(tmp_path, start_step=2)
  writer.scalars(3, {"train/loss": 0.5})
  writer.close()
  rows = [json.loads(line) for line in path.read_text().splitlines()]
  assert [row["step"] for row in rows] == [1, 2, 3] and rows[2]["train/loss"] == 0.5
