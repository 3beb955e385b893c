"""The folder of a run: config.json is what was trained there, by one training at a time."""

import contextlib
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import ml_collections

from epipolar_jax import checkpointing, locking, skeletons
from epipolar_jax.runtime import processes

# Fields that change neither the weights nor what they are for: how a run is logged, saved, fed and
# evaluated.
_FREE = (
  *("eval.", "train.log_steps", "train.checkpoint_minutes", "train.eval_epochs"),
  *("data.dir", "data.num_threads", "data.num_workers", "model.fusion.algorithm"),
)
# Fields that may be changed in the middle of a run, by those who ask for it.
_CHANGEABLE = ("optimizer.", "train.")
# Steps count batches: with another size they would count something else.
_STEP_SIZE = "train.batch_size"
# Fields that decide what an evaluation of weights means.
_NETWORK_INPUT = ("task", "model.", "data.image_size", "heatmap.", "parity.", "lifting.")

_RECORD = "config.json"


class MismatchError(ValueError):
  """A run folder holds another run than the one that is asked for."""


@contextlib.contextmanager
def alone(workdir: pathlib.Path) -> Iterator[None]:
  """Keeps other trainings out of a work folder; of a job the first process holds the lock.

  Raises:
    locking.BusyError: another process trains there; in every process of the job.
  """
  with contextlib.ExitStack() as held:
    who = ""
    if processes.leads():
      try:
        held.enter_context(locking.alone(workdir / ".lock"))
      except locking.BusyError as busy:
        who = str(busy)
    if any(processes.agree([bool(who)])):
      raise locking.BusyError(
        f"{workdir} is in use: {who or 'another process'} trains there. Wait until it ends, stop "
        "it, or choose another folder with --workdir"
      )
    yield


def write(workdir: pathlib.Path, config: ml_collections.ConfigDict, *, resumed: bool) -> None:
  """Records the config that is trained from here on.

  Args:
    workdir: of the run.
    config: what is trained.
    resumed: steps were trained before; if with another config, that goes to config_history.json.
  """
  file, new = workdir / _RECORD, as_json(config)
  workdir.mkdir(parents=True, exist_ok=True)
  old = read(workdir)
  if resumed and old is not None and _differences(old, new, skip=_FREE):
    history = workdir / "config_history.json"
    earlier = json.loads(history.read_text(encoding="utf-8")) if history.exists() else []
    _replace(history, [*earlier, old])
  _replace(file, new)


def read(workdir: pathlib.Path) -> dict[str, Any] | None:
  """The recorded config of a run; None if there is none.

  Raises:
    ValueError: the file is damaged; the message says what to do.
  """
  file = workdir / _RECORD
  if not file.exists():
    return None
  try:
    found = json.loads(file.read_text(encoding="utf-8"))
  except (ValueError, RecursionError) as error:
    raise ValueError(
      f"{file} cannot be read ({error}), so what was trained here is not known: use another "
      "--workdir, or restore the file"
    ) from error
  if not isinstance(found, dict):
    raise ValueError(f"{file} is not a config: it holds a {type(found).__name__}")
  try:
    return _named(found)
  except (ValueError, FileNotFoundError) as error:
    raise ValueError(f"{file}: {error}") from error


def check(
  workdir: pathlib.Path, config: ml_collections.ConfigDict, *, allow_changes: bool
) -> list[str]:
  """Compares the config of the run in a folder with the one that is asked for.

  Args:
    workdir: of a run with a checkpoint.
    config: asked for.
    allow_changes: options of the optimizer and of training may differ from here on.

  Returns:
    The differences that are allowed, a line each, for a message; none in most runs.

  Raises:
    MismatchError: fields differ; the message names each with both values and what to do.
  """
  old, new = read(workdir), as_json(config)
  if old is None:
    return []
  changed = _differences(old, new, skip=_FREE)
  allowed = allow_changes and all(
    name.startswith(_CHANGEABLE) and name != _STEP_SIZE for name in changed
  )
  lines = [f"  {name}: the run has {a!r}, asked for is {b!r}" for name, (a, b) in changed.items()]
  if changed and not allowed:
    may = ", ".join(sorted(n for n in changed if n.startswith(_CHANGEABLE) and n != _STEP_SIZE))
    advice = (
      f" To go on with the new {may}, add --allow_changes."
      if may == ", ".join(sorted(changed))
      else ""
    )
    raise MismatchError(
      f"{workdir} holds a run of another config:\n" + "\n".join(lines) + "\nTrain in another "
      f"folder (--workdir), or repeat the run's own values.{advice}"
    )
  return lines


def check_evaluation(checkpoint: pathlib.Path, config: ml_collections.ConfigDict) -> list[str]:
  """Compares the config of an evaluation with that of the run the weights come from.

  Args:
    checkpoint: its folder; where `record_of` finds nothing, only what the checkpoint itself records
      is compared, by who restores it.
    config: asked for.

  Returns:
    Differences of the data, a line each: weights may be evaluated on other data than their own.

  Raises:
    MismatchError: the network would be given other inputs than it was trained on.
  """
  old = of_checkpoint(checkpoint)
  if old is None:
    return []
  changed = _differences(old, as_json(config), skip=(*_FREE, "optimizer.", "train.", "seed"))
  lines = {n: f"  {n}: trained with {a!r}, asked for is {b!r}" for n, (a, b) in changed.items()}
  # Where weights come from does not matter to what they are; the checkpoint itself checks the rest.
  wrong = [line for n, line in lines.items() if n.startswith(_NETWORK_INPUT) and n != "model.init"]
  if wrong:
    raise MismatchError(
      f"{checkpoint} was trained with another config:\n" + "\n".join(wrong) + "\nRepeat the run's "
      f"own values (they are in {record_of(checkpoint)}): with others its network is "
      "given inputs that it has not learnt."
    )
  return [line for n, line in lines.items() if n.startswith("data.")]


def record_of(checkpoint: pathlib.Path) -> pathlib.Path | None:
  """The config.json of a checkpoint: in its own folder, as shipped, or in that of its run.

  None where there is none: weights that were copied out of their run.
  """
  places = [checkpoint / _RECORD]
  if checkpoint.absolute().parent.name in ("checkpoints", checkpointing.BEST):
    places.append(checkpoint.absolute().parent.parent / _RECORD)
  return next((place for place in places if place.exists()), None)


def of_checkpoint(checkpoint: pathlib.Path) -> dict[str, Any] | None:
  """The recorded config that a checkpoint was trained with; None where there is none."""
  record = record_of(checkpoint)
  return None if record is None else read(record.parent)


def as_json(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """The config as it is recorded."""
  return _named(json.loads(config.to_json_best_effort()))


def _named(record: dict[str, Any]) -> dict[str, Any]:
  """A record, also an old one, with the skeleton by name or in full."""
  model = record.get("model")
  return record | {"model": skeletons.record(model)} if isinstance(model, dict) else record


def _differences(
  old: dict[str, Any], new: dict[str, Any], *, skip: tuple[str, ...]
) -> dict[str, tuple[Any, Any]]:
  """Leaves that differ, by name. One that only one side has is an option of another version."""
  have, want = checkpointing.flatten(old), checkpointing.flatten(new)
  names = [name for name in sorted(have.keys() & want.keys()) if not name.startswith(skip)]
  return {name: (have[name], want[name]) for name in names if have[name] != want[name]}


def _replace(file: pathlib.Path, content: Any) -> None:
  temporary = file.with_suffix(".tmp")
  temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
  temporary.replace(file)
