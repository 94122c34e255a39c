"""Image files translated and enlarged: any size, any folder, no seams, and every mistake named."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from quick import quick_jit

from jaxgan import cli, config, domains, experiment
from jaxgan.cli import commands
from jaxgan.data import images, layers
from jaxgan.data.sources import Field
from jaxgan.errors import InputError
from jaxgan.game import Keys
from jaxgan.public import Run
from jaxgan.sampling import sample, translate
from jaxgan.sampling.sample import Trained
from jaxgan.sampling.translate import Job, jobs
from jaxgan.scoring import groups
from jaxgan.scoring.evaluate import pairs_of


def trained(family, fields, seed=0, **overrides):
    """A run of a tiny network, as `sample.load` gives it, with weights drawn at random."""
    nets = {"srgan": ("srresnet", "vgg"), "pix2pix": ("unet", "patchgan"), "cyclegan": ("unet", "patchgan")}
    generator, discriminator = nets[family]
    table = {
        "name": "t",
        "seed": seed,
        "steps": 1,
        "batch_size": 2,
        "data": {"source": "embedded"},
        "generator": {"network": generator, "width": 4},
        "discriminator": {"network": discriminator, "width": 2},
        "game": {"family": family},
    }
    built = experiment.build(config.parse(table, overrides), [], 100, fields)
    return Trained(built, quick_jit(lambda: experiment.initial(built))(), 0, "")


GREY, SMALL, COLOUR = (Field((s, s, c), "uint8") for s, c in ((28, 1), (14, 1), (28, 3)))


def enlarger_of(norm):
    overrides = {"generator.blocks": "2", "data.scale": "2", "generator.norm": norm}
    made = trained("srgan", {"real": GREY, "input": SMALL}, **overrides)
    return made._replace(state=made.state.replace(params=jax.tree.map(lambda x: 2 * x, made.state.params)))


@pytest.fixture(scope="module")
def enlarger():
    return enlarger_of("none")


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.slow
def test_tiles_are_the_whole_image(norm, rng):
    """Any size, and tiles that do not divide it, in batches that span images; with any running averages."""
    enlarger = enlarger_of(norm)
    drawn = jax.tree.map(
        lambda x: jnp.asarray(rng.uniform(0.5, 1.5, x.shape), jnp.float32), enlarger.state.stats["generator"]
    )
    assert bool(jax.tree.leaves(drawn)) == (norm == "batch")
    stats = {**enlarger.state.stats, "generator": drawn}
    enlarger = enlarger._replace(state=enlarger.state.replace(stats=stats))
    given = [rng.integers(0, 256, (h, w, 1), np.uint8) for h, w in ((9, 31), (1, 1), (33, 17))]
    for tile in (13, 40):
        made = translate.enlarged(enlarger, given, tile, finish=lambda x: x)
        for image, found in zip(given, made, strict=True):
            x = jnp.asarray(image[None], jnp.float32) / 127.5 - 1
            whole = quick_jit(enlarger.built.game.sample)(
                enlarger.state, Keys.of(jax.random.key(0), 1), {"input": x}
            )
            assert found.shape == (2 * image.shape[0], 2 * image.shape[1], 1)
            scale = max(1, np.abs(whole).max())
            np.testing.assert_allclose(found, whole[0], atol=1e-5 * scale, rtol=0)
            if found.size > 4:
                assert np.ptp(found) > 0.1  # not flat, so that a seam would show


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.mark.slow
def test_files_are_enlarged_in_their_folders_and_damaged_ones_named(enlarger, tmp_path, rng):
    folder, out, said = tmp_path / "in", tmp_path / "out", []
    write(folder / "a.jpg", rng.integers(0, 256, (6, 9, 3), np.uint8))
    write(folder / "sub" / "b.bmp", rng.integers(0, 256, (5, 4), np.uint8))
    (folder / "bad.png").write_bytes(b"no image")
    (folder / "notes.txt").write_text("no image either")
    assert translate.upscale(enlarger, jobs([folder], out), say=said.append, progress=False) == 1
    assert said == [
        f"left out {folder / 'bad.png'}: not an image that Pillow can read; replace or remove the file"
    ]
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*.*")) == ["a.png", "sub/b.png"]
    grey = images.read_whole(folder / "a.jpg", 1)
    (want,) = translate.enlarged(enlarger, [grey], 9)
    np.testing.assert_array_equal(read(out / "a.png"), want[..., 0])


def test_whole_and_floating_values_are_enlarged_side_by_side(enlarger, tmp_path, rng):
    """The same picture in units of both kinds gives the same."""
    folder, said = tmp_path / "in", []
    levels = rng.integers(0, 4096, (6, 9))
    levels[0, 0] = 4095
    write(folder / "a.png", levels.astype(np.uint16))
    write(folder / "b.tif", (levels / 4095).astype(np.float32))
    todo = jobs([folder], tmp_path / "out")
    assert translate.upscale(enlarger, todo, say=said.append, progress=False) == 0
    assert said == [
        "2 of 2 images are of more than 8 bits, and get 16, black at 0 and white at 4095, or black at 0 and white at 1"
    ]
    whole, floating = (read(tmp_path / "out" / f"{name}.png") for name in "ab")
    np.testing.assert_allclose(whole / 4095, floating / 65535, atol=2e-4)


@pytest.mark.slow
def test_upscale_keeps_what_pictures_hold(enlarger, tmp_path, rng):
    """16 bits and transparency; what a run of 8 bits makes of them is right to a level of 8 bits."""
    folder, out, said = tmp_path / "in", tmp_path / "out", []
    grey = rng.integers(0, 256, (6, 9), np.uint8)
    alpha = rng.integers(0, 256, (6, 9), np.uint8)
    folder.mkdir()
    Image.fromarray(grey).save(folder / "a.png")
    clear = Image.fromarray(grey)
    clear.putalpha(Image.fromarray(alpha))
    clear.save(folder / "b.png")
    write(folder / "c.png", grey.astype(np.uint16) * 257)
    layers.write_16_bits(folder / "d.png", np.repeat(grey[..., None].astype(np.uint16) * 257, 4, 2))
    for i in range(12):
        os.mkfifo(folder / f"pipe{i:02d}.png")
    (folder / "notes.txt").touch()
    assert (
        translate.upscale(enlarger, jobs([folder], out, say=said.append), say=said.append, progress=False)
        == 12
    )
    assert said[0] == f"{folder}: 1 file left out: 1 of another kind"
    assert said[1:3] == [
        "2 of 4 images have transparency, which is enlarged by a bicubic filter",
        "2 of 4 images are of more than 8 bits, and get 16, black at 0 and white at 65535",
    ]
    assert len(said) == 13  # and the first ten pipes
    plain = read(out / "a.png")
    assert (plain.dtype, plain.shape) == (np.uint8, (12, 18))
    with Image.open(out / "b.png") as made:
        np.testing.assert_array_equal(np.asarray(made)[..., 0], plain)
        bicubic = Image.fromarray(alpha).resize((18, 12), Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(np.asarray(made)[..., 1], bicubic)
    deep = read(out / "c.png")
    assert deep.dtype == np.uint16
    assert np.abs(deep / 257 - plain).max() <= 0.51
    assert len(np.unique(deep % 257)) > 10  # more than 8 bits
    with Image.open(out / "d.png") as made:
        assert images.raw_mode(made) == "LA;16B"
    np.testing.assert_allclose(
        layers.read(out / "d.png", 1, None).pixels[..., 0], deep / 32767.5 - 1, atol=1e-4
    )


@pytest.mark.slow
def test_pix2pix_translates_files_of_any_size(tmp_path, rng, monkeypatch, capsys):
    run = trained("pix2pix", {"real": COLOUR, "input": GREY}, **{"generator.depth": "2"})
    original = rng.integers(0, 256, (11, 13, 3), np.uint8)
    write(tmp_path / "a.png", original)
    write(tmp_path / "b.png", original)
    todo = jobs([tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "out")
    assert translate.translate(run, todo, seed=3, progress=False) == 0
    first, second = (read(job.out) for job in todo)
    assert first.shape == (11, 13, 3)
    np.testing.assert_array_equal(first, second)
    x = np.asarray(Image.fromarray(original).convert("L"), np.float32)[None, ..., None] / 127.5 - 1
    made = quick_jit(run.built.game.sample)(
        run.state, Keys.of(jax.random.key(3), 1), {"input": jnp.asarray(x)}
    )
    np.testing.assert_allclose(first.astype(int), domains.Image().encode(np.asarray(made))[0], atol=1)
    # The command is the same, but for a file that it cannot read.
    monkeypatch.setattr(sample, "load", lambda *_, **__: run)
    monkeypatch.setattr(commands, "_run", lambda options, path, modules: Run(path))  # there is no folder
    (tmp_path / "c.png").write_bytes(b"")
    files = [str(tmp_path / f"{name}.png") for name in "ac"]
    command = ["translate", "RUN", *files, "--out", str(tmp_path / "again"), "--seed", "3", "--quiet"]
    assert cli.main(command) == 1
    assert f"left out {files[1]}: the file is empty" in capsys.readouterr().err
    np.testing.assert_array_equal(read(tmp_path / "again" / "a.png"), first)


@pytest.mark.slow
def test_cyclegan_goes_forth_and_back(tmp_path, rng):
    overrides = {"generator.depth": "2", "game.identity": "0"}
    run = trained("cyclegan", {"real": GREY, "other": COLOUR}, **overrides)
    write(tmp_path / "a.png", rng.integers(0, 256, (8, 8), np.uint8))
    (job,) = jobs([tmp_path / "a.png"], tmp_path / "out")
    for back, shape in ((False, (8, 8)), (True, (8, 8, 3))):
        assert translate.translate(run, [job], back=back, progress=False) == 0
        assert read(job.out).shape == shape


@pytest.mark.slow
def test_runs_of_other_families_are_refused(enlarger):
    todo = [Job(*2 * [translate.Path("x.png")])]
    with pytest.raises(InputError, match="and a run of srgan does not; see jaxgan upscale"):
        translate.translate(enlarger, todo)
    run = trained("pix2pix", {"real": GREY, "input": GREY}, **{"generator.depth": "2"})
    with pytest.raises(InputError, match="and a run of pix2pix does not; see jaxgan translate"):
        translate.upscale(run, todo)
    with pytest.raises(InputError, match="a run of pix2pix has no way back"):
        translate.translate(run, todo, back=True)


def test_mistakes_about_files_are_named_before_any_work(tmp_path):
    folder = tmp_path / "in"
    for name in ("a.jpg", "a.png", "sub/c.png"):
        write(folder / name, np.zeros((4, 4), np.uint8))
    (tmp_path / "empty").mkdir()
    for inputs, out, message in (
        ([tmp_path / "empty"], tmp_path / "out", "holds no images"),
        ([tmp_path / "none.png"], tmp_path / "out", "no such file or folder"),
        ([folder], folder / "out", "is inside of"),
        ([folder], folder, "is inside of"),
        ([folder], tmp_path / "out", "would both become"),
        ([folder / "a.png"], folder, "would replace the input"),
        ([folder / "a.png"], folder / "a.jpg", "is a file"),
    ):
        with pytest.raises(InputError, match=message):
            jobs(inputs, out)
    twice = jobs([folder / "a.png", folder / "sub" / ".." / "a.png", folder / "sub"], tmp_path / "out")
    assert [job.out.name for job in twice] == ["a.png", "c.png"]


@pytest.mark.slow
def test_scores_of_pairs_are_of_each_image_and_its_own_truth(enlarger):
    pairs = pairs_of(enlarger.built, 40)
    assert pairs.truth.shape == pairs.baseline.shape == (40, 28, 28, 1)
    source = experiment.held_out(enlarger.built)
    assert source is not None
    example = source[0]
    np.testing.assert_array_equal(pairs.truth[0], example["real"])
    bicubic = Image.fromarray(example["input"][..., 0]).resize((28, 28), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(pairs.baseline[0, ..., 0], np.asarray(bicubic))
    none = groups.Sample(np.zeros((40, 0)), np.zeros((40, 0)), pairs.truth, np.zeros(40, int))
    group = groups.GROUP["psnr"]
    off = none._replace(examples=np.where(pairs.truth < 128, pairs.truth + 4, pairs.truth - 4)[:30])
    seen = groups.Seen(none, off, None, None, 0, 40, pairs)
    found, floor = group.compute(seen), group.floor(seen)
    assert found["l1"] == pytest.approx((4, np.nan), nan_ok=True)  # all alike: no error can be told
    assert found["psnr"][0] == pytest.approx(20 * np.log10(255 / 4))
    apart = np.abs(pairs.truth.astype(int) - pairs.baseline).mean()
    assert floor["l1"][0] == pytest.approx(apart)
    assert floor["psnr"][0] < found["psnr"][0]


def test_enlarged_by_bicubic_keeps_what_fits(rng):
    image = rng.integers(0, 256, (4, 4, 1), np.uint8)
    np.testing.assert_array_equal(images.enlarged(image, 4, 4, 1), image)
    np.testing.assert_array_equal(images.enlarged(image, 4, 4, 3), image.repeat(3, 2))


@pytest.mark.slow
def test_from_the_command_line(tmp_path, capsys):
    """Trained for a step, scored by pixels without any feature network, and used on a file and on a damaged one."""
    run, good, bad = (str(tmp_path / name) for name in ("run", "a.png", "b.png"))
    write(tmp_path / "a.png", np.full((10, 12), 200, np.uint8))
    (tmp_path / "b.png").write_bytes(b"")
    small = [
        "--generator.width=2",
        "--generator.blocks=1",
        "--discriminator.width=2",
        "--discriminator.pairs=1",
    ]
    config_file = str(translate.Path(__file__).parents[1] / "configs" / "srgan.toml")
    rest = ["--quiet", "--steps=1", "--batch_size=8", "--data.split=test", "--run.samples=2"]
    assert cli.main(["train", config_file, "--run-dir", run, *small, *rest, "--game.features=none"]) == 0
    assert cli.main(["upscale", run, good, "--out", str(tmp_path / "out"), "--quiet"]) == 0
    assert read(tmp_path / "out" / "a.png").shape == (20, 24)
    assert cli.main(["upscale", run, good, bad, "--out", str(tmp_path / "out"), "--quiet"]) == 1
    assert f"left out {bad}: the file is empty" in capsys.readouterr().err
    assert cli.main(["upscale", run, good, "--out", str(tmp_path / "out"), "--tile", "0"]) == 2
    assert cli.main(["translate", run, good, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err.splitlines()
    assert "--tile is 0; it must be from 1 to" in said[0]
    assert "a run of srgan does not; see jaxgan upscale" in said[1]
    assert cli.main(["evaluate", run, "--scores", "psnr", "--num", "20", "--quiet"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["score", "value", "error", "input", "better"]
    assert table[1].startswith("PSNR (dB)")
