"""docs/extending.md is one script: a loss, a network and a family of one's own train, resume, sample and are scored."""

import json
import re
import wave
from pathlib import Path

import numpy as np
import pytest

from jaxgan import config
from jaxgan.cli import main

pytestmark = pytest.mark.usefixtures("quick_programs", "quick_curves", "small_batches")
TEXT = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("own_names")
def test_the_script_of_the_documentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    space = {"__name__": "extending"}
    exec(
        compile("\n".join(re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)), "extending.md", "exec"), space
    )
    run = tmp_path / "runs" / "bright"
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 20
    assert np.isfinite([row["generator/brightness"] for row in rows]).all()
    assert 'loss = "absolute"' in (run / "config.toml").read_text()
    assert config.load(run / "config.toml") == space["settings"]
    for words in (
        ["inspect", "{}"],
        ["sample", "{}", "--num", "4", "--out", "a.png"],
        ["verify", "{}", "--quiet"],
    ):
        assert main([word.format(run) for word in words]) == 0, words
    assert main(["evaluate", str(run), "--num", "40", "--scores", "frechet", "--quiet"]) == 0
    capsys.readouterr()
    wrong = ["train", str(run / "config.toml"), "--game.brightnes", "1", "--run-dir", "b"]
    assert main(wrong) == 2
    assert "unknown key game.brightnes; did you mean brightness?" in capsys.readouterr().err
    sounds = tmp_path / "runs" / "pitches"
    assert main(["sample", str(sounds), "--num", "3", "--out", "three.wav"]) == 0
    for name, seconds in (("three.wav", 3 / 8), (sounds / "samples" / "step_00000020.wav", 64 / 8)):
        with wave.open(str(name)) as file:
            assert (file.getframerate(), file.getnframes() / file.getframerate()) == (8000, seconds)
