"""The benchmark of whole commands: its recording is one that they take."""

import pytest

from epipolar_jax.tools.benchmark import starts


def test_commands_run_and_are_told_apart():
  rows = starts.run(0.0, ("python", "convert"))
  assert [row.name for row in rows] == ["python", "convert"]
  assert all(0 < row.low_s <= row.median_s <= row.high_s and row.calls == 2 for row in rows)
  assert rows[0].median_s < rows[1].median_s


def test_a_command_that_fails_is_no_measurement(monkeypatch):
  monkeypatch.setitem(starts._COMMANDS, "convert", "-m epipolar_jax convert nothing NEW.toml")
  monkeypatch.setattr(starts, "_EXPECTED", (0,))
  with pytest.raises(RuntimeError, match="convert ended with"):
    starts.run(0.0, ("convert",))


def test_there_is_no_such_command():
  with pytest.raises(ValueError, match="allowed: python"):
    starts.run(0.0, ("fly",))
