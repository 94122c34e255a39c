"""docs/own.md is one script, which trains, resumes, samples and is scored; and its commands do what they say."""

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxgan import imports
from jaxgan.cli import main
from jaxgan.runs.inspection import inspect

pytestmark = pytest.mark.usefixtures("quick_programs", "quick_curves")
TEXT = (Path(__file__).parents[1] / "docs" / "own.md").read_text(encoding="utf-8")


def test_the_script_and_the_commands_of_the_documentation(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(imports, "_named", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("ring.py").write_text("\n".join(re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)))
    found = runpy.run_path("ring.py", run_name="__main__")
    assert found["again"].step == 800
    assert (found["run"].step, found["grass"].shape) == (10, (9, 16, 16, 3))
    assert found["points"].shape == (1000, 2)
    assert found["walk"].shape == (24, 2)
    assert [line["score"] for line in found["scores"]] == ["frechet", "precision"]
    assert found["losses"].shape == (800,)
    assert int(found["before"].step) == 600
    assert (found["points"].dtype, found["pixels"].shape) == (np.float32, (2000, 28, 28))
    # it has learnt something: most of what it makes is near the circle
    assert np.mean(np.abs(np.linalg.norm(found["points"], axis=1) - 1) < 0.3) > 0.5
    page = Path("runs/pictures/report.html").read_text()
    assert "what the discriminator takes for real" in page
    assert Path("walk.png").stat().st_size > 1000
    try:
        for words in re.findall(
            r"^jaxgan ((?:train|sample|verify) runs/ring .*?)(?: +#.*)?$", TEXT, re.MULTILINE
        ):
            given = (
                words.replace("--steps 1000", "--steps 810")
                .replace("--seeds 0:4", "--seeds 0:2 --steps 810")
                .split()
            )
            quiet = [] if given[0] == "sample" else ["--quiet"]
            assert main([*given, *quiet]) == 0, words
        assert "the same bits" in capsys.readouterr().out
        assert Path("points.png").exists()
        assert [inspect(Path(f"runs/ring-s{i}"), print)["step"] for i in (0, 1)] == [810, 810]
        assert inspect(Path("runs/ring"), print)["step"] == 810
    finally:
        sys.modules.pop("ring", None)
