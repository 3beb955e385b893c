"""Opens (and if need be makes) a data set by the name in its config."""

import importlib.util
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import ml_collections
import tensorflow_datasets as tfds

from epipolar_jax import skeletons
from epipolar_jax.inputs import fields, stored_images, subsets

Source = Sequence[dict[str, Any]]

_H36M_MISSING = """Human3.6M is not prepared: {reason}.
  Get it: it may not be redistributed; ask for an account at http://vision.imar.ro/human3.6m, and
    let the H36M toolbox (github.com/CHUNYUWANG/H36M-Toolbox) download it and write its labels.
  Put it: FOLDER/annot/h36m_train.pkl, FOLDER/annot/h36m_validation.pkl, FOLDER/images/ (or
    FOLDER/images.zip).  python -m data.check FOLDER  looks whether all is well.
  Prepare it, once: python -m data.h36m.builder --raw FOLDER --data_dir {dir} --image_size {size}
  Without it: this writes synthetic people in the same format, to be prepared the same way:
    python -m data.synthetic.export --layout h36m --output FOLDER
  configs/synthetic.py and configs/synthetic_full.py need nothing at all."""


class MissingDataError(FileNotFoundError):
  """A data set is not there and cannot be made here; the message says how to get it."""


class _Encoded(tfds.decode.SkipDecoding):
  """Leaves images encoded: the loader decodes what a crop needs, if it needs one at all."""

  def decode_example_np(self, serialized_example: bytes) -> stored_images.Jpeg:
    return stored_images.Jpeg(serialized_example, _declared(self.feature))

  def decode_batch_example_np(
    self, serialized_example: Sequence[bytes]
  ) -> list[stored_images.Jpeg]:
    return [stored_images.Jpeg(data, _declared(self.feature)) for data in serialized_example]


def _declared(feature: tfds.features.FeatureConnector) -> tuple[int, int] | None:
  """(width, height) of the images by the data set's own description, where it has one."""
  height, width = feature.shape[-3:-1]
  return (width, height) if width and height else None


def read(prepared: tfds.core.DatasetBuilder, split: str) -> Source:
  """Random access to the examples of a prepared data set, images as `stored_images.Jpeg`.

  Raises:
    ValueError: examples of several views lack a field that every task needs.
  """
  names = prepared.info.features
  several = "rotation" in names or "box_size" in names
  if several and (lacking := fields.missing(names)):
    raise ValueError(f"{prepared.data_dir}: {lacking}")
  return prepared.as_data_source(split, decoders={"image": _Encoded()})


def check_format() -> None:
  """Refuses to work without the package that reads and writes the files of data sets.

  Raises:
    MissingDataError: it is not installed, as on Windows, where pip leaves it out.
  """
  if importlib.util.find_spec("array_record") is None:
    raise MissingDataError(
      "data sets are stored as ArrayRecord, and the package array_record is not installed. It has "
      "wheels for Linux and for macOS on Apple silicon, none for Windows: use WSL there; elsewhere "
      "pip install array_record"
    )


def _check_builders() -> None:
  """Refuses another package called `data`, as many projects have one.

  Raises:
    MissingDataError: `data` is not this project's, or there is none.
  """
  try:
    found = importlib.util.find_spec("data.opening")
    other = importlib.util.find_spec("data")
  except ModuleNotFoundError:
    found = other = None
  if found is None:
    where = "none is found" if other is None else f"found is {other.origin or other.name}"
    raise MissingDataError(
      "data sets are opened by the package `data` at the root of this project's repository, which "
      f"pip does not install; {where}: run from that root, or name it first in PYTHONPATH"
    )


def open_split(config: ml_collections.ConfigDict, split: str) -> Source:
  """Random access to the stored examples of one split; prepares the data set the first time.

  Args:
    config: the `data` group.
    split: for example "train" or "test".

  Returns:
    A sequence of dicts with the images (`stored_images.Jpeg`) and all labels of one frame each.

  Raises:
    ValueError: if there is no such split, or the name is none of a folder.
    MissingDataError: the data cannot be made here and are missing; or the package array_record, or
      this project's `data`, is.
  """
  check_format()
  _check_builders()
  return DATASETS.get(config.name, _own)(config, split)


def _synthetic(config: ml_collections.ConfigDict, split: str) -> Source:
  # Imported here: the generator renders with jax, which readers of other sets do not need.
  from data.synthetic import builder

  options = builder.Options(**config.synthetic.to_dict())
  source = read(builder.prepare(options, pathlib.Path(config.dir), split), split)
  # `visible` is what occluders and the image's border hide; the labels are exact all the same.
  return subsets.Labelled(source, subsets.all_joints)


