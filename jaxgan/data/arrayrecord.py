"""The one file that reads through tensorflow-datasets: finding, describing and opening what it prepared.

TensorFlow itself is never needed here, and TFDS is kept silent and off the network.

For example:

    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("L", (2, 2)).save(file, "PNG")
    >>> Path("data").mkdir()
    >>> boots = lambda: iter([("a", {"image": file.getvalue(), "label": 0})])
    >>> with silence():
    ...     write("shoes", Path("data"), {"train": boots}, {"image": (2, 2, 1)}, classes=("boot", "sandal"))
    >>> folder = find(None, "data")
    >>> summary(folder)
    ({'train': 1}, ('boot', 'sandal'))
    >>> Records(folder, "train", describe(folder, "train").features)[0]["label"]
    0
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

from jaxgan.errors import InputError, full


class Contents(NamedTuple):
    """One split of a prepared data set: its length, class names, shard files and the features to read."""

    length: int
    classes: tuple[str, ...]
    files: tuple[Path, ...]
    features: Mapping[str, str]
    """What to read, by the names of `sources`: "real", and those of "label", "input", "other", "text" and "embedding"
    that there are."""
    embedding: int
    """Numbers of an embedding, 0 where there is none."""
    deep: tuple[str, ...]
    """Those of `features` that are grey images of whole numbers of more than 8 bits."""


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


def describe(directory: Path, split: str, image: str | None = None, given: str | None = None) -> Contents:
    """What one split of the prepared data set in `directory` holds; opens no shard.

    `image` and `given` name the features that are to be "real" and "input", as of `sources.TFDS`.

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
    features = _features(directory, builder, image, given)
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
    classes = tuple(info.features[features["label"]].names) if "label" in features else ()
    width = info.features["embedding"].shape[0] if "embedding" in features else 0
    deep = tuple(name for name, key in features.items() if _is_deep(info.features[key]))
    return Contents(int(chosen.num_examples), classes, files, features, width, deep)


def _is_deep(feature: Any) -> bool:
    is_image = isinstance(feature, tfds().features.Image)
    return is_image and np.dtype(feature.np_dtype).itemsize > 1 and feature.shape[-1] == 1


class Records:
    """A split's examples by random access: `records[i]` has the bytes of images and text, the number of the label and
    the embedding, under the names of `Contents.features`; nothing else is parsed.
    """

    def __init__(self, directory: Path, split: str, features: Mapping[str, str]) -> None:
        modules = tfds()
        builder = _builder(directory)
        every = builder.info.features
        # Not tfds.decode.PartialDecoding, which would import TensorFlow.
        self._parsed = modules.features.FeaturesDict({key: every[key] for key in features.values()})
        pictures = [key for key in features.values() if isinstance(every[key], modules.features.Image)]
        self._decoders = {key: modules.decode.SkipDecoding() for key in pictures}
        self._records = builder.as_data_source(
            split, deserialize_method=modules.decode.DeserializeMethod.RAW_BYTES
        )
        self._features = features

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self._parsed.deserialize_example_np(self._records[index], decoders=self._decoders)
        found = {name: example[key] for name, key in self._features.items()}
        scalar = (np.ndarray, np.generic)
        return {name: x.item() if isinstance(x, scalar) and not x.shape else x for name, x in found.items()}


def _builder(directory: Path) -> Any:
    modules = tfds()
    try:
        return modules.builder_from_directory(os.fspath(directory))
    except Exception as error:
        why = " ".join(str(error).split())[:200]
        raise InputError(
            f"{directory}: its description cannot be read ({why}); prepare the data set again"
        ) from error


def _features(
    directory: Path, builder: Any, image: str | None = None, given: str | None = None
) -> dict[str, str]:
    """The keys of what `Contents.features` names."""
    features = tfds().features
    every = dict(builder.info.features.items())
    pictures = [
        key
        for key, feature in sorted(every.items())
        if isinstance(feature, features.Image)
        and not isinstance(feature, features.LabeledImage)
        and feature.np_dtype != np.float32  # stored bit-cast, not as a picture
    ]
    for key in (image, given):
        if key is not None and key not in pictures:
            there = f"its images are {', '.join(pictures)}" if pictures else "it has none"
            raise InputError(f"{directory}: has no image feature {key!r}; {there}")
    picture = image or ("image" if "image" in pictures else "".join(pictures[:1]))
    if image is None and picture != "image" and len(pictures) != 1:
        several = f"several images ({', '.join(pictures)}), none named 'image'; name one of them"
        what = several if pictures else "no image; take another data set"
        raise InputError(f"{directory}: its features hold {what}")
    found = {"real": picture}
    labels = [key for key, feature in every.items() if isinstance(feature, features.ClassLabel)]
    if "label" in labels or len(labels) == 1:
        found["label"] = "label" if "label" in labels else labels[0]
    if given is not None or "input" in pictures:
        found["input"] = given or "input"
    if "other" in pictures:
        found["other"] = "other"
    if isinstance(every.get("text"), features.Text):
        found["text"] = "text"
    embedding: Any = every.get("embedding")
    tensor = type(embedding) is features.Tensor and embedding.np_dtype == np.float32
    if tensor and len(embedding.shape) == 1 and embedding.shape[0]:
        found["embedding"] = "embedding"
    return found


def write(
    name: str,
    folder: Path,
    splits: Mapping[str, Callable[[], Iterator[tuple[str | bytes, dict[str, Any]]]]],
    pictures: Mapping[str, tuple[int, int, int]],
    classes: tuple[str, ...],
    text: bool = False,
    embedding: int = 0,
    description: str = "Images prepared by jaxgan.",
) -> None:
    """Writes folder/name/1.0.0 into a folder that is there, one split for each of `splits`, which make (key, features).

    The features are PNG bytes for each of `pictures`, which gives their shapes; a label if there are `classes`; a
    "text" if there is to be one; and an "embedding" of so many numbers if there are any. The order within a split is
    that of a hash of the keys, the same whenever the keys are the same.
    """
    modules = tfds()
    features: dict[str, Any] = {
        key: modules.features.Image(shape=shape, encoding_format="png") for key, shape in pictures.items()
    }
    if classes:
        features["label"] = modules.features.ClassLabel(names=list(classes))
    if text:
        features["text"] = modules.features.Text()
    if embedding:
        features["embedding"] = modules.features.Tensor(shape=(embedding,), dtype=np.float32)

    class Prepared(modules.core.GeneratorBasedBuilder, skip_registration=True):  # pyright: ignore[reportGeneralTypeIssues, reportCallIssue]
        """The builder; its class attribute `name` is set below, as TFDS would make it from the class's name."""

        VERSION = modules.core.Version("1.0.0")
        pkg_dir_path = folder  # where TFDS looks for files of metadata; there are none

        def _info(self) -> Any:
            return self.dataset_info_from_configs(
                features=modules.features.FeaturesDict(features),
                supervised_keys=("image", "label") if classes else None,
                description=description,
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
        if full(error):
            raise  # for whoever knows where it was to go
        raise InputError(_why_not(name, error)) from error
    finally:
        modules.disable_progress_bar()


def summary(directory: Path) -> tuple[dict[str, int], tuple[str, ...]]:
    """A prepared data set's examples by split, and its class names."""
    builder = _builder(directory)
    counts = {str(split): int(info.num_examples) for split, info in builder.info.splits.items()}
    label = _features(directory, builder).get("label")
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
