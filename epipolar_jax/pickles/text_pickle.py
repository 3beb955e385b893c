"""Reads lists and tuples of texts and whole numbers in pickle's oldest protocol (0), of text.

PyTables writes the names of a pandas table's columns so, as an attribute.
"""

from collections.abc import Callable

from epipolar_jax.pickles import restricted

_LONGEST_LINE = 10_000


def loads(data: bytes) -> object:
  """Reads one pickle, which must be all of the data.

  Returns:
    Lists and tuples of texts, whole numbers and None.

  Raises:
    PickleError: anything else is in it, or it is damaged.
  """
  machine = _Machine(data, 0, functions={}, names=frozenset(), persistent_load=None)
  value = machine.run()
  if machine.position != len(data):
    raise restricted.PickleError(f"{len(data) - machine.position} bytes follow the pickle")
  return value


class _Machine(restricted.Machine):
  """Operations whose arguments are lines of text."""

  kind = "a table's attribute"
  hint = "only lists of names are read"

  def line(self) -> bytes:
    end = self.data.find(b"\n", self.position, self.position + _LONGEST_LINE)
    if end < 0:
      raise restricted.PickleError("damaged pickle: a line does not end")
    text = self.take(end - self.position)
    self.take(1)
    return text

  def whole(self) -> int:
    text = self.line()
    if not text.lstrip(b"-").isdigit() or len(text) > 18:
      raise restricted.PickleError(f"damaged pickle: {text[:40]!r} is not a whole number")
    return int(text)

  def unicode(self) -> None:
    try:
      self.push(self.line().decode("raw-unicode-escape"))
    except UnicodeDecodeError as error:
      raise restricted.PickleError("damaged pickle: a text is not escaped") from error

  def remember(self) -> None:
    value = self.pop()
    self.push(value)
    self.memo[self.whole()] = value

  def recall(self) -> None:
    index = self.whole()
    if index not in self.memo:
      raise restricted.PickleError(f"damaged pickle: it recalls value {index}, never stored")
    self.push(self.memo[index])


_STEPS: dict[bytes, Callable[[_Machine], None]] = {
  b"(": _Machine.mark,
  b"l": lambda m: m.push(m.pop_mark()),
  b"t": _Machine.marked_tuple,
  b"a": lambda m: m.append([m.pop()]),
  b"V": _Machine.unicode,
  b"I": lambda m: m.push(m.whole()),
  b"p": _Machine.remember,
  b"g": _Machine.recall,
  b"N": lambda m: m.push(None),
}
_Machine.steps = _STEPS
