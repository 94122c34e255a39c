"""The README's research script runs as it stands and finds the modes that it says it finds."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_research_script(capsys):
    (script,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(script.splitlines()) < 60
    exec(compile(script, "README.md", "exec"), {"__name__": "__main__"})
    modes, share = map(
        int, re.fullmatch(r"(\d) of 8 modes, (\d+)% of .*\n", capsys.readouterr().out).groups()
    )
    assert modes == 8
    assert share > 75


def test_every_file_that_a_readme_links_to_exists():
    for folder in (ROOT, ROOT / "configs"):
        links = re.findall(r"\]\(([^)#]+)\)", (folder / "README.md").read_text(encoding="utf-8"))
        assert any(link.endswith(".png") for link in links)
        for link in (link for link in links if "://" not in link):
            assert (folder / link).exists(), link
