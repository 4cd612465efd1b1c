"""What stands at the top of a text table: the sign between its cells, and what they are called."""

from dataclasses import dataclass

from grulight.data.readers.csv_cells import CellReader, is_number
from grulight.data.readers.hints import with_index_name
from grulight.data.readers.messages import bad
from grulight.data.readers.table_columns import ColumnNames
from grulight.data.readers.text_file import TextFile
from grulight.errors import InputError, option

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
    found, errors = list[tuple[Header, int]](), list[InputError]()
    for sign in signs:
        try:
            with TextFile(path, columns.encoding) as file:
                cells = CellReader(file, sign)
                names, start = _first_row(cells, sign)
                found.append((Header(sign, with_index_name(names), cells.offset), start))
        except InputError as error:  # quotes may stand oddly where the sign is another
            errors.append(error)
    if not found:
        raise errors[0]
    # the one by which the sequence appears, or the one with the most columns
    best, start = max(
        found, key=lambda each: (columns.sequence in each[0].names, len(each[0].names))
    )
    if not best.names:
        raise bad(path, "line 1: expected a header with the names of the columns.")
    if len(best.names) > 1 and all(is_number(name, ".") for name in best.names):
        series = ["label", *map(str, range(len(best.names) - 1))]
        return Header(best.separator, series, start, is_series=True)
    return best


def _first_row(cells: CellReader, sign: str) -> tuple[list[str], int]:
    """Return the first row, and its offset: behind a line that tells Excel the sign, if any."""
    row, start = next(cells, []), 0
    if row in (["sep=", ""], [f"sep={sign}"]):
        start = cells.offset
        row = next(cells, [])
    return [name.strip() for name in row], start


def _sign(given: str) -> str:
    sign = _BY_NAME.get(given, given)
    if len(sign) != 1 or not sign.isascii() or sign.isalnum() or sign in '"\r\n\0.-+_':
        raise InputError(
            f"{option('data.separator', given)}: expected one sign, such as , ; | or the word tab."
        )
    return sign
