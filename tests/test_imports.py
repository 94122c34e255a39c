"""Imports from outside: what may be imported, and that nothing else ever is."""

import hashlib
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import tomli_w

from jaxgan import config, domains, imports
from jaxgan.cli import main
from jaxgan.errors import InputError
from jaxgan.experiment import provenance

pytestmark = pytest.mark.usefixtures("quick_programs", "quick_curves", "own_names")


def sha256_of(file):
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


NETWORKS = '''
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxgan import network
from jaxgan.settings import Count

Path("ran-{name}").touch()


@network("my-{name}", "generator", "latent")
class Line(nn.Module):
    """Latents to examples by one layer."""

    shape: tuple[int, ...] = (28, 28, 1)
    slope: Count = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, latent, label=None, *, train=False, keys=None):
        return jnp.tanh(self.slope * nn.Dense(784)(latent)).reshape(-1, *self.shape)


class Plain(nn.Module):
    """Registered nowhere."""


def function():
    Path("ran-function").touch()
'''


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A folder of its own to be in, and no module that a test brought is left behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(imports, "_named", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("toy_"):
            del sys.modules[name]


def table(generator: str) -> dict:
    mlp = {"network": "mlp", "width": 4, "depth": 1}
    data = {"source": "embedded", "split": "test"}
    return {"name": "toy", "steps": 2, "batch_size": 8, "data": data, "generator": {"network": generator}} | {
        "discriminator": mlp,
        "run": {"samples": 4},
    }


def written(generator: str) -> str:
    Path("toy.toml").write_text(tomli_w.dumps(table(generator)))
    return "toy.toml"


def refused(capfd, *words: str) -> str:
    """The one line of a command that must fail with 2."""
    capfd.readouterr()
    assert main([*words]) == 2
    err = capfd.readouterr().err
    assert err.count("\n") == 1, err
    return err.removeprefix("jaxgan: error: ").strip()


def ran() -> list[str]:
    return sorted(path.name for path in Path.cwd().glob("ran-*"))


# What must not run


def test_a_config_never_imports_a_module_beside_it(capfd):
    Path("toy_evil.py").write_text(NETWORKS.format(name="evil"))
    said = refused(capfd, "train", written("toy_evil.Line"), "--quiet")
    assert "generator.network" in said
    assert said.endswith("for your own pass --import toy_evil, as no config imports anything")
    # not either where another file of that folder was named
    Path("toy_good.py").write_text(NETWORKS.format(name="good"))
    assert "toy_evil" in refused(
        capfd, "train", written("toy_evil.Line"), "--import", "toy_good.py", "--quiet"
    )
    assert ran() == ["ran-good"]


@pytest.mark.parametrize("way", ["-m", "-c"])
def test_not_under_python_m_where_the_folder_is_on_the_path(way):
    Path("toy_evil.py").write_text(NETWORKS.format(name="evil"))
    # an installed distribution's entry point, as it would stand there if the folder counted as installed
    Path("toy_evil-1.dist-info").mkdir()
    Path("toy_evil-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: toy-evil\nVersion: 1\n")
    Path("toy_evil-1.dist-info/entry_points.txt").write_text("[jaxgan.networks]\nmy-evil = toy_evil:Line\n")
    start = (
        ["-m", "jaxgan"]
        if way == "-m"
        else ["-c", "import sys; from jaxgan.cli import main; sys.exit(main())"]
    )
    for name in ("toy_evil.Line", "my-evil"):
        command = [sys.executable, *start, "train", written(name), "--quiet"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert "as no config imports anything" in done.stderr
    # named on the command line by its package's name it is not found either: only its file's path means it
    command = [sys.executable, *start, "train", written("toy_evil.Line"), "--import", "toy_evil", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no such package is installed" in done.stderr
    assert ran() == []


def test_a_run_directory_never_imports(capfd):
    """A run whose network is from outside, as a stranger may send it."""
    Path("toy_evil.py").write_text(NETWORKS.format(name="evil"))
    assert main(["train", written("mlp"), "--run-dir", "run", "--quiet"]) == 0
    run = Path("run")
    config_toml = (run / "config.toml").read_text()
    assert config_toml.count('network = "mlp"') == 2
    (run / "config.toml").write_text(config_toml.replace('network = "mlp"', 'network = "toy_evil.Line"', 1))
    for words in (
        ["train", "run"],
        ["train", "run/config.toml"],
        ["sample", "run", "--out", "x.png"],
        ["evaluate", "run"],
        ["report", "run"],
        ["verify", "run"],
        ["inspect", "run"],
    ):
        assert "pass --import toy_evil" in refused(capfd, *words), words
    assert ran() == []


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Two distributions that are installed, each with a module that says when it runs; gives the place."""
    place = tmp_path / "site"
    for name in ("offers", "other"):
        (place / f"toy_{name}-1.dist-info").mkdir(parents=True)
        folder = place / f"toy_{name}-1.dist-info"
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: toy-{name}\nVersion: 1\n")
        points = (
            f"[jaxgan.networks]\ntoy-{name} = toy_{name}:Line\ntoy-{name}-function = toy_{name}:function\n"
        )
        (folder / "entry_points.txt").write_text(points)
        (place / f"toy_{name}.py").write_text(NETWORKS.format(name=name))
    monkeypatch.syspath_prepend(str(place))
    return place


def test_an_entry_point_is_loaded_by_its_name_alone(installed):
    settings = config.parse(table("toy-offers"), {"generator.slope": "3"})
    assert settings.generator.slope == 3
    assert settings.generator.network == "toy-offers"
    assert settings.generator.build(latent=4).slope == 3
    assert ran() == ["ran-offers"]  # of the distribution that was named, and of no other


def test_an_entry_point_to_something_else_is_not_called(installed):
    with pytest.raises(InputError, match="toy-other-function is a function, and not registered as a network"):
        config.parse(table("toy-other-function"))
    assert ran() == ["ran-other"]  # the module, as the name asks for it, and not the function


def test_a_name_that_two_distributions_offer(installed):
    (installed / "toy_other-1.dist-info/entry_points.txt").write_text(
        "[jaxgan.networks]\ntoy-offers = toy_other:Line\n"
    )
    with pytest.raises(InputError, match="'toy-offers' is offered by toy-offers and toy-other"):
        config.parse(table("toy-offers"))
    assert ran() == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("toy_good.function", "toy_good.function is a function, and not registered as a network"),
        ("toy_good.Plain", "toy_good.Plain is the class Plain, and not registered as a network"),
        ("toy_good.Path", "toy_good.Path is the class Path, and not registered as a network"),
        ("toy_good.nothing", "toy_good.nothing: toy_good has no nothing"),
        (
            "toy_good.Line.shape.x",
            "toy_good.Line.shape.x: only public classes of toy_good itself can be named so",
        ),
        ("toy_good.jnp.zeros", "only public classes of toy_good itself can be named so"),
        ("toy_good.nn.module.Module", "only public classes of toy_good itself can be named so"),
        ("toy_good.__loader__.name", "only public classes of toy_good itself can be named so"),
        ("os.system", "for your own pass --import os, as no config imports anything"),
    ],
)
def test_a_dotted_name_must_be_of_the_registered_kind(name, said):
    Path("toy_good.py").write_text(NETWORKS.format(name="good"))
    imports.bring("toy_good.py")
    with pytest.raises(InputError, match=said):
        config.parse(table(name))
    assert ran() == ["ran-good"]


# What may


def test_a_network_of_ones_own_by_its_name_and_by_its_place(capfd):
    Path("toy_nets.py").write_text(NETWORKS.format(name="nets"))
    for name in ("my-nets", "toy_nets.Line"):
        words = ["train", written(name), "--import", "toy_nets.py", "--quiet", "--run-dir", f"run-{name}"]
        assert main([*words, "--generator.slope", "2"]) == 0
        run = Path(f"run-{name}")
        assert f'network = "{name}"' in (run / "config.toml").read_text()
        (origin,) = json.loads((run / "manifest.json").read_text())["origins"]
        assert origin["file"] == str(Path("toy_nets.py").resolve())
        assert origin["sha256"] == sha256_of(Path("toy_nets.py"))
        assert (
            main(["sample", str(run), "--import", "toy_nets.py", "--out", f"{name}.png", "--num", "4"]) == 0
        )
    # the file has changed: not without being told
    Path("toy_nets.py").write_text(Path("toy_nets.py").read_text() + "# more\n")
    provenance._seen.clear()  # as another process sees it
    again = ["train", "run-my-nets", "--steps", "3", "--import", "toy_nets.py", "--quiet"]
    assert "was trained with other files" in refused(capfd, *again)
    assert main([*again, "--changed"]) == 0
    manifest = json.loads(Path("run-my-nets/manifest.json").read_text())
    assert manifest["origins_changed"] == [
        {"step": 2, "from": [origin["sha256"]], "to": [sha256_of(Path("toy_nets.py"))]}
    ]


def test_a_package_that_is_installed_by_its_modules(tmp_path, monkeypatch):
    place = tmp_path / "site"
    (place / "toy_package" / "inner").mkdir(parents=True)
    (place / "toy_package" / "__init__.py").touch()
    (place / "toy_package" / "inner" / "__init__.py").touch()
    (place / "toy_package" / "inner" / "nets.py").write_text(NETWORKS.format(name="inner"))
    monkeypatch.syspath_prepend(str(place))
    with pytest.raises(InputError, match="pass --import toy_package,"):
        config.parse(table("toy_package.inner.nets.Line"))
    assert ran() == []
    imports.bring("toy_package")
    assert config.parse(table("toy_package.inner.nets.Line")).generator.slope == 1
    assert ran() == ["ran-inner"]


def test_a_file_may_import_what_stands_beside_it_and_hides_nothing(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "toy_beside.py").write_text("VALUE = 3\n")
    (folder / "tqdm.py").write_text("raise RuntimeError('hides the installed one')\n")
    (folder / "toy_main.py").write_text("import tqdm\nfrom toy_beside import VALUE\n")
    assert imports.bring("project/toy_main.py").VALUE == 3
    assert imports.bring("project/toy_main.py") is imports.bring(str(folder / "toy_main.py"))


# Bad input


@pytest.mark.parametrize(
    ("text", "said", "shown"),
    [
        ("1 / 0\n", "toy_bad.py raised ZeroDivisionError while it was imported: division by zero", "1 / 0"),
        ("def f(:\n", "toy_bad.py raised SyntaxError while it was imported", "def f(:"),
        ("import toy_nowhere\n", "toy_bad.py raised ModuleNotFoundError", "import toy_nowhere"),
        ("import sys; sys.exit(3)\n", "toy_bad.py ended Python while it was imported; guard", None),
        (
            "import jaxgan\njaxgan.train('mlp', run_dir='run', steps=2)\n",
            "toy_bad.py: jaxgan.train was called while toy_bad.py was imported; guard it with if __name__ ==",
            None,
        ),
        (
            "import jaxgan\njaxgan.load('run').resume()\n",
            "toy_bad.py: Run.resume was called while toy_bad.py was imported; guard it",
            None,
        ),
        (
            "from jaxgan import family, Family\n@family('gan')\nclass Mine(Family):\n    ...\n",
            "toy_bad.py raised ValueError while it was imported: the family 'gan' is registered already; choose",
            "@family('gan')",
        ),
    ],
)
def test_a_file_that_raises_shows_its_own_traceback_once(capfd, text, said, shown):
    assert main(["train", written("mlp"), "--run-dir", "run", "--quiet"]) == 0
    Path("toy_bad.py").write_text(text)
    capfd.readouterr()
    assert main(["train", "run", "--import", "toy_bad.py"]) == 2
    err = capfd.readouterr().err
    *before, last = err.splitlines()
    assert last.startswith(f"jaxgan: error: {said}")
    assert err.count("Traceback") == (1 if shown and "def f" not in shown else 0) or shown is None
    if shown is None:
        assert before == []
    else:
        assert shown in err
        assert "importlib" not in err
        assert os.sep + "jaxgan" + os.sep + "imports.py" not in err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere.py", "--import nowhere.py: there is no such file"),
        ("toy_nowhere", "toy_nowhere: no such package is installed; for a file give its path"),
        ("a b", "--import a b: that is no name of a package"),
        ("json.py", "--import .*json.py: there is another module json; rename the file"),
        ("my-file.py", "--import .*my-file.py: Python cannot import a file of that name; rename it"),
    ],
)
def test_names_that_cannot_be_imported(name, said):
    for file in ("json.py", "my-file.py"):
        Path(file).write_text("raise RuntimeError\n")
    with pytest.raises(InputError, match=said):
        imports.bring(name)


def test_a_worker_that_imports_its_main_file_does_not_train(tmp_path):
    """A script without the guard whose data is read by processes: each of them imports the script."""
    script = tmp_path / "toy_script.py"
    script.write_text(
        "import multiprocessing, jaxgan\n"
        "def work(): ...\n"
        "if __name__ == '__main__':\n"
        "    process = multiprocessing.get_context('spawn').Process(target=work)\n"
        "    process.start(); process.join(); print(process.exitcode)\n"
        "else:\n"
        "    jaxgan.train('mlp', run_dir='run', steps=2)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "1\n"
    assert "jaxgan.train was called while its file was imported; guard it" in done.stderr
    assert not (tmp_path / "run").exists()


MORE = '''
from pathlib import Path

from jaxgan import Domain, domain, family
from jaxgan.families import GAN
from jaxgan.settings import Count

Path("ran-more").touch()


@family("my-more")
class Mine(GAN):
    """A GAN with one more setting."""

    more: Count = 1


@domain("my-kind")
class Kind(Domain):
    """Examples of a rate."""

    rate: Count = 8000

    def write(self, shown, out): ...
'''


@pytest.mark.parametrize("way", ["dotted", "entry points"])
def test_families_and_domains_of_ones_own(way, tmp_path, monkeypatch):
    place = tmp_path / "site"
    place.mkdir()
    (place / "toy_more.py").write_text(MORE)
    names = {"dotted": ("toy_more.Mine", "toy_more.Kind"), "entry points": ("toy-family", "toy-domain")}[way]
    game = {"family": names[0], "more": 3}
    with pytest.raises(InputError, match="as no config imports anything"):
        config.parse({**table("mlp"), "game": game})
    with pytest.raises(InputError, match="the data is of a domain that cannot be made of"):
        domains.described({"domain": names[1], "rate": 5})
    assert ran() == []
    if way == "dotted":
        imports.bring("site/toy_more.py")
    else:
        folder = place / "toy_more-1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-more\nVersion: 1\n")
        (folder / "entry_points.txt").write_text(
            f"[jaxgan.families]\n{names[0]} = toy_more:Mine\n[jaxgan.domains]\n{names[1]} = toy_more:Kind\n"
        )
        monkeypatch.syspath_prepend(str(place))
    settings = config.parse({**table("mlp"), "game": game})
    assert (settings.game.family, settings.game.more) == (names[0], 3)
    assert config.parse(tomllib.loads(settings.to_toml())) == settings
    found = domains.described({"domain": names[1], "rate": 5})
    assert (found.domain, found.rate) == (names[1], 5)
    # of another kind than the section asks for
    with pytest.raises(InputError, match="is the class Kind, and not registered as a family"):
        config.parse(
            {**table("mlp"), "game": {"family": "toy_more.Kind"}} if way == "dotted" else _crossed(place)
        )


def _crossed(place: Path) -> dict:
    """A config that names a family which its distribution says is a domain."""
    points = place / "toy_more-1.dist-info" / "entry_points.txt"
    points.write_text("[jaxgan.families]\ntoy-crossed = toy_more:Kind\n")
    return {**table("mlp"), "game": {"family": "toy-crossed"}}


def test_what_a_file_imports_is_not_named_with_it(tmp_path):
    """A package that a named file imported is not named, and no module of it may be imported by a dotted name."""
    place = tmp_path / "toy_victim"
    place.mkdir()
    (place / "__init__.py").touch()
    (place / "inner.py").write_text("from pathlib import Path\nPath('ran-inner').touch()\n")
    Path("toy_good.py").write_text("import toy_victim\n")
    Path("toy_evil-1.dist-info").mkdir()
    Path("toy_evil-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: toy-evil\nVersion: 1\n")
    Path("toy_evil-1.dist-info/entry_points.txt").write_text("[jaxgan.networks]\nshiny = toy_evil:X\n")
    Path("toy_evil.py").write_text("from pathlib import Path\nPath('ran-evil').touch()\n")
    imports.bring("toy_good.py")
    for name in ("toy_good.toy_victim.inner.X", "toy_victim.inner.X", "toy_good.__builtins__.X", "shiny"):
        with pytest.raises(InputError):
            config.parse(table(name))
    assert ran() == []


@pytest.mark.parametrize("tag", [["mlp"], {"a": 1}, 3, None, True])
@pytest.mark.parametrize("section", ["generator", "data", "game"])
def test_a_tag_of_another_kind_is_one_line(section, tag):
    key = {"generator": "network", "data": "source", "game": "family"}[section]
    broken = {**table("mlp")}
    broken[section] = {**broken.get(section, {}), key: tag}
    with pytest.raises(InputError):
        config.parse(broken)
    with pytest.raises(InputError):
        domains.described({"domain": tag})


def test_a_link_has_its_own_name(tmp_path):
    Path("toy_target.py").write_text("VALUE = 4\n")
    Path("toy_link.py").symlink_to("toy_target.py")
    assert imports.bring("toy_link.py").__name__ == "toy_link"


def test_a_module_of_a_package_is_imported_itself(tmp_path, monkeypatch):
    place = tmp_path / "site" / "toy_whole"
    place.mkdir(parents=True)
    (place / "__init__.py").touch()
    (place / "part.py").write_text("from pathlib import Path\nPath('ran-part').touch()\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert imports.bring("toy_whole.part").__name__ == "toy_whole"
    assert ran() == ["ran-part"]
