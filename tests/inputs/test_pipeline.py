"""Shards, workers, erasing, parts of a set, and batches that wait on the devices."""

import functools

import jax
import numpy as np
import pytest
from absl import flags

from configs import h36m, lifting_direct_h36m
from data import storing
from epipolar_jax import skeletons
from epipolar_jax.inputs import crops, datasets, lifting, multiview, stored_images, subsets
from epipolar_jax.runtime import parallel
from tests import dots

_JITTER = crops.Augmentation(0.2, 20.0, 0.05, 0.5, 0.2, 0.5)


def _batches(*, source=None, **changes):
  options = {"size": 32, "batch_size": 4, "seed": 0, "start_step": 1, "num_steps": 4}
  source = source or dots.frames(10)
  options["load"] = functools.partial(multiview.load_frame, skeleton=skeletons.H36M_17)
  return list(multiview.train_batches(source, _JITTER, num_threads=2, **(options | changes)))


def _assert_equal(a, b):
  assert set(a) == set(b)
  for name in a:
    np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.parametrize("count", [1, 2, 4])
def test_shards_deal_out_every_batch(count):
  whole = _batches()
  shards = [_batches(shard_index=i, shard_count=count) for i in range(count)]
  for step, batch in enumerate(whole):
    for i in range(count):
      _assert_equal({name: x[i::count] for name, x in batch.items()}, shards[i][step])
  # Ten frames make two and a half steps: over an epoch every frame comes once, to one process.
  epoch = _batches(start_step=0, num_steps=5)
  shards = [
    _batches(start_step=0, num_steps=5, shard_index=i, shard_count=count) for i in range(count)
  ]
  seen = np.concatenate([b["frame"] for steps in zip(*shards) for b in steps])
  assert sorted(seen.tolist()) == sorted(np.concatenate([b["frame"] for b in epoch]).tolist())
  assert sorted(seen.tolist()) == sorted([*range(10), *range(10)])


@pytest.mark.parametrize(("frames", "count"), [(10, 2), (8, 4), (5, 4), (9, 4)])
def test_shards_of_an_evaluation_are_disjoint_and_complete(frames, count):
  options = {"size": 32, "batch_size": 4, "num_threads": 1}
  source = dots.frames(frames)
  whole = list(multiview.eval_batches(source, **options))
  shards = [
    list(multiview.eval_batches(source, **options, shard_index=i, shard_count=count))
    for i in range(count)
  ]
  # As many batches in every process, or the others would wait for ever.
  assert {len(batches) for batches in shards} == {len(whole)}
  for step, batch in enumerate(whole):
    for i in range(count):
      _assert_equal({name: x[i::count] for name, x in batch.items()}, shards[i][step])
  valid = np.concatenate([b["frame"][b["valid"]] for batches in shards for b in batches])
  assert sorted(valid.tolist()) == list(range(frames))


def test_boxes_that_are_off_in_an_evaluation():
  """By up to the share asked for, each view's its own, whatever batches or processes there are."""
  source, error = dots.frames(9), 0.06
  options = {"size": 32, "num_threads": 1, "box_error": error}
  whole = list(multiview.eval_batches(source, batch_size=4, **options))
  crop = np.concatenate([batch["crop"][batch["valid"]] for batch in whole])
  for batch_size, count in ((2, 1), (6, 2)):
    parts = [
      batch
      for i in range(count)
      for batch in multiview.eval_batches(
        source, batch_size=batch_size, shard_index=i, shard_count=count, **options
      )
    ]
    frames = np.concatenate([batch["frame"][batch["valid"]] for batch in parts])
    again = np.concatenate([batch["crop"][batch["valid"]] for batch in parts])
    np.testing.assert_array_equal(again[np.argsort(frames)], crop)
  # A frame's is its own, also in a part of the split.
  part = next(multiview.eval_batches(source, batch_size=3, max_frames=3, **options))
  np.testing.assert_array_equal(part["frame"], [0, 4, 8])
  np.testing.assert_array_equal(part["crop"], crop[[0, 4, 8]])
  boxes = {name: np.stack([frame[name] for frame in source]) for name in ("box_center", "box_size")}
  side = 32 / crop[..., 0, 0]
  growth = side / boxes["box_size"]
  centre = (16 - crop[..., 2]) / crop[..., [0, 1], [0, 1]]
  shift = (centre - boxes["box_center"]) / boxes["box_size"][..., None]
  for values in (growth - 1, shift):
    assert np.abs(values).max() <= error + 1e-5 and np.abs(values).max() > 0.7 * error
    assert len(np.unique(values.round(6))) > 0.4 * values.size and abs(values.mean()) < error / 2
  np.testing.assert_array_equal(crop[..., 0, 1], 0)
  # Labels go with their boxes: the same pixels are shown.
  exact = next(multiview.eval_batches(source, size=32, batch_size=9, num_threads=1))
  assert np.abs(exact["crop"] - crop).max() > 0
  np.testing.assert_array_equal(exact["joints_2d"][:4], whole[0]["joints_2d"])


def test_shards_that_cannot_be():
  source = dots.frames(4)
  for name, read in (
    ("train", lambda **shard: _batches(**shard)),
    (
      "eval",
      lambda **shard: list(
        multiview.eval_batches(source, size=32, batch_size=4, num_threads=1, **shard)
      ),
    ),
  ):
    with pytest.raises(ValueError, match=f"{name}.batch_size 4 cannot be dealt out to 3 processes"):
      read(shard_index=0, shard_count=3)
    with pytest.raises(ValueError, match="shard 2 of 2: shards are numbered from 0 to 1"):
      read(shard_index=2, shard_count=2)


