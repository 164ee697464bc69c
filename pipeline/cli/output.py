"""Where a command may write its table, its file or its folder."""

from collections.abc import Callable, Iterable
from pathlib import Path

from pipeline.common.errors import BadInput
from pipeline.common.paths import expanded
from pipeline.tracking.store import why_unwritable


def check_output(
    output: str, suffix: str, what: str, is_earlier: Callable[[Path], bool], pictures: Iterable[Path] = ()
) -> Path:
    """The file to write. BadInput where its folder is not there or takes no file, said before any work.

    So it is for a name without the suffix, for one of the `pictures`, and for a file that holds anything but `what`
    (answers, features) of an earlier call, as `is_earlier` tells.
    """
    path = expanded(output, "output")
    if not path.parent.is_dir() or path.is_dir():
        raise BadInput(f"output={output}: a file's name in a folder that is there is wanted")
    if path.suffix.lower() != suffix:
        raise BadInput(f"output={output}: {what} have a name that ends in {suffix}")
    if path.exists():
        if any(path.samefile(picture) for picture in pictures):
            raise BadInput(f"output={output} is one of the pictures asked about; name another file")
        if not is_earlier(path):
            raise BadInput(f"output={output} holds something else than earlier {what}; name another file")
    if reason := why_unwritable(path):
        raise BadInput(f"output={output} cannot be written: {reason}; name another file")
    return path


def check_folder(
    output: str, mark: str, pictures: Iterable[Path] = (), is_earlier: Callable[[Path], bool] = Path.is_file
) -> Path:
    """The folder to write: a new or empty one, or one of an earlier call, as its file `mark` tells by `is_earlier`.

    BadInput for others, before any work.
    """
    folder = expanded(output, "output")
    if not folder.absolute().parent.is_dir() or (folder.exists() and not folder.is_dir()):
        raise BadInput(f"output={output}: a folder's name in a folder that is there is wanted")
    if folder.is_dir() and any(folder.iterdir()) and not is_earlier(folder / mark):
        raise BadInput(f"output={output} holds something else than an earlier {mark}; name another folder")
    if any(folder.absolute() in picture.absolute().parents for picture in pictures):
        raise BadInput(f"output={output} holds pictures that are asked about; name another folder")
    if reason := why_unwritable((folder if folder.is_dir() else folder.absolute().parent) / mark):
        raise BadInput(f"output={output} cannot be written: {reason}; name another folder")
    return folder
