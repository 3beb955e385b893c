"""Too little room is a sentence before the work, and so is a quota."""

import errno
import pathlib
import shutil
import sys

import pytest

from data import sharded, storing
from epipolar_jax import disk_space


def test_a_full_disk(tmp_path, monkeypatch):
  usage = shutil.disk_usage(tmp_path)._replace(free=5_000_000)
  monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
  below = tmp_path / "not" / "there"
  disk_space.check(below, 5_000_000, "it", "do")
  with pytest.raises(OSError, match=r"has 5 MB left, a set needs 12 GB: make room"):
    disk_space.check(below, 12_000_000_000, "a set", "make room")
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.EDQUOT, errno.ENOSPC])
def test_a_quota(tmp_path, monkeypatch, number):
  asked = []
  monkeypatch.setattr(disk_space, "_reserve", lambda folder, count: asked.append(count) or number)
  with pytest.raises(OSError, match=r"does not give 7 MB of it to a set \((Disk quota|No space)"):
    disk_space.check(tmp_path, 7_000_000, "a set", "make room")
  assert asked == [7_000_000]


@pytest.mark.skipif(sys.platform != "linux", reason="fallocate is Linux's")
def test_what_is_reserved_is_given_back(tmp_path):
  before = shutil.disk_usage(tmp_path).free
  assert disk_space._reserve(tmp_path, 1 << 20) in (0, errno.EOPNOTSUPP)
  # More than any file system has: refused, without writing any of it.
  assert disk_space._reserve(tmp_path, 1 << 60) in (errno.ENOSPC, errno.EFBIG, errno.EOPNOTSUPP)
  assert not list(tmp_path.iterdir())
  assert shutil.disk_usage(tmp_path).free > before - (100 << 20)


def test_builders_ask_for_the_shards_that_are_missing(tmp_path, monkeypatch):
  asked = []
  monkeypatch.setattr(disk_space, "check", lambda folder, needed, *_: asked.append(needed))
  jobs = [
    sharded.Job(tmp_path / name, tuple(range(10)), str, dict, len, True) for name in ("a", "b", "c")
  ]
  pathlib.Path(tmp_path / "b.json").write_text("{}")
  sharded.check_space(jobs, pixels=1000)
  assert asked == [2 * 10 * 1000 * storing.BYTES_PER_PIXEL]
