"""The one file that reads through tensorflow-datasets: finding, describing and opening what it prepared.

TensorFlow itself is never needed here, and TFDS is kept silent and off the network.
"""

import contextlib
import io
import logging as std_logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from jaxgan.errors import InputError


class Contents(NamedTuple):
    """One split of a prepared data set: its length, class names, shard files and the features to read."""

    length: int
    classes: tuple[str, ...]
    files: tuple[Path, ...]
    image: str
    label: str | None


def tfds() -> ModuleType:
    """The module tensorflow_datasets, imported late and made silent.

    Raises:
      InputError: where it is not installed.
    """
    try:
        import tensorflow_datasets
        from absl import logging
    except ImportError as error:
        raise InputError(
            f"tensorflow-datasets cannot be imported ({error}); install jaxgan with its requirements"
        ) from error
    logging.set_verbosity(logging.ERROR)
    tensorflow_datasets.disable_progress_bar()
    return tensorflow_datasets


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Sends what TFDS prints on stdout nowhere. For one thread at a time."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def find(name: str | None, directory: str | os.PathLike[str] | None) -> Path:
    """The folder with the dataset_info.json of a prepared data set (see `sources.TFDS` for both arguments).

    Raises:
      InputError: where there is none, or more than one.
    """
    if name is None:
        if directory is None:
            raise InputError("a TFDS data set needs a name or a directory: give one of them")
        return _find_below(Path(directory).expanduser())
    modules = tfds()
    base = Path(directory).expanduser() if directory is not None else None
    where = base or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    hint = f"run `jaxgan prepare tfds:{name} --out FOLDER` and name that folder as the directory"
    try:
        with silence():
            builder = modules.core.read_only_builder.builder_from_files(
                name, data_dir=None if base is None else os.fspath(base)
            )
    except Exception as error:  # TFDS raises many kinds; for its user they all mean the same
        raise InputError(f"TFDS data set {name!r} is not prepared in {where}; {hint}") from error
    return Path(builder.data_dir)


def _find_below(folder: Path) -> Path:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; run `jaxgan prepare` to make it, or correct the path")
    for depth in ("", "*/", "*/*/", "*/*/*/"):
        found = sorted(path.parent for path in folder.glob(depth + "dataset_info.json"))
        if len(found) > 1:
            raise InputError(
                f"{folder}: holds several prepared data sets; name one of them, such as {found[-1]}"
            )
        if found:
            return found[0]
    raise InputError(
        f"{folder}: holds no prepared data set (dataset_info.json); run `jaxgan prepare` to make one"
    )


def describe(directory: Path, split: str) -> Contents:
    """What one split of the prepared data set in `directory` holds; opens no shard.

    Raises:
      InputError: where its files are damaged, missing or not ArrayRecord, it lacks the split, or its features hold no
        image or several of which none is named "image".
    """
    builder = _builder(directory)
    info = builder.info
    formats = {str(f.value) for f in info.available_file_formats()}
    if "array_record" not in formats:
        raise InputError(
            f"{directory}: its files are {' and '.join(sorted(formats)) or 'of an unknown format'}, which only "
            "TensorFlow reads; prepare it again with file_format='array_record' (`jaxgan prepare tfds:NAME`)"
        )
    image, label = _features(directory, builder)
    try:
        chosen = info.splits[split]
        instructions = chosen.file_instructions
    except Exception as error:
        names = ", ".join(info.splits)
        raise InputError(f"{directory}: has no split {split!r}; it has {names}") from error
    files = tuple(Path(i.filename) for i in instructions)
    for file in files:
        if not file.is_file():
            raise InputError(f"{file}: this part of the data set is missing; prepare it again")
    if not chosen.num_examples:
        raise InputError(f"{directory}: split {split!r} is empty; name another")
    classes = tuple(info.features[label].names) if label is not None else ()
    return Contents(int(chosen.num_examples), classes, files, image, label)


class Records:
    """A split's examples by random access: `records[i]` is (image bytes as stored, label); nothing else is parsed."""

    def __init__(self, directory: Path, split: str, image: str, label: str | None) -> None:
        modules = tfds()
        builder = _builder(directory)
        features = builder.info.features
        wanted = [image] if label is None else [image, label]
        # Not tfds.decode.PartialDecoding, which would import TensorFlow.
        self._features = modules.features.FeaturesDict({key: features[key] for key in wanted})
        self._decoders = {image: modules.decode.SkipDecoding()}
        self._records = builder.as_data_source(
            split, deserialize_method=modules.decode.DeserializeMethod.RAW_BYTES
        )
        self._keys = image, label

    def __getitem__(self, index: int) -> tuple[bytes, int]:
        example = self._features.deserialize_example_np(self._records[index], decoders=self._decoders)
        image, label = self._keys
        stored = example[image]
        return stored.item() if isinstance(stored, np.ndarray) else stored, 0 if label is None else int(
            example[label]
        )


def _builder(directory: Path) -> Any:
    modules = tfds()
    try:
        return modules.builder_from_directory(os.fspath(directory))
    except Exception as error:
        why = " ".join(str(error).split())[:200]
        raise InputError(
            f"{directory}: its description cannot be read ({why}); prepare the data set again"
        ) from error


