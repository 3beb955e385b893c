"""The benchmark for accelerators: its choice, and that no part outlives its limit."""

import json
import time

import pytest

from epipolar_jax.tools.benchmark import accelerator


def _row(name, milliseconds, error=None, size="forward+backward, 64x64"):
  return {"name": name, "size": size, "median_s": milliseconds / 1e3, "error": error}


def test_the_choice_is_the_fastest_that_is_right():
  dense = [_row("gather", 10.0), _row("dense", 4.0, 1e-6), _row("dense", 9.0, 1e-6, "forward, 64")]
  # In its process everything took twice as long.
  kernel = [_row("gather", 20.0), _row("kernel", 6.0, 1e-6)]
  said = accelerator.choice(dense, kernel)
  assert "dense 4 ms, gather 10 ms, kernel 3 ms" in said and "take `kernel`" in said
  assert "dropped" not in said
  slow = accelerator.choice(dense, [_row("gather", 20.0), _row("kernel", 10.0, 1e-6)])
  assert "take `dense`" in slow and "can be dropped" in slow
  for error in (0.1, float("nan")):
    off = accelerator.choice(dense, [_row("gather", 20.0), _row("kernel", 6.0, error)])
    assert "take `dense`" in off and "`kernel` is off by" in off
  assert "no choice" in accelerator.choice([], [])
  assert "was not measured" in accelerator.choice(dense, [])


def test_parts_end_within_their_limit_and_cost_no_other(tmp_path, monkeypatch, capsys):
  parts = {"slow": ("backbone --only resnet152", 1), "wrong": ("attention --only none", 200)}
  monkeypatch.setattr(accelerator, "_PARTS", parts)
  start = time.monotonic()
  accelerator.main(["--minutes", "3", "--seconds", "0.01", "--output", str(tmp_path)])
  assert time.monotonic() - start < 180
  said = capsys.readouterr().out
  assert "it took more than its 1 s" in said and "ended with 1 (ValueError: --only is none" in said
  assert "no choice" in said
  assert said.strip() == (tmp_path / "tables.md").read_text().strip()


def test_there_is_no_such_part(capsys):
  with pytest.raises(SystemExit):
    accelerator.main(["--only", "cooking"])
  assert "allowed: attention, kernel, step" in capsys.readouterr().err


def test_the_choice_reads_what_a_suite_writes(tmp_path):
  (tmp_path / "attention.json").write_text(json.dumps({"rows": [_row("gather", 1.0)]}))
  assert accelerator._rows(tmp_path, "attention")[0]["name"] == "gather"
  assert accelerator._rows(tmp_path, "kernel") == []
