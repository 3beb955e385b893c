"""Checkpoints move between device counts, refuse what is not theirs, and notice damage."""

import collections
import json
import pathlib
import shutil

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from jax import sharding

from epipolar_jax import checkpointing, digests
from epipolar_jax.runtime import parallel
from tests import rot

# Of a refused restore, threads of tensorstore report to an event loop that is closed by then.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
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


def _restore(folder, **changes):
  said = []
  training = {"step": np.int32(0), "opt_state": _tree(0.0)}
  with checkpointing.open_manager(folder) as manager:
    arguments = {"weights": _tree(0.0), "training": training, "meta": _META} | changes
    found = checkpointing.restore(manager, **arguments, say=said.append)
    assert manager.latest_step() == int(found[1]["step"])
  return found, said


def _flip_values(folder):
  """Other numbers under the old digests: what a flipped bit in an array file amounts to."""
  with ocp.StandardCheckpointer() as writer:
    writer.save(folder, _tree(1.0001), force=True)


def _cut_all(folder):
  for file in folder.rglob("*"):
    if file.is_file() and file.stat().st_size:
      file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize(
  "damage",
  [
    lambda path: _flip_values(path / "weights"),
    lambda path: _cut_all(path / "weights"),
    lambda path: _cut_all(path / "training"),
    lambda path: (path / "meta/metadata").write_text("{"),
    lambda path: shutil.rmtree(path / "training"),
  ],
  ids=["flipped", "cut weights", "cut training", "meta", "no training"],
)
def test_a_damaged_newest_checkpoint_is_put_aside(tmp_path, damage):
  _save(tmp_path, 3)
  _save(tmp_path, 6)
  damage(tmp_path / "checkpoints/6")
  (_, training), said = _restore(tmp_path)
  assert int(training["step"]) == 3
  assert len(said) == 1 and "checkpoints/6" in said[0] and "going on from step 3" in said[0]
  assert (tmp_path / "damaged_checkpoints/6").is_dir()
  assert checkpointing.newest(tmp_path).name == "3"


def test_no_whole_checkpoint_is_never_a_fresh_start(tmp_path):
  _save(tmp_path)
  _flip_values(tmp_path / "checkpoints/3/weights")
  with pytest.raises(checkpointing.DamagedError, match=r"params/kernel: its digest.*(.|\n)*Move"):
    _restore(tmp_path)
  assert (tmp_path / "checkpoints/3").is_dir()
  with pytest.raises(checkpointing.DamagedError, match="params/kernel: its digest"):
    checkpointing.restore_variables(tmp_path / "checkpoints/3", _tree(), _META)


def test_other_optimizers_state_is_no_damage(tmp_path):
  _save(tmp_path)
  training = {"step": np.int32(0), "opt_state": {"trace": _tree(0.0)}}
  with pytest.raises(ValueError, match="options of the group optimizer") as error:
    _restore(tmp_path, training=training)
  assert not isinstance(error.value, checkpointing.DamagedError)


def test_weights_that_are_not_finite_are_refused(tmp_path):
  path = tmp_path / "weights"
  checkpointing.write_weights(path, weights=_tree(np.nan), meta=_META)
  with pytest.raises(
    checkpointing.DamagedError, match=r"params/kernel: 6 of 6 numbers are not fin"
  ):
    checkpointing.restore_variables(path, _tree(), _META)


def test_checkpoints_without_digests_are_read(tmp_path):
  _save(tmp_path)
  meta = tmp_path / "checkpoints/3/meta/metadata"
  meta.write_text(
    json.dumps({k: x for k, x in json.loads(meta.read_text()).items() if k != "digests"})
  )
  (_, training), said = _restore(tmp_path)
  assert int(training["step"]) == 3
  assert [line.split()[1:4] for line in said] == [["has", "no", "digests,"]] * 2


def test_the_shipped_weights_have_digests():
  folder = pathlib.Path(checkpointing.__file__).parent / "shipped/synthetic_full"
  said = []
  weights, step = checkpointing.read_weights(folder, say=said.append)
  recorded = json.loads((folder / "meta/metadata").read_text())["digests"]["weights"]
  assert step == 7500 and recorded == digests.of_tree(weights) and not said


def test_half_written_checkpoints_are_removed_at_the_start(tmp_path):
  _save(tmp_path)
  half = tmp_path / "checkpoints/6.orbax-checkpoint-tmp-17"
  (half / "weights").mkdir(parents=True)
  _restore(tmp_path)
  assert not half.exists() and (tmp_path / "checkpoints/3").is_dir()


def test_a_full_disk_is_a_sentence_before_anything_is_written(tmp_path, monkeypatch):
  _save(tmp_path, 3)
  usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
  monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
  with pytest.raises(OSError, match="has 1 MB left, a checkpoint needs 8 MB: make room"):
    _save(tmp_path, 6)
  assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["3"]


def test_no_flipped_bit_gives_other_weights(tmp_path):
  rng = np.random.default_rng(0)
  tree = {"params": {f"k{i}": rng.normal(size=(64, 33)).astype(np.float32) for i in range(3)}}
  checkpointing.write_weights(tmp_path / "weights", weights=tree, meta=_META)
  found = collections.Counter(rot.flips(tmp_path / "weights", 60, rng))
  assert sum(found.values()) == 60
  # A few bytes of the array files are of no array.
  assert found["arrays", "refused"] >= 15
  assert not any(outcome == "other weights" for _, outcome in found), found
