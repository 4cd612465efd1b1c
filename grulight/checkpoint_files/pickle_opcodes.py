"""The instructions of a pickle: those that ``torch.save`` writes, before any is followed."""

import pickletools
from collections.abc import Iterator

from grulight.checkpoint_files.unreadable import MAX_DEPTH, Unreadable

# those that torch.save writes
_STACK = {"MARK", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "PROTO", "STOP"}
_VALUES = {"NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"}
_BOXES = {"EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}
_FILLS = {"BINUNICODE", "APPEND", "APPENDS", "SETITEM", "SETITEMS"}
_OPCODES = _STACK | _VALUES | _BOXES | _FILLS | {"GLOBAL", "BINPERSID", "REDUCE", "BUILD"}


def check_opcodes(data: bytes) -> None:
    """Check that a pickle is one that torch writes, and that no tuples nest without end.

    C code follows a pickle's instructions: a number in a table of memories makes it as long, and
    a dictionary's key, a tuple in a tuple and so on, is hashed without a limit.
    """
    stack: list[int] = []  # how deep each value's tuples are; -1 for a mark
    memory: dict[int, int] = {}
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            name = opcode.name
            if name not in _OPCODES or (name.endswith("PUT") and int(argument or 0) > count):
                raise Unreadable("its pickle is not one of torch.save")
            depth = 0
            if name.endswith("PUT"):
                memory[int(argument or 0)] = stack[-1]
                continue
            if name.endswith("GET"):
                depth = memory[int(argument or 0)]
            taken = list(_popped(opcode, stack))
            if name.startswith("TUPLE"):
                depth = 1 + max(taken, default=0)
            if depth > MAX_DEPTH:
                raise Unreadable(f"it is nested deeper than {MAX_DEPTH} levels")
            stack += [-1 if name == "MARK" else depth] * len(opcode.stack_after)
    except (ValueError, IndexError, KeyError) as error:
        raise Unreadable("its pickle is damaged") from error


def _popped(opcode: pickletools.OpcodeInfo, stack: list[int]) -> Iterator[int]:
    """Take what an instruction takes from the stack."""
    fixed = opcode.stack_before
    if pickletools.stackslice in fixed:
        fixed = fixed[: fixed.index(pickletools.markobject)]
        while (depth := stack.pop()) >= 0:
            yield depth
    for _ in fixed:
        yield stack.pop()