def _encoded(count):
  """Frames whose images are as a data set on disk gives them."""
  return [
    frame
    | {
      "image": [
        stored_images.Jpeg(storing.encode_jpeg(x, 90, tiles=True).getvalue())
        for x in frame["image"]
      ]
    }
    for frame in dots.frames(count)
  ]


@pytest.mark.parametrize("task", ["multiview", "lifting_direct"])
def test_worker_processes_change_nothing(task):
  # grain asks absl for a flag; train.py has them parsed.
  flags.FLAGS.mark_as_parsed()
  config = lifting_direct_h36m.get_config()
  config.task = task
  options = {"source": _encoded(10)}
  if task != "multiview":
    options["load"] = lifting.loader(config, train=True)
  alone = _batches(**options)
  for shard in range(2):
    dealt = _batches(**options, num_workers=2, shard_index=shard, shard_count=2)
    for a, b in zip(alone, dealt, strict=True):
      _assert_equal({name: x[shard::2] for name, x in a.items()}, b)
      assert ("image" in b) == (task != "lifting_direct")
    if task != "multiview":
      break  # starting processes takes seconds


def test_labels_alone_are_read_without_decoding(monkeypatch):
  config = lifting_direct_h36m.get_config()
  load = lifting.loader(config, train=True)
  with_image = functools.partial(load, with_image=True)
  full = _batches(source=_encoded(10), load=with_image)

  def refuse(*_):
    raise AssertionError("an image was decoded")

  monkeypatch.setattr(stored_images, "decode_part", refuse)
  for a, b in zip(full, _batches(source=_encoded(10), load=load), strict=True):
    _assert_equal({name: x for name, x in a.items() if name != "image"}, b)


def test_erasing_covers_one_box_and_draws_alike():
  image = np.full((100, 100, 3), 7, np.uint8)
  covered, states = [], []
  for probability in (0.0, 1.0):
    for seed in range(50):
      rng, copy = np.random.default_rng(seed), image.copy()
      erased = crops.erased_box(100, crops.Augmentation(erase_probability=probability), rng)
      stored_images.Cut(image, np.eye(2, 3), erased=erased).draw(copy)
      changed = (copy != image).any(-1)
      covered.append(changed.mean())
      states.append(rng.random())
      if changed.any():
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        assert changed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert len(np.unique(copy[changed], axis=0)) == 1
  assert max(covered[:50]) == 0 and states[:50] == states[50:]
  assert 0.05 < np.mean(covered[50:]) < 0.12 and max(covered) < 0.22


def test_every_nth_of_what_is_left():
  assert subsets.every(10, 3).tolist() == [0, 3, 6, 9]
  assert subsets.every(10, 2, [(0, 2), (5, 6)]).tolist() == [2, 4, 7, 9]
  part = subsets.Subset(list("abcdefghij"), subsets.every(10, 4))
  assert len(part) == 3 and list(part) == ["a", "e", "i"]
  with pytest.raises(ValueError, match="none of 4 examples is left"):
    subsets.every(4, 1, [(0, 4)])
  with pytest.raises(ValueError, match="0-th example"):
    subsets.every(4, 0)


def test_union_joints_keep_their_names():
  (frame,) = dots.frames(1)
  (union,) = subsets.UnionJoints([frame])
  assert union["labelled"].shape == (4, 20) and (union["labelled"].sum(1) == 17).all()
  for i, name in enumerate(skeletons.UNION_20.joints):
    if union["labelled"][:, i].all():
      j = skeletons.H36M_17.index(name)
      np.testing.assert_array_equal(union["joints_3d"][i], frame["joints_3d"][j])
      np.testing.assert_array_equal(union["joints_2d"][:, i], frame["joints_2d"][:, j])
    else:
      assert name in ("thorax", "upper_neck", "head_top") and not union["visible"][:, i].any()
  (batch,) = multiview.eval_batches(
    subsets.UnionJoints([frame]), size=32, batch_size=1, num_threads=1
  )
  np.testing.assert_array_equal(batch["labelled"][0], union["labelled"])


def test_batches_wait_on_the_devices():
  batches = [{"x": np.arange(8) + i} for i in range(4)]
  taken = []

  def source():
    for i, batch in enumerate(batches):
      taken.append(i)
      yield batch

  ready = parallel.prefetch(source(), ahead=1)
  for i, batch in enumerate(ready):
    assert isinstance(batch["x"], jax.Array) and len(batch["x"].sharding.device_set) == 4
    np.testing.assert_array_equal(batch["x"], batches[i]["x"].reshape(4, 2))
    # One more is on its way.
    assert len(taken) == min(i + 2, 4)


def test_missing_human36m_says_what_to_do(tmp_path):
  config = h36m.get_config()
  config.data.dir = str(tmp_path)
  with pytest.raises(datasets.MissingDataError) as error:
    datasets.open_split(config.data, "train")
  for text in (
    "vision.imar.ro/human3.6m",
    "annot/h36m_train.pkl",
    f"python -m data.h36m.builder --raw FOLDER --data_dir {tmp_path} --image_size 512",
    "python -m data.synthetic.export --layout h36m --output FOLDER",
    "python -m data.check FOLDER",
  ):
    assert text in str(error.value)
