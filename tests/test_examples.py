"""The example in the documentation of each module: it runs, and gives what it says."""

import doctest
import importlib
from contextlib import nullcontext
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quickly

ROOT = Path(__file__).parents[1]
WITHOUT = ("__main__", "cli")
"""What nobody imports from: the command line, whose examples are the README's."""


def modules() -> list[str]:
    """All modules by their dotted names; of packages, which gather names, those that show an example."""
    found = []
    for path in (ROOT / "jaxgan").rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if set(parts) & set(WITHOUT) or path.parent.name == "fashion_mnist":
            continue
        if parts[-1] == "__init__":
            parts = parts[:-1] if "For example:" in path.read_text(encoding="utf-8") else ()
        found += [".".join(parts)] if parts else []
    return sorted(found)


@pytest.mark.parametrize("name", modules())
@pytest.mark.usefixtures("own_names")
def test_the_example_of_a_module_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the names of the module itself, and those of JAX and NumPy, in an empty folder."""
    module = importlib.import_module(name)
    monkeypatch.chdir(tmp_path)
    names = {**vars(module), "jax": jax, "jnp": jnp, "np": np, "Path": Path}
    found = doctest.DocTestParser().get_doctest(module.__doc__ or "", names, name, module.__file__, 0)
    assert found.examples, "its documentation has no example; see CONTRIBUTING.md"
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    with quickly() if name.startswith("jaxgan.training.") else nullcontext():  # they train
        runner.run(found)
    assert not runner.summarize(verbose=False).failed, capsys.readouterr().out
