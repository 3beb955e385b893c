"""Which labelled frames train, validate and test: by time or by session, never by neighbours."""

from collections.abc import Sequence

import numpy as np

from data.footage.sessions import Session

SPLITS = ("train", "validation", "test")
# Frames a second of images, which do not say.
_RATE = 30.0


def split(
  sessions: Sequence[Session], validation: str, test: str, *, every: int = 1, gap_s: float = 1.0
) -> tuple[dict[str, np.ndarray], ...]:
  """Indices of each session's labels, by split.

  Args:
    sessions: with labels in the order of time.
    validation, test: a share of every session's labelled frames, from 0 to 1, taken from its end
      (test last); or names of sessions, separated by commas, that go there as a whole.
    every: keeps every n-th labelled frame.
    gap_s: seconds between training frames and those of another split; frames in it are in none.

  Returns:
    For each session the ascending indices of `SPLITS`.

  Raises:
    ValueError: a share outside of 0 to 1, a name of no session, or nothing is left to train on.
  """
  if every < 1:
    raise ValueError(f"--every {every}: must be at least 1")
  if not gap_s >= 0:
    raise ValueError(f"--gap_s {gap_s}: must be at least 0 seconds")
  names = [session.name for session in sessions]
  wanted = {"validation": _wanted(validation, names), "test": _wanted(test, names)}
  shares = [x for x in wanted.values() if isinstance(x, float)]
  if sum(shares) >= 1:
    raise ValueError(f"--validation {validation} and --test {test} leave nothing to train on")
  found = tuple(_of_session(session, wanted, every, gap_s) for session in sessions)
  if not any(len(x["train"]) for x in found):
    raise ValueError(
      "no frame is left to train on: smaller shares for --validation and --test, or a smaller "
      f"--gap_s than {gap_s:g}"
    )
  return found


def _wanted(text: str, names: Sequence[str]) -> float | list[str]:
  try:
    share = float(text)
  except ValueError:
    chosen = [name.strip() for name in text.split(",")]
    if unknown := sorted(set(chosen) - set(names)):
      raise ValueError(
        f"{', '.join(unknown)} is no session; there are {', '.join(names)}. Or give a share, 0.15"
      ) from None
    return chosen
  if not 0 <= share < 1:
    raise ValueError(f"{text} is no share of the frames from 0 to 1")
  return share


def _of_session(session: Session, wanted: dict, every: int, gap_s: float) -> dict[str, np.ndarray]:
  indices = np.arange(0, len(session.labels.frames), every)
  empty = indices[:0]
  for name, value in wanted.items():
    if isinstance(value, list) and session.name in value:
      return dict.fromkeys(SPLITS, empty) | {name: indices}
  counts = {
    name: round(value * len(indices)) if isinstance(value, float) else 0
    for name, value in wanted.items()
  }
  first = len(indices) - sum(counts.values())
  held = indices[first:]
  train = indices[:first]
  if len(held) and len(train):
    frames = session.labels.frames
    gap = gap_s * (session.footage.fps or _RATE)
    train = train[frames[held[0]] - frames[train] > gap]
  return {
    "train": train,
    "validation": held[: counts["validation"]],
    "test": held[counts["validation"] :],
  }
