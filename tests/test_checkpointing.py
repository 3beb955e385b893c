"""Checkpoints move between device counts, and refuse what is not theirs."""

import jax
import numpy as np
import pytest
from jax import sharding

from epipolar_jax import checkpointing, parallel

_META = {"task": "t", "model": {"width": 0.5, "fusion": {"merge": "late"}}}


def _tree(scale=1.0):
  return {"params": {"kernel": scale * np.arange(6.0, dtype=np.float32).reshape(2, 3)}}


def _save(folder, step=3):
  with checkpointing.open_manager(folder) as manager:
    checkpointing.save(
      manager,
      step,
      weights=parallel.replicate(_tree()),
      training={"step": np.int32(step), "opt_state": _tree(2.0)},
      meta=_META,
    )
    manager.wait_until_finished()


def _one_device():
  mesh = sharding.Mesh(np.asarray(jax.devices()[:1]), (parallel.AXIS,))
  return sharding.NamedSharding(mesh, sharding.PartitionSpec())


def test_written_on_four_devices_read_on_one(tmp_path, monkeypatch):
  _save(tmp_path)
  monkeypatch.setattr(parallel, "replicated", _one_device)
  training = {"step": np.int32(0), "opt_state": _tree(0.0)}
  with checkpointing.open_manager(tmp_path) as manager:
    weights, restored = checkpointing.restore(
      manager, weights=_tree(0.0), training=training, meta=_META
    )
  np.testing.assert_array_equal(weights["params"]["kernel"], _tree()["params"]["kernel"])
  np.testing.assert_array_equal(restored["opt_state"]["params"]["kernel"][1, 2], 10.0)
  assert int(restored["step"]) == 3
  assert weights["params"]["kernel"].sharding.device_set == {jax.devices()[0]}
  path = checkpointing.newest(tmp_path)
  variables, step = checkpointing.restore_variables(path, _tree(0.0), _META)
  assert step == 3
  np.testing.assert_array_equal(variables["params"]["kernel"], _tree()["params"]["kernel"])


def test_nothing_to_restore(tmp_path):
  with checkpointing.open_manager(tmp_path) as manager:
    assert checkpointing.restore(manager, weights=_tree(), training=_tree(), meta=_META) is None
  with pytest.raises(FileNotFoundError, match="train first"):
    checkpointing.newest(tmp_path)


def test_another_model_is_refused_by_field(tmp_path):
  _save(tmp_path)
  other = {"task": "t", "model": {"width": 0.25, "fusion": {"merge": "none"}}}
  path = checkpointing.newest(tmp_path)
  with pytest.raises(ValueError, match=r"width: the checkpoint has 0\.5") as error:
    checkpointing.restore_variables(path, _tree(), other)
  assert "fusion.merge" in str(error.value)


def test_a_folder_that_is_no_checkpoint(tmp_path):
  with pytest.raises(FileNotFoundError, match="not a checkpoint"):
    checkpointing.restore_variables(tmp_path, _tree(), _META)