def _features(directory: Path, builder: Any) -> tuple[str, str | None]:
    """The keys of the image and of the label (None where there is no single one)."""
    features = tfds().features
    every = dict(builder.info.features.items())
    pictures = [
        key
        for key, feature in every.items()
        if isinstance(feature, features.Image)
        and not isinstance(feature, features.LabeledImage)
        and feature.np_dtype != np.float32  # stored bit-cast, not as a picture
    ]
    if "image" in pictures:
        image = "image"
    elif len(pictures) == 1:
        image = pictures[0]
    else:
        what = f"several images ({', '.join(pictures)}), none named 'image'" if pictures else "no image"
        raise InputError(f"{directory}: its features hold {what}; take another data set")
    labels = [key for key, feature in every.items() if isinstance(feature, features.ClassLabel)]
    if "label" in labels:
        return image, "label"
    return image, labels[0] if len(labels) == 1 else None


def write(
    name: str,
    folder: Path,
    splits: Mapping[str, Callable[[], Iterator[tuple[str | bytes, dict[str, Any]]]]],
    resolution: int,
    channels: int,
    classes: tuple[str, ...],
) -> None:
    """Writes folder/name/1.0.0 with one split for each entry of `splits`, which make (key, {image: PNG bytes, label}).

    The order within a split is that of a hash of the keys, the same whenever the keys are the same.
    """
    modules = tfds()
    features: dict[str, Any] = {
        "image": modules.features.Image(shape=(resolution, resolution, channels), encoding_format="png")
    }
    if classes:
        features["label"] = modules.features.ClassLabel(names=list(classes))

    class Prepared(modules.core.GeneratorBasedBuilder, skip_registration=True):  # pyright: ignore[reportGeneralTypeIssues, reportCallIssue]
        """The builder; its class attribute `name` is set below, as TFDS would make it from the class's name."""

        VERSION = modules.core.Version("1.0.0")
        pkg_dir_path = folder  # where TFDS looks for files of metadata; there are none

        def _info(self) -> Any:
            return self.dataset_info_from_configs(
                features=modules.features.FeaturesDict(features),
                supervised_keys=("image", "label") if classes else None,
                description="Images prepared by jaxgan.",
            )

        def _split_generators(self, dl_manager: Any) -> Any:
            del dl_manager
            return {split: self._generate_examples(make) for split, make in splits.items()}

        def _generate_examples(self, make: Callable[[], Any]) -> Any:
            return make()

    Prepared.name = name
    builder = Prepared(data_dir=os.fspath(folder), file_format="array_record")
    builder.download_and_prepare(download_config=_offline(modules))


def prepare(name: str, folder: Path, progress: bool) -> Path:
    """Lets TFDS's own builder prepare the data set `name` below `folder` as ArrayRecord; returns where.

    Downloads are kept in the folder "downloads" of TFDS_DATA_DIR or ~/tensorflow_datasets, so a second try finds them;
    files to be fetched by hand go into "manual" in there. With `progress`, TFDS draws its own bars on a terminal.

    Raises:
      InputError: where there is no such data set, or its preparation needs TensorFlow, the network or anything else
        that is missing.
    """
    modules = tfds()
    from tensorflow_datasets.core.download import downloader

    downloader.MAX_RETRIES = 4  # its 10 take minutes to find out that there is no network
    std_logging.getLogger("urllib3").setLevel(std_logging.ERROR)
    base = Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    if progress and sys.stderr.isatty():
        modules.enable_progress_bar()
    try:
        with silence():
            builder = modules.builder(name, data_dir=os.fspath(folder), file_format="array_record")
            builder.download_and_prepare(download_dir=base / "downloads", download_config=_offline(modules))
            return Path(builder.data_dir)
    except Exception as error:  # each of TFDS's hundreds of builders fails in its own way
        raise InputError(_why_not(name, error)) from error
    finally:
        modules.disable_progress_bar()


def summary(directory: Path) -> tuple[dict[str, int], tuple[str, ...]]:
    """A prepared data set's examples by split, and its class names."""
    builder = _builder(directory)
    counts = {str(split): int(info.num_examples) for split, info in builder.info.splits.items()}
    _, label = _features(directory, builder)
    return counts, tuple(builder.info.features[label].names) if label is not None else ()


def _offline(modules: ModuleType) -> Any:
    return modules.download.DownloadConfig(try_download_gcs=False)  # no look at Google's storage first


def _why_not(name: str, error: BaseException) -> str:
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    for link in chain:
        if isinstance(link, ImportError) and "tensorflow" in f"{link.name} {link}".lower():
            return f"tfds:{name}: its preparation by TFDS needs TensorFlow; install jaxgan[tensorflow] and try again"
    kinds = {kind.__name__ for link in chain for kind in type(link).__mro__}
    first = " ".join(str(error).split())[:200] or type(error).__name__
    if "DatasetNotFoundError" in kinds:
        return f"tfds:{name}: TFDS has no such data set; see https://www.tensorflow.org/datasets/catalog"
    if kinds & {"ConnectionError", "Timeout", "URLError", "gaierror", "DownloadError"}:
        return (
            f"tfds:{name}: TFDS could not download it ({first}); connect to the network, and where it needs "
            "TensorFlow install jaxgan[tensorflow]"
        )
    return f"tfds:{name}: TFDS could not prepare it ({first}); some data sets need jaxgan[tensorflow] or files by hand"
