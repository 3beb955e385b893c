"""A pickle reader that knows data and nothing else: it imports, looks up and calls nothing.

Python's own unpickler, even with `find_class` overridden, sets attributes, calls classes and grows
its memo to any index a file names. This one runs the few opcodes that checkpoints are written with
(protocol 2, `torch.save`'s default), refuses all others, and needs memory in proportion to its
input.
"""

import pickletools
import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class PickleError(ValueError):
  """A pickle that is damaged or holds something that is not allowed."""


class Global(NamedTuple):
  """A name the pickle mentioned, as plain text.

  Attributes:
    name: "module.name", one of those that were allowed.
  """

  name: str


Function = Callable[[tuple[Any, ...]], Any]


def loads(
  data: bytes,
  start: int = 0,
  *,
  functions: Mapping[str, Function] | None = None,
  names: frozenset[str] = frozenset(),
  persistent_load: Callable[[Any], Any] | None = None,
) -> tuple[Any, int]:
  """Reads one pickle.

  Args:
    data: holds the pickle; more may follow it.
    start: its first byte.
    functions: what "module.name(arguments)" stands for; each gets the tuple of arguments, which it
      must not trust, and raises `PickleError`.
    names: other globals that may be mentioned (not called); they become `Global`.
    persistent_load: what a persistent id stands for; None: there are none.

  Returns:
    The value, of dict (an OrderedDict too), list, tuple, str, int, float, bool, None, `Global` and
    what the functions return; and the position after the pickle.

  Raises:
    PickleError: anything else is in it, or it ends early.
  """
  machine = _Machine(data, start, functions or {}, names, persistent_load)
  return machine.run(), machine.position


class _Machine:
  """The stack machine of the pickle format, cut down."""

  def __init__(self, data, position, functions, names, persistent_load):
    self.data, self.position = data, position
    self._functions, self._names = functions, names
    self._persistent_load = persistent_load
    self._stack: list[Any] = []
    self._marks: list[int] = []
    self._memo: dict[int, Any] = {}

  def run(self) -> Any:
    while True:
      code = self._take(1)
      if code == b".":
        return self._pop()
      if code not in _STEPS:
        known = pickletools.code2op.get(code.decode("latin1"))
        name = known.name if known else repr(code)
        raise PickleError(f"the pickle operation {name} is not allowed in a checkpoint")
      _STEPS[code](self)

  def _take(self, count: int) -> bytes:
    if count > len(self.data) - self.position:
      raise PickleError("the file ends in the middle of a pickle: it is truncated or damaged")
    self.position += count
    return self.data[self.position - count : self.position]

  def _number(self, layout: str) -> Any:
    return struct.unpack(layout, self._take(struct.calcsize(layout)))[0]

  def _push(self, value: Any) -> None:
    self._stack.append(value)

  def _pop(self) -> Any:
    floor = self._marks[-1] if self._marks else 0
    if len(self._stack) <= floor:
      raise PickleError("damaged pickle: its stack is empty")
    return self._stack.pop()

  def _pop_mark(self) -> list[Any]:
    if not self._marks:
      raise PickleError("damaged pickle: a mark is missing")
    start = self._marks.pop()
    values = self._stack[start:]
    del self._stack[start:]
    return values

  def protocol(self) -> None:
    version = self._number("<B")
    if version != 2:
      raise PickleError(f"pickle protocol {version}; torch.save writes protocol 2")

  def mark(self) -> None:
    self._marks.append(len(self._stack))

  def text(self, layout: str, encoding: str) -> None:
    try:
      self._push(self._take(self._number(layout)).decode(encoding))
    except UnicodeDecodeError as error:
      raise PickleError("damaged pickle: a text is not UTF-8") from error

  def long(self) -> None:
    self._push(int.from_bytes(self._take(self._number("<B")), "little", signed=True))

  def tuple(self, count: int) -> None:
    self._push(tuple(reversed([self._pop() for _ in range(count)])))

  def marked_tuple(self) -> None:
    self._push(tuple(self._pop_mark()))

  def put(self, layout: str) -> None:
    value = self._pop()
    self._push(value)
    self._memo[self._number(layout)] = value

  def get(self, layout: str) -> None:
    index = self._number(layout)
    if index not in self._memo:
      raise PickleError(f"damaged pickle: it recalls value {index}, which it never stored")
    self._push(self._memo[index])

  def append(self, values: list[Any]) -> None:
    self._top(list).extend(values)

  def set_items(self, values: list[Any]) -> None:
    target = self._top(dict)
    if len(values) % 2:
      raise PickleError("damaged pickle: a key without a value")
    for key, value in zip(values[::2], values[1::2]):
      target[check_key(key)] = value

  def pair(self) -> list[Any]:
    value = self._pop()
    return [self._pop(), value]

  def _top(self, kind: type) -> Any:
    value = self._pop()
    self._push(value)
    if type(value) is not kind:
      raise PickleError(f"damaged pickle: a {type(value).__name__} where a {kind.__name__} belongs")
    return value

  def global_name(self) -> None:
    parts = []
    for _ in range(2):
      end = self.data.find(b"\n", self.position, self.position + 200)
      if end < 0:
        raise PickleError("damaged pickle: the name of a global does not end")
      parts.append(self._take(end - self.position).decode("latin1"))
      self._take(1)
    name = ".".join(parts)
    if name not in self._functions and name not in self._names:
      raise PickleError(
        f"it refers to {name!r}, which is not allowed in a checkpoint: only tensors, numbers, "
        "texts and their dicts and lists are read. Save the state_dict alone"
      )
    self._push(Global(name))

  def call(self) -> None:
    arguments, function = self._pop(), self._pop()
    called = type(function) is Global and function.name in self._functions
    if not called or type(arguments) is not tuple:
      raise PickleError("it calls something that is not a function of a checkpoint")
    self._push(self._functions[function.name](arguments))

  def build(self) -> None:
    """Attributes of an OrderedDict (torch's `_metadata`): left out. Nothing else may have any."""
    state = self._pop()
    self._top(dict)
    if type(state) is not dict:
      raise PickleError("it sets the state of an object, which is not allowed in a checkpoint")

  def persistent(self) -> None:
    if self._persistent_load is None:
      raise PickleError("damaged pickle: a persistent id where none belongs")
    self._push(self._persistent_load(self._pop()))


