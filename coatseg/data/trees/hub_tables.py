"""Open the tables of a Hugging Face dataset, and take cells of them without decoding anything.

The library `datasets` comes with `pip install "coatseg[hub]"`, and is imported only where it is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError, nearest

SAVED = ("dataset_dict.json", "state.json")
"""Files that tell what `save_to_disk` wrote."""
LAYOUT = (
    "Put parquet files there, such as data/train-00000-of-00001.parquet, or set data.repository=NAME or data.root=."
)
EMBED = (
    'Write the files into the table with dataset.with_format("arrow").map(datasets.table.embed_table_storage, '
    "batched=True) before to_parquet, or push it to the hub, which does. data=folder reads folders of image files."
)


@dataclass(frozen=True)
class Place:
    """Where a dataset is: a folder, or if it is named a `repository` of the hub, of a `revision`.

    `subset` is one of its configurations, if it has several.
    """

    root: Path
    repository: str | None = None
    revision: str | None = None
    subset: str | None = None

    def __str__(self) -> str:
        return self.repository or str(self.root)

    @property
    def name(self) -> str:
        """The last part of the name."""
        return PurePosixPath(self.repository).name if self.repository else self.root.resolve().name


@dataclass(frozen=True)
class Table:
    """A split's table; `place` names it in errors. `rows` is the library's, whose cells are taken from its columns.

    Indexing it would decode images, and takes ten times as long as a cell of a column does.
    """

    rows: Any
    place: str

    @property
    def features(self) -> Mapping[str, Any]:
        """The types of the columns, by name."""
        features: Mapping[str, Any] = self.rows.features
        return features

    def __len__(self) -> int:
        return len(self.rows)

    def row(self, index: int) -> str:
        """Say where a row is; rows are counted from 0."""
        return f"{self.place}, row {index}"

    @property
    def words(self) -> str:
        """The columns with their types, in words."""
        return ", ".join(f"{column} ({type_in_words(feature)})" for column, feature in self.features.items())

    def check(self, option: str, name: str) -> None:
        """Raise DatasetError if a column that an option names is not there."""
        if name not in self.features:
            raise DatasetError(
                f"{self.place} has no column {name!r}: there are {self.words}.",
                f"Name yours with data.{option}=. {nearest(name, self.features)}",
            )

    def check_images(self, option: str, name: str) -> None:
        """Raise DatasetError if a column that an option names is not there, or holds no images."""
        self.check(option, name)
        if not holds_bytes(self.features[name]):
            raise DatasetError(
                f"The column {name!r} of {self.place} holds no images: there are {self.words}.",
                f"Name one of images with data.{option}=. {EMBED}",
            )

    def check_objects(self, option: str, name: str) -> None:
        """Raise DatasetError if a column that an option names is not there, or holds no objects."""
        self.check(option, name)
        if not object_fields(self.features[name]):
            raise DatasetError(
                f"The column {name!r} of {self.place} holds no objects: there are {self.words}.",
                f"Name one with data.{option}=: lists of bbox and category, as {{bbox, category}} above.",
            )

    def proposal(self, image_column: str) -> str:
        """Return the options that may name the truth, by the types of the columns."""
        masks = [name for name, feature in self.features.items() if holds_bytes(feature) and name != image_column]
        objects = [name for name, feature in self.features.items() if object_fields(feature)]
        fitting = [
            *(f"data.mask_column={name}" for name in masks),
            *(f"data.objects_column={name}" for name in objects),
        ]
        return f"Set {' or '.join(fitting or ('data.mask_column=', 'data.objects_column='))}."

    def values(self, name: str) -> list[Any]:
        """Return all values of a column of small things."""
        values: list[Any] = self.rows.data.column(name).to_pylist()
        return values

    def paths(self, name: str) -> list[str | None]:
        """Return the paths that a column of images states, without reading the images."""
        if isinstance(self.features[name], Mapping) or type(self.features[name]).__name__ == "Image":
            return [path for chunk in self.rows.data.column(name).chunks for path in chunk.field("path").to_pylist()]
        return [None] * len(self)

    def content(self, index: int, name: str) -> tuple[bytes, str]:
        """Return the bytes of an image and the suffix of its path, if it states one.

        Raises:
            DatasetError: the row has no bytes.
        """
        cell = self.rows.data.column(name)[index].as_py()
        content, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
        if content is None:
            names = f" but the path {path}" if path else ""
            raise DatasetError(f"{self.row(index)} has no bytes in {name!r}{names}.", EMBED)
        return content, PurePosixPath(path or "").suffix


def open_tables(place: Place) -> Mapping[str, Table]:
    """Open the table of every split of a dataset; their rows stay on disk, memory-mapped.

    Raises:
        ConfigError: the library is not installed, or a folder is to have a revision.
        DatasetNotFoundError: there is no such folder or repository.
        DatasetError: it cannot be opened.
    """
    if place.repository is None and place.revision is not None:
        raise ConfigError(
            f"data.revision={place.revision} is one of a repository, and {place.root} is a folder.",
            "Set data.repository=NAME as well, or leave data.revision out.",
        )
    if place.repository is None and not place.root.is_dir():
        raise DatasetNotFoundError(f"There is no folder {place.root}.", LAYOUT)
    try:
        import datasets
    except ImportError as error:
        raise ConfigError(
            f"{place} is read by the library datasets.", 'Install it with: pip install "coatseg[hub]"'
        ) from error
    try:
        if place.repository is None and any((place.root / name).is_file() for name in SAVED):
            opened = datasets.load_from_disk(str(place.root))
        else:
            given = place.repository or str(place.root.resolve())
            opened = datasets.load_dataset(given, place.subset, revision=place.revision)
    except Exception as error:  # a library of many formats and of the network may raise any
        raise _unopened(place, error) from error
    splits = opened if isinstance(opened, dict) else {str(opened.split or "train"): opened}
    return {name: Table(rows, f"{place}, split {name}") for name, rows in splits.items()}


def _unopened(place: Place, error: Exception) -> DatasetError | DatasetNotFoundError:
    """Return the error of a dataset that the library cannot open, with its reason in one line."""
    reason = " ".join(str(error).split()[:60]).removesuffix(".")
    if place.repository is not None and isinstance(error, FileNotFoundError | ConnectionError):
        mend = "Check data.repository, data.revision, the network, and `hf auth login` where it is gated or private."
        return DatasetNotFoundError(f"The repository {place} cannot be had: {reason}.", mend)
    if isinstance(error, FileNotFoundError):
        return DatasetNotFoundError(f"{place} cannot be opened: {reason}.", LAYOUT)
    return DatasetError(f"{place} cannot be opened: {reason}.", "Set data.subset= if it has several, or copy it again.")


def holds_bytes(feature: Any) -> bool:
    """Return whether a column of this type holds images: the library's own, its parts, or plain bytes."""
    if isinstance(feature, Mapping):
        return {"bytes", "path"} <= set(feature)
    return type(feature).__name__ == "Image" or getattr(feature, "dtype", "") in ("binary", "large_binary")


def object_fields(feature: Any) -> Mapping[str, Any]:
    """Return the types of the fields that each object has, by name, in a column of objects; none in other columns.

    The library's versions write a list of objects, or lists of fields.
    """
    inner = _element(feature)
    if not isinstance(inner, Mapping):
        return {}
    if "bbox" not in inner:
        return {}
    return inner if inner is not feature else {name: _element(field) for name, field in inner.items()}


def _element(feature: Any) -> Any:
    """Return the type of a list's elements; that of anything else is its own."""
    if isinstance(feature, list) and len(feature) == 1:
        return feature[0]
    return getattr(feature, "feature", feature)


def type_in_words(feature: Any) -> str:
    """Return a column's type in a few words."""
    fields = object_fields(feature)
    if fields or isinstance(feature, Mapping):
        return f"{{{', '.join(fields or feature)}}}"
    return str(getattr(feature, "dtype", None) if type(feature).__name__ == "Value" else type(feature).__name__)