def _h36m(config: ml_collections.ConfigDict, split: str) -> Source:
  """Without the damaged clips and thinned out, as the config says."""
  from data.h36m import builder, examples

  choice = config.h36m
  try:
    prepared = builder.open_prepared(config.dir, choice.stored_size)
    summary = builder.read_summary(config.dir, choice.stored_size)
  except FileNotFoundError as error:
    text = _H36M_MISSING.format(reason=error, dir=config.dir, size=choice.stored_size)
    raise MissingDataError(text) from error
  if split not in summary["splits"]:
    known = ", ".join(sorted(summary["splits"]))
    raise ValueError(f"Human3.6M has no split {split!r}; it has {known}")
  # Data sets prepared before version 3 have no field for it.
  source = subsets.Labelled(read(prepared, split), examples.labelled_of_old)
  damaged = summary["splits"][split]["damaged"] if choice.drop_damaged else ()
  step = choice.train_every if split == "train" else choice.eval_every
  return subsets.Subset(source, subsets.every(len(source), step, damaged))


def _rhd(config: ml_collections.ConfigDict, split: str) -> Source:
  from data.rhd import builder

  try:
    return read(builder.open_split(config.dir, split), split)
  except FileNotFoundError as error:
    raise MissingDataError(str(error)) from error


def _footage(config: ml_collections.ConfigDict, split: str) -> Source:
  """One's own recordings, by their name."""
  name = config.footage.name if "footage" in config else ""
  command = "python -m data.footage.builder --name NAME --videos ... --cameras ... --labels ..."
  return _folder(pathlib.Path(config.dir) / "footage", "data.footage.name", name, split, command)


def check_joints(config: ml_collections.ConfigDict, skeleton: skeletons.Skeleton) -> None:
  """Makes sure that a network of a skeleton learns the joints of one's own recordings.

  Args:
    config: the `data` group, whose data set is there.
    skeleton: of the network. Its tree, pairs and size may be others than the data set's.

  Raises:
    ValueError: its joints are others, or in another order.
  """
  from data import files, opening

  folder = opening.newest(pathlib.Path(config.dir) / "footage" / config.footage.name)
  stored = json.loads(files.read_text(folder / "metadata.json"))["skeleton"]
  if list(skeleton.joints) != stored["joints"]:
    raise ValueError(
      f"{folder} labels {', '.join(stored['joints'])}; model.skeleton {skeleton.name} has "
      f"{', '.join(skeleton.joints)}. Set model.skeleton={folder.parent / 'skeleton.toml'}"
    )


def check_skeleton(config: ml_collections.ConfigDict, skeleton: skeletons.Skeleton) -> None:
  """Makes sure that a network of a skeleton learns the joints that the generator stores.

  Args:
    config: the `data` group of synthetic data.
    skeleton: of the network. It may have names of its own for all of the joints.

  Raises:
    ValueError: it has another number of joints, or the same ones in another order.
  """
  # Recorded configs may be from before there was a choice.
  stored = skeletons.SKELETONS[config.synthetic.get("skeleton", "h36m_17")]
  renamed = not set(skeleton.joints) & set(stored.joints)
  if skeleton.num_joints != stored.num_joints or not (renamed or skeleton.joints == stored.joints):
    raise ValueError(
      f"data.synthetic.skeleton is {stored.name}: {', '.join(stored.joints)}; model.skeleton "
      f"{skeleton.name} has {', '.join(skeleton.joints)}. Set both to the same, as "
      "--config configs/clothed.py:coco_17 does"
    )


def _own(config: ml_collections.ConfigDict, split: str) -> Source:
  """A data set of one's own, prepared in the folder of its name by whatever builder."""
  help = (
    f"Known by name: {', '.join(sorted(DATASETS))}; data/README.md says how to prepare your own"
  )
  return _folder(pathlib.Path(config.dir), "data.name", config.name, split, help)


def _folder(folder: pathlib.Path, field: str, name: str, split: str, help: str) -> Source:
  from data import opening

  if not name or pathlib.PurePath(name).name != name:
    raise ValueError(f"{field} is {name!r}: it should be the name of a folder in {folder}")
  found = opening.newest(folder / name)
  if found is None:
    raise MissingDataError(
      f"{field} is {name!r}, and there is no prepared data set in {folder / name}. {help}"
    )
  prepared = opening.open_folder(found)
  if split not in prepared.info.splits:
    raise ValueError(
      f"{found} has no split {split!r}; it has {', '.join(sorted(prepared.info.splits))}"
    )
  return read(prepared, split)


# By `data.name`; any other name is that of a folder in `data.dir`.
DATASETS = {"synthetic": _synthetic, "h36m": _h36m, "rhd": _rhd, "footage": _footage}