def show(value: Any) -> str:
  """A value of a pickle for an error message; nested ones, which may be endless, by type only."""
  plain = (str, int, float, bool, type(None))
  if type(value) in plain:
    return repr(value)[:80]
  if type(value) is tuple and len(value) <= 8 and all(type(x) in plain for x in value):
    return f"({', '.join(map(show, value))})"
  return f"a {type(value).__name__}"


def check_key(key: Any) -> Any:
  """Returns a dict key; nested tuples would make Python's hash recurse without a limit."""
  if key is not None and type(key) not in (str, int, float, bool):
    raise PickleError(f"a {type(key).__name__} is not allowed as a key")
  return key


_STEPS: dict[bytes, Callable[[_Machine], None]] = {
  b"\x80": _Machine.protocol,
  b"(": _Machine.mark,
  b"N": lambda m: m._push(None),
  b"\x88": lambda m: m._push(True),
  b"\x89": lambda m: m._push(False),
  b")": lambda m: m._push(()),
  b"]": lambda m: m._push([]),
  b"}": lambda m: m._push({}),
  b"K": lambda m: m._push(m._number("<B")),
  b"M": lambda m: m._push(m._number("<H")),
  b"J": lambda m: m._push(m._number("<i")),
  b"G": lambda m: m._push(m._number(">d")),
  b"\x8a": _Machine.long,
  b"X": lambda m: m.text("<I", "utf-8"),
  # Texts of Python 2.
  b"U": lambda m: m.text("<B", "latin1"),
  b"T": lambda m: m.text("<I", "latin1"),
  b"\x85": lambda m: m.tuple(1),
  b"\x86": lambda m: m.tuple(2),
  b"\x87": lambda m: m.tuple(3),
  b"t": _Machine.marked_tuple,
  b"q": lambda m: m.put("<B"),
  b"r": lambda m: m.put("<I"),
  b"h": lambda m: m.get("<B"),
  b"j": lambda m: m.get("<I"),
  b"a": lambda m: m.append([m._pop()]),
  b"e": lambda m: m.append(m._pop_mark()),
  b"s": lambda m: m.set_items(m.pair()),
  b"u": lambda m: m.set_items(m._pop_mark()),
  b"c": _Machine.global_name,
  b"R": _Machine.call,
  b"b": _Machine.build,
  b"Q": _Machine.persistent,
}
