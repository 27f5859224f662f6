"""Import ONNX networks as operator graphs (extra ``onnx``)."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from hwsim.core.errors import InputError
from hwsim.core.graph import OpGraph
from models.onnx_import.report import unmodelled_report

__all__ = ["import_onnx", "unmodelled_report"]


def import_onnx(
    path: Path,
    *,
    name: str | None = None,
    batch: int | None = None,
    inputs: Mapping[str, tuple[int, ...]] | None = None,
) -> OpGraph:
    """Return the verified graph of the ONNX network at ``path``, weights attached.

    Parameters
    ----------
    path : Path
        The ``.onnx`` file; external data is looked for beside it.
    name : str, optional
        Graph name; default: the file's stem.
    batch : int, optional
        Binds the first axis of every input where it is dynamic (default 1).
    inputs : mapping from input name to shape, optional
        Complete shapes in elements; needed where other axes are dynamic.

    Raises
    ------
    InputError
        If the file cannot be read, an axis stays unbound or a shape contradicts the network.
        An operator without a model never raises: it becomes an ``UNMODELLED`` op and a note.
    """
    if importlib.util.find_spec("onnx") is None:
        raise InputError(str(path), "the extra hwsim[onnx] to be installed", "no module onnx")
    from models.onnx_import.importer import import_file

    return import_file(path, name or path.stem, batch, inputs or {})
