"""Name every built-in model and load a model from any supported source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hwsim.core.errors import InputError, unknown_name
from hwsim.core.graph import OpGraph
from models import cnn, mobile, transformer
from models.llm import presets as llm_presets
from models.llm.source import is_llm, load_llm
from models.workload import PhaseError, Workload

__all__ = ["ZOO", "ZooEntry", "load_model", "model_names"]

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

_RESNET18 = partial(cnn.resnet, blocks=(2, 2, 2, 2), bottleneck=False)
_RESNET50 = partial(cnn.resnet, blocks=(3, 4, 6, 3), bottleneck=True)
# Narrower expansions where planes are large, so that channels x strip fit a first-level cache
# (assumed: the published channel list is not available).
_CACHE_AWARE = (
    *((1, 16, 1, 1), (4, 24, 2, 2), (4, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)
_VIT_SMALL = partial(
    transformer.vit, patch=4, dim=512, layers=6, heads=8, hidden=512, classes=100, qkv_bias=False
)
_VIT_B16 = partial(
    transformer.vit,
    patch=16,
    dim=768,
    layers=12,
    heads=12,
    hidden=3072,
    classes=1000,
    qkv_bias=True,
)


@dataclass(frozen=True)
class ZooEntry:
    """One built-in model.

    Attributes
    ----------
    description : str
        One line for ``hwsim models``.
    inputs : mapping from input name to shape
        Default shapes, batch first.
    build : callable(shapes, cache_dir, has_batch_norm) -> OpGraph
        Builds the graph for complete input shapes.
    """

    description: str
    inputs: Shapes
    build: Callable[[Shapes, Path | None, bool], OpGraph]


def _image(build: Callable[..., OpGraph], pixels: int, description: str) -> ZooEntry:
    """Return the entry of ``build(shape, has_batch_norm=…)``."""

    def from_shapes(shapes: Shapes, cache_dir: Path | None, has_batch_norm: bool) -> OpGraph:
        del cache_dir
        return build(shapes["image"], has_batch_norm=has_batch_norm)

    return ZooEntry(description, {"image": (1, 3, pixels, pixels)}, from_shapes)


def _ppocrv4_det(shapes: Shapes, cache_dir: Path | None, has_batch_norm: bool) -> OpGraph:
    from models.assets import fetch_asset
    from models.onnx_import import import_onnx

    path = fetch_asset("ppocrv4-det", cache_dir)
    graph = import_onnx(path, name="ppocrv4-det", inputs=shapes)
    return _with_note(graph, has_batch_norm)


def _with_note(graph: OpGraph, has_batch_norm: bool) -> OpGraph:
    """Say that a file cannot give back the normalisations it has lost, if they were asked for."""
    if has_batch_norm:
        graph.notes.append("batch normalisations are as in the file: folded where it folds them")
    return graph


ZOO: dict[str, ZooEntry] = {
    "resnet9": _image(cnn.resnet9_ffcv, 32, "ResNet-9 of ffcv's CIFAR-10 example"),
    "resnet9-dawnbench": _image(
        cnn.resnet9_dawnbench, 32, "ResNet-9 of the DAWNBench CIFAR-10 entry"
    ),
    "resnet18": _image(
        partial(_RESNET18, "resnet18", cifar_stem=False, classes=1000),
        224,
        "ResNet-18, 1000 classes",
    ),
    "resnet18-64": _image(
        partial(_RESNET18, "resnet18-64", cifar_stem=False, classes=200),
        64,
        "ResNet-18, 200 classes (Tiny ImageNet), 7x7 stem and pooling",
    ),
    "resnet18-64-cifar": _image(
        partial(_RESNET18, "resnet18-64-cifar", cifar_stem=True, classes=200),
        64,
        "ResNet-18, 200 classes (Tiny ImageNet), 3x3 stem",
    ),
    "resnet18-32": _image(
        partial(_RESNET18, "resnet18-32", cifar_stem=True, classes=100),
        32,
        "ResNet-18, 100 classes (CIFAR-100), 3x3 stem",
    ),
    "resnet50": _image(
        partial(_RESNET50, "resnet50", cifar_stem=False, classes=1000),
        224,
        "ResNet-50 (stride on the 3x3 layers), 1000 classes",
    ),
    "resnet50-64": _image(
        partial(_RESNET50, "resnet50-64", cifar_stem=False, classes=200),
        64,
        "ResNet-50, 200 classes (Tiny ImageNet), 7x7 stem and pooling",
    ),
    "resnet50-32": _image(
        partial(_RESNET50, "resnet50-32", cifar_stem=True, classes=100),
        32,
        "ResNet-50, 100 classes (CIFAR-100), 3x3 stem",
    ),
    "vgg19": _image(
        partial(cnn.vgg19, "vgg19", fc_widths=(100,)),
        32,
        "VGG-19, one fully connected layer, 100 classes (CIFAR-100)",
    ),
    "vgg19-3fc": _image(
        partial(cnn.vgg19, "vgg19-3fc", fc_widths=(4096, 4096, 100)),
        32,
        "VGG-19, three fully connected layers, 100 classes (CIFAR-100)",
    ),
    "vit-small": _image(
        partial(_VIT_SMALL, "vit-small"),
        32,
        "ViT, patch 4, dim 512, 6 layers, 8 heads, MLP 512, 100 classes (CIFAR-100)",
    ),
    "vit-b16": _image(partial(_VIT_B16, "vit-b16"), 224, "ViT-B/16, 1000 classes"),
    **{
        f"mobilenet-v1-{width}": _image(
            partial(mobile.mobilenet_v1, f"mobilenet-v1-{width}", width=width),
            224,
            f"MobileNet v1, width {width}, 1000 classes",
        )
        for width in (0.25, 0.5, 0.75, 1.0, 1.4)
    },
    **{
        f"mobilenet-v2-{width}": _image(
            partial(mobile.mobilenet_v2, f"mobilenet-v2-{width}", width=width),
            224,
            f"MobileNet v2, width {width}, 1000 classes",
        )
        for width in (0.5, 1.0, 1.4)
    },
    "mobilenet-v2-cache-aware": _image(
        partial(mobile.mobilenet_v2, "mobilenet-v2-cache-aware", width=1.4, blocks=_CACHE_AWARE),
        224,
        "MobileNet v2, width 1.4, expansions that keep channels within an L1 (assumed)",
    ),
    "efficientnet-b0": _image(
        partial(mobile.efficientnet, "efficientnet-b0", width=1.0, depth=1.0),
        224,
        "EfficientNet-B0, 1000 classes",
    ),
    "efficientnet-b1": _image(
        partial(mobile.efficientnet, "efficientnet-b1", width=1.0, depth=1.1),
        240,
        "EfficientNet-B1, 1000 classes",
    ),
    "ppocrv4-det": ZooEntry(
        "PP-OCRv4 mobile text detection, trained (downloaded once)",
        {"x": (1, 3, 640, 640)},
        _ppocrv4_det,
    ),
}


def model_names() -> dict[str, str]:
    """Return every zoo name with its one-line description."""
    return {name: entry.description for name, entry in ZOO.items()} | llm_presets.DESCRIPTIONS


def load_model(
    source: str,
    *,
    batch: int | None = None,
    inputs: Mapping[str, Shape] | None = None,
    cache_dir: Path | None = None,
    has_batch_norm: bool = False,
    workload: Workload | None = None,
) -> OpGraph:
    """Return the verified graph of ``source``.

    Parameters
    ----------
    source : str
        A zoo name, or a path to an ``.onnx`` network, a SCALE-Sim topology ``.csv``, an ``.npz``
        of matrices [k, n], a language model's ``config.json`` or folder, or a sparse matrix: a
        generator, a Matrix Market file or scipy's ``.npz``.
    batch : int, optional
        First extent of every input; default: the source's own.
    inputs : mapping from input name to shape, optional
        Complete shapes in elements, batch included.
    cache_dir : Path, optional
        Where downloaded networks are kept.
    has_batch_norm : bool
        Keep batch normalisations as operators, for training, instead of folding them into biases
        as inference does. The forward multiply-accumulates are the same. Models from files keep
        what the file has, with a note.
    workload : Workload, optional
        What is done with the model; a network of fixed layers knows ``infer`` and ``train`` only.

    Raises
    ------
    InputError
        Naming the flag, file or name that cannot be used.
    """
    if batch is not None and batch < 1:
        raise InputError("--batch", "at least 1", str(batch))
    shapes = dict(inputs or {})
    for name, shape in shapes.items():
        if not shape or any(extent < 1 for extent in shape):
            raise InputError(f"--input {name}", "extents of at least 1", f"{shape}")
        if batch is not None and shape[0] != batch:
            raise InputError(f"--input {name}", f"the first extent {batch} of --batch", f"{shape}")
    if _may_be_sparse(source):
        from models.sparse.read import is_sparse_source, load_sparse  # imports scipy

        if is_sparse_source(source):
            return load_sparse(source, workload or Workload(), batch)
    if is_llm(source):
        _require_one_request(source, batch, shapes)
        return load_llm(source, workload or Workload())
    if source in ZOO:
        _require_layers(source, workload or Workload())
        return _load_zoo(source, batch, shapes, cache_dir, has_batch_norm)
    graph = _load_file(source, batch, shapes)
    _require_layers(source, workload or Workload())
    return _with_note(graph, has_batch_norm)


def _may_be_sparse(source: str) -> bool:
    """Return whether ``source`` has a sparse matrix's suffix, or a name nothing else has."""
    name = source.partition(":")[0]
    is_file = source.endswith((".mtx", ".mtx.gz", ".npz"))
    return is_file or (name not in ZOO and not Path(name).suffix and not Path(source).exists())


