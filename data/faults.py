"""Faults in raw data: the first one stops the work, or they are left out and counted by kind."""

import dataclasses


class BadRecord(ValueError):
  """A record that cannot be used.

  Attributes:
    kind: a few words, the same for all records with this fault; the summary counts by them.
  """

  def __init__(self, kind: str, message: str):
    super().__init__(message)
    self.kind = kind

  def __reduce__(self) -> tuple[type["BadRecord"], tuple[str, str]]:
    # Faults found by another process travel here.
    return BadRecord, (self.kind, str(self))


@dataclasses.dataclass
class Faults:
  """What to do about faults, and what was found so far.

  Attributes:
    stop: the first fault raises; otherwise the record is left out and counted.
    counts: records left out, by kind of fault.
    first: the first message of each kind.
  """

  stop: bool = True
  counts: dict[str, int] = dataclasses.field(default_factory=dict)
  first: dict[str, str] = dataclasses.field(default_factory=dict)

  def add(self, fault: BadRecord) -> None:
    """Counts a fault.

    Raises:
      BadRecord: the fault itself, when it is to stop the work.
    """
    if self.stop:
      raise fault
    self.merge({fault.kind: 1}, {fault.kind: str(fault)})

  def merge(self, counts: dict[str, int], first: dict[str, str]) -> None:
    """Adds what another part of the work left out."""
    for kind, count in counts.items():
      self.counts[kind] = self.counts.get(kind, 0) + count
      self.first.setdefault(kind, first[kind])

  @property
  def total(self) -> int:
    """Records left out."""
    return sum(self.counts.values())
