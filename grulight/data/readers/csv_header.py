"""What stands at the top of a text table: the sign between its cells, and what they are called."""

from dataclasses import dataclass

from grulight.data.readers.csv_cells import CellReader, is_number
from grulight.data.readers.messages import bad
from grulight.data.readers.table_columns import ColumnNames
from grulight.data.readers.text_file import TextFile
from grulight.errors import InputError

_SEPARATORS = (",", ";", "\t", "|")
_BY_NAME = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "space": " "}


@dataclass(frozen=True)
class Header:
    """The top of a text table.

    Attributes:
        separator: The sign between cells.
        names: Of its columns.
        offset: Bytes of the text before the first row.
        is_series: Whether there is no header and each row is a label and a series, as in the
            UCR archive of 2018; its columns are then called ``label``, 0, 1, ...
    """

    separator: str
    names: list[str]
    offset: int
    is_series: bool = False


def read_header(path: str, columns: ColumnNames) -> Header:
    """Read the header, by the sign that the user gives or the one that fits best.

    Raises:
        InputError: There is none, it is no text, or the sign cannot stand between cells.
    """
    given = columns.separator
    signs = _SEPARATORS if given is None else (_sign(given),)
    found, errors = list[Header](), list[InputError]()
    for sign in signs:
        try:
            with TextFile(path) as file:
                cells = CellReader(file, sign)
                names = [name.strip() for name in next(cells, [])]
                found.append(Header(sign, names, cells.offset))
        except InputError as error:  # quotes may stand oddly where the sign is another
            errors.append(error)
    if not found:
        raise errors[0]
    # the one by which the sequence appears, or the one with the most columns
    best = max(found, key=lambda each: (columns.sequence in each.names, len(each.names)))
    if not best.names:
        raise bad(path, "line 1: expected a header with the names of the columns.")
    if len(best.names) > 1 and all(is_number(name, ".") for name in best.names):
        series = ["label", *map(str, range(len(best.names) - 1))]
        return Header(best.separator, series, 0, is_series=True)
    return best


def _sign(given: str) -> str:
    sign = _BY_NAME.get(given, given)
    if len(sign) != 1 or not sign.isascii() or sign.isalnum() or sign in '"\r\n\0.-+_':
        raise InputError(
            f"--data.separator {given!r}: expected one sign, such as , ; | or the word tab."
        )
    return sign