def _require_layers(source: str, workload: Workload) -> None:
    """Raise :class:`InputError` for a workload that a network of fixed layers does not have."""
    if workload.phase not in ("infer", "train"):
        raise PhaseError(source, ("infer", "train"), workload.phase)
    if workload.other is not None:
        raise InputError("--b", f"no second operand for {source}", repr(workload.other))


def _require_one_request(source: str, batch: int | None, shapes: Shapes) -> None:
    """Raise :class:`InputError` for extents that a language model takes from its phase."""
    if batch not in (None, 1):
        raise InputError("--batch", f"1 for {source}", str(batch))
    if shapes:
        found = ", ".join(shapes)
        raise InputError("--input", f"--seq, --kv or --prompt for {source}", found)


def _load_zoo(
    name: str,
    batch: int | None,
    shapes: Shapes,
    cache_dir: Path | None,
    has_batch_norm: bool,
) -> OpGraph:
    entry = ZOO[name]
    complete: dict[str, Shape] = {
        key: shape if batch is None else (batch, *shape[1:]) for key, shape in entry.inputs.items()
    }
    for key, shape in shapes.items():
        if key not in complete:
            raise unknown_name("--input", key, complete)
        if len(shape) != len(complete[key]):
            raise InputError(f"--input {key}", f"{len(complete[key])} extents", f"{shape}")
        complete[key] = shape
    return entry.build(complete, cache_dir, has_batch_norm)


def _load_file(source: str, batch: int | None, shapes: Shapes) -> OpGraph:
    path = Path(source)
    suffix = path.suffix.lower()
    if suffix not in (".onnx", ".csv", ".npz"):
        raise unknown_name("model", source, model_names())
    if not path.is_file():
        raise InputError("model", "an existing file", repr(source))
    if suffix == ".onnx":
        from models.onnx_import import import_onnx

        return import_onnx(path, batch=batch, inputs=shapes)
    if shapes:
        raise InputError("--input", f"no input shapes for a {suffix} file", ", ".join(shapes))
    if suffix == ".csv":
        from models.topology import read_topology

        return read_topology(path, batch=batch or 1)
    from models.matrices import read_matrices

    return read_matrices(path, m=batch or 1)
