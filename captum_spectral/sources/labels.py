"""Map each class of a data set to the output of the model that it stands for."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

__all__ = ["class_ids", "outputs_of_labels", "read_label_map"]

_NAMED = 3  # how many classes an error names before it counts the rest
# "folder,id", where the folder may hold blanks and commas, or "folder id"
_NUMBERED = re.compile(r"(?:(.+?)\s*,\s*|(\S+)\s+)([-+]?\d[\d.]*)")
_DESCRIBED = re.compile(r"([^\s,]+)[\s,]+\S.*")
_BOTH = re.compile(r"[^\s,]+[\s,]+\d+[\s,]+\S")
_TEXT = "'folder id', 'folder,id' or 'folder words for its class'"


def class_ids(
    classes: Sequence[str],
    num_classes: int,
    categories: Sequence[str] | None = None,
    label_map: Mapping[str, int] | None = None,
) -> list[int]:
    """Find the output of the model that each class of a data set stands for.

    The first of these rules that applies decides: the label map; names that are all numbers are the
    outputs themselves; names that are all names of the model's categories; as many classes as the
    model has outputs are in the same order. Names are the same if they look the same: "é" as one
    character, as most systems write it, is "é" as two, as macOS does.

    Args:
        classes: The names of the classes, e.g. of their folders.
        num_classes: Number of the model's outputs.
        categories: The model's names of its outputs, in order. Default: None, not known
        label_map: Name of a class to its output, see :func:`read_label_map`. It may hold more than
            the classes. Default: None

    Returns:
        For every class the index of an output.

    Raises:
        ValueError: No rule applies, a class is not in the label map or there in two spellings, an
            output does not exist, a name belongs to two categories, or the names contradict the
            order. All ask for a label map, or for a change to it.

    Example::

        >>> class_ids(["0", "1", "10", "2"], 1000)
        [0, 1, 10, 2]
        >>> class_ids(["cat", "dog"], 3, categories=["dog", "fish", "cat"])
        [2, 0]
    """
    if label_map is not None:
        return _within(_mapped(classes, label_map), classes, num_classes)
    if classes and all(name.isascii() and name.isdigit() for name in classes):
        return _within([int(name) for name in classes], classes, num_classes)
    places: dict[str, list[int]] = {}
    for i, category in enumerate(categories or ()):
        places.setdefault(_composed(category), []).append(i)
    found = [places.get(_composed(name)) for name in classes]
    if classes and all(found):
        if twice := [name for name, ids in zip(classes, found, strict=True) if len(ids or ()) > 1]:
            raise ValueError(
                f"{_few(twice)}: the model has several categories of that name; give a label map "
                "that says which output is meant"
            )
        return _within([ids[0] for ids in found if ids], classes, num_classes)
    if len(classes) != num_classes:
        raise ValueError(
            f"the data has {len(classes)} classes (folders: {_few(classes)}), the model has "
            f"{num_classes} outputs; give a label map that says which output each class stands for"
        )
    # As many classes as outputs means the same order, unless a known name is in another place.
    for i, (name, ids) in enumerate(zip(classes, found, strict=True)):
        if ids and i not in ids:
            unknown = [name for name, ids in zip(classes, found, strict=True) if not ids]
            raise ValueError(
                f"the class {name} is number {i} of the data and {ids[0]} of the model's "
                f"categories, which have no {_few(unknown)}; rename the classes as the categories, "
                "or give a label map"
            )
    return list(range(num_classes))


def outputs_of_labels(
    labels: Iterable[int | None],
    num_classes: int,
    label_map: Mapping[str, int] | None = None,
) -> dict[int, int]:
    """Find the output of the model that each label of a data set without class names stands for.

    The label map decides; without one, labels that run from 0 to the last output are the outputs.

    Args:
        labels: The labels of the pictures; None where one is not known.
        num_classes: Number of the model's outputs.
        label_map: Label, as text, to its output, see :func:`read_label_map`. Default: None

    Returns:
        The output of every label.

    Raises:
        ValueError: A label is not in the label map, an output does not exist, or the labels are not
            exactly the outputs and there is no label map.

    Example::

        >>> outputs_of_labels([2, 0, 0, 1], 3)
        {0: 0, 1: 1, 2: 2}
        >>> outputs_of_labels([0, 1], 10, {"0": 7, "1": 8})
        {0: 7, 1: 8}
    """
    found = sorted({label for label in labels if label is not None})
    names = [str(label) for label in found]
    if label_map is not None:
        return dict(zip(found, _within(_mapped(names, label_map), names, num_classes), strict=True))
    if found and found[-1] != num_classes - 1:
        raise ValueError(
            f"the classes of the data have no names and their labels go up to {found[-1]}, the "
            f"{num_classes} outputs of the model to {num_classes - 1}; give a label map that says "
            "which output a label is"
        )
    return {label: label for label in found}


def read_label_map(path: str | os.PathLike[str]) -> dict[str, int]:
    r"""Read a file that says which output each folder stands for.

    Args:
        path: A JSON file ``{"folder": id, ...}`` or ``{"id": ["folder", "words"], ...}`` (the
            well-known ``imagenet_class_index.json``), or a text file with one class in each line:
            ``folder id``, ``folder,id``, or ``folder words for its class``, where the lines are
            counted from 0.

    Returns:
        Folder to index of an output.

    Raises:
        OSError: The file cannot be opened.
        ValueError: It is in none of these forms, or has a folder twice. The message names the file
            and the line or entry.

    Example::

        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp(), "synsets.txt")
        >>> _ = path.write_text("n01440764 tench, Tinca tinca\nn01443537 goldfish\n")
        >>> read_label_map(path)
        {'n01440764': 0, 'n01443537': 1}
    """
    path = os.fspath(path)
    with open(path, "rb") as file:
        content = file.read()
    try:
        text = content.decode("utf-8-sig").rstrip()
        if not text:
            raise ValueError("it is empty")
        is_json = path.lower().endswith(".json") or text.lstrip()[0] in "{["
        return _collect(_from_json(text) if is_json else _from_lines(text.splitlines()))
    except (ValueError, RecursionError) as error:  # json and decode raise subclasses of ValueError
        raise ValueError(f"{path} cannot be read as a label map: {error}") from error


def _from_json(text: str) -> Iterable[tuple[str, str, object]]:
    """Yield (where, folder, id) of every entry."""
    # Read as pairs, because json itself lets the last of two equal keys win in silence.
    entries = json.loads(text, object_pairs_hook=lambda pairs: [("entry", *p) for p in pairs])
    is_object = isinstance(entries, list) and all(
        isinstance(entry, tuple) and entry[0] == "entry" for entry in entries
    )
    if not is_object or not entries:
        raise ValueError('it must hold {"folder": id, ...} or {"id": ["folder", "words"], ...}')
    for _, key, value in entries:
        where = f"entry {json.dumps(key)}"
        if isinstance(value, list) and value and isinstance(value[0], str):
            yield where, value[0], key
        elif isinstance(value, int):
            yield where, key, value
        else:
            raise ValueError(
                f"{where} must be an integer, or a list that begins with the name of a folder; got "
                f"{json.dumps(value)}"
            )


def _from_lines(lines: Sequence[str]) -> Iterable[tuple[str, str, object]]:
    """Yield (where, folder, id) of every line."""
    numbered = [_NUMBERED.fullmatch(line.strip()) for line in lines]
    for i, (line, match) in enumerate(zip(lines, numbered, strict=True)):
        where = f"line {i + 1}"
        if match:
            yield where, match[1] or match[2], match[3]
        elif any(numbered):  # else one slip would turn all numbers into words
            raise ValueError(f"{where} must end in an integer as others do; got {line.strip()!r}")
        elif _BOTH.match(line.strip()):
            raise ValueError(
                f"{where} has a number and words after the folder, {line.strip()!r}; leave the "
                "words out if the number is the output (counted from 0), else the number"
            )
        elif words := _DESCRIBED.fullmatch(line.strip()):
            yield where, words[1], i
        else:
            raise ValueError(f"{where} must be {_TEXT}; got {line.strip()!r}")


def _collect(entries: Iterable[tuple[str, str, object]]) -> dict[str, int]:
    """Build the label map; raise if an id is no integer from 0 or a folder comes twice."""
    label_map: dict[str, int] = {}
    for where, folder, number in entries:
        if isinstance(number, bool) or not re.fullmatch(r"\d+", str(number), re.ASCII):
            raise ValueError(f"{where}: the id must be an integer from 0, got {number!r}")
        if folder in label_map:
            raise ValueError(f"{where}: the folder {folder} comes a second time")
        label_map[folder] = int(str(number))
    return label_map


def _mapped(classes: Sequence[str], label_map: Mapping[str, int]) -> list[int]:
    """Look every class up in the label map, as it is spelled or else as it looks."""
    alike: dict[str, set[int]] = {}
    for folder, number in label_map.items():
        alike.setdefault(_composed(folder), set()).add(number)
    found = [
        {label_map[name]} if name in label_map else alike.get(_composed(name), set())
        for name in classes
    ]
    if missing := [name for name, ids in zip(classes, found, strict=True) if not ids]:
        raise ValueError(f"the label map has no entry for the class {_few(missing)}")
    if twice := [name for name, ids in zip(classes, found, strict=True) if len(ids) > 1]:
        raise ValueError(
            f"the label map has several entries that look like the class {_few(twice)}, in other "
            "normal forms of Unicode and with different ids; leave one of them"
        )
    return [next(iter(ids)) for ids in found]


def _composed(name: str) -> str:
    """Return a name in one of Unicode's spellings of it (NFC)."""
    return unicodedata.normalize("NFC", name)


def _within(ids: list[int], classes: Sequence[str], num_classes: int) -> list[int]:
    """Return ``ids``; raise if one of them is not an output of the model."""
    for name, i in zip(classes, ids, strict=True):
        if not 0 <= i < num_classes:
            raise ValueError(
                f"the class {name} stands for output {i}, and the model has {num_classes} outputs "
                f"(0 to {num_classes - 1}); give a label map that fits"
            )
    return ids


def _few(names: Sequence[str]) -> str:
    """Name the first few and count the rest."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
