"""Which joints are each other's mirror image, by their names, and which are legs and arms."""

from collections.abc import Sequence

_LEGS = ("hip", "kne", "ank", "heel", "toe", "foot", "leg")
_ARMS = ("sho", "elb", "wri", "hand", "thumb", "index", "pinky", "arm")


def pairs(joints: Sequence[str]) -> tuple[tuple[int, int], ...]:
  """(left, right) indices of joints whose names differ by the side alone, in the left ones' order.

  A side is "left" anywhere in the name, or L as the first or the last letter: left_knee, LKnee,
  knee.L, lkne, L1A; small or capital.
  """
  place = {name: i for i, name in enumerate(joints)}
  found = []
  for name in joints:
    other = next((x for x in _mirrored(name) if x in place), None)
    if other is not None:
      found.append((place[name], place[other]))
  return tuple(found)


def _mirrored(name: str) -> list[str]:
  """What the right one of a left joint may be called."""
  words = (("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT"))
  found = [name.replace(left, right) for left, right in words if left in name]
  letters = {"l": "r", "L": "R"}
  if name[:1] in letters:
    found.append(letters[name[0]] + name[1:])
  if name[-1:] in letters:
    found.append(name[:-1] + letters[name[-1]])
  return found


def regions(joints: Sequence[str]) -> dict[str, tuple[tuple[int, int], ...]]:
  """Pairs that detectors exchange together: legs and arms by their names, "body" for the rest."""
  found: dict[str, list[tuple[int, int]]] = {}
  for left, right in pairs(joints):
    name = joints[left].lower()
    part = "legs" if any(x in name for x in _LEGS) else "body"
    part = "arms" if any(x in name for x in _ARMS) else part
    found.setdefault(part, []).append((left, right))
  return {part: tuple(chosen) for part, chosen in found.items()}
