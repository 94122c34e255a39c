"""What a trained run makes, against the generator called by hand."""

import functools
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import stats

from jaxgan.cli import main
from jaxgan.game import Keys
from jaxgan.networks import DCGANGenerator, MLPGenerator
from jaxgan.objectives.latents import Latents
from jaxgan.runs.checkpoint import Checkpoints, sha256
from jaxgan.sampling import sample
from jaxgan.scoring import evaluate
from jaxgan.scoring.population import Population

pytestmark = pytest.mark.usefixtures("quick_programs", "quick_curves")

LATENT = 6
ARGUMENTS = [
    *("train", "--quiet", "--data.split", "test", "--batch-size", "8", "--game.latent", str(LATENT)),
    *(
        "--generator.width",
        "4",
        "--discriminator.width",
        "4",
        "--run.samples",
        "4",
        "--game.conditional",
        "false",
    ),
]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A DCGAN of a few steps, with an average of its weights that is far from them."""
    run = tmp_path_factory.mktemp("plain") / "run"
    settings = ["--game.ema", "0.5", "--generator_optimizer.adam.learning_rate", "0.05"]
    assert main([*ARGUMENTS, *settings, "--steps", "4", "--run-dir", str(run)]) == 0
    return run


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    """A class-conditional MLP without averages."""
    folder = tmp_path_factory.mktemp("conditional")
    (folder / "mlp.toml").write_text(
        'name = "mlp"\nsteps = 2\n[data]\nsource = "embedded"\n'
        '[generator]\nnetwork = "mlp"\ndepth = 1\n[discriminator]\nnetwork = "mlp"\ndepth = 1\n'
        "[game]\nconditional = true\nema = 0.0\n"
    )
    command, *rest = ARGUMENTS[:-2]
    assert main([command, str(folder / "mlp.toml"), *rest, "--run-dir", str(folder / "run")]) == 0
    return folder / "run"


def latents(seed, indices):
    """From the run's promise: one key for each image, folded from the seed, its index, and the purpose."""
    key, purpose = jax.random.key(seed), zlib.crc32(b"latent")
    draws = [jax.random.fold_in(jax.random.fold_in(key, i), purpose) for i in indices]
    return jnp.stack([jax.random.normal(draw, (LATENT,)) for draw in draws])


def subtree(table, prefix):
    """The nested dictionary below a path of a checkpoint's flat table."""
    tree = {}
    for name, value in table.items():
        if name.startswith(prefix + "/"):
            *parents, last = name.removeprefix(prefix + "/").split("/")
            at = tree
            for parent in parents:
                at = at.setdefault(parent, {})
            at[last] = value
    return tree


def by_hand(run, z, parameters="ema"):
    table = Checkpoints(run / "checkpoints").read(4)
    variables = {"params": subtree(table, f"{parameters}/generator"), **subtree(table, "stats/generator")}
    return jax.jit(DCGANGenerator(28, 1, 4).apply)(variables, z)


def same(images, expected):
    """Bytes that equal the floats, but where two ways of computing fall on two sides of a half."""
    exact = (np.asarray(expected, np.float64) + 1) * 127.5
    assert np.abs(images - exact).max() < 0.51


@functools.cache  # each call compiles anew
def images(run, num, seed=0, **kwargs):
    return sample.images(sample.load(run, pytest.fail), num, seed, **kwargs)


def test_images_are_the_generators_with_averaged_weights_and_running_statistics(plain):
    found = images(plain, 5, seed=3)
    assert (found.shape, found.dtype) == ((5, 28, 28, 1), np.uint8)
    z = latents(3, range(5))
    same(found, by_hand(plain, z))
    # The test can tell averages from weights, and running statistics from those of the batch.
    raw = (np.asarray(by_hand(plain, z, "params")) + 1) * 127.5
    assert np.abs(found - raw).max() > 2
    table = Checkpoints(plain / "checkpoints").read(4)
    variables = {"params": subtree(table, "ema/generator"), **subtree(table, "stats/generator")}
    in_training, _ = DCGANGenerator(28, 1, 4).apply(variables, z, train=True, mutable=["batch_stats"])
    assert np.abs(found - (np.asarray(in_training) + 1) * 127.5).max() > 2


def test_image_i_depends_on_the_seed_and_on_i_alone(plain):
    """10 images or 300, which take two chunks of 256: the same first ten, and no image twice."""
    few, many = images(plain, 10, seed=1), images(plain, 300, seed=1)
    np.testing.assert_array_equal(few, many[:10])
    assert len({image.tobytes() for image in many}) == 300
    same(many[[255, 256, 299]], by_hand(plain, latents(1, (255, 256, 299))))
    assert not (images(plain, 10, seed=2) == few).all((1, 2, 3)).any()


@pytest.mark.parametrize("walk", [2, 5])
def test_a_row_walks_from_one_plain_image_to_the_next(plain, walk):
    """Its ends are plain images, and on its way the latents turn at a constant rate."""
    ends, rows = images(plain, 5, seed=7), images(plain, 4 * walk, seed=7, walk=walk)
    rows = rows.reshape(4, walk, 28, 28, 1).astype(int)
    assert np.abs(rows[:, 0] - ends[:4]).max() <= 1
    assert np.abs(rows[:, -1] - ends[1:]).max() <= 1
    a, b = np.asarray(latents(7, (2, 3)), np.float64)
    angle = np.arccos(a @ b / np.sqrt((a @ a) * (b @ b)))
    t = np.linspace(0, 1, walk)[:, None]
    between = (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)
    same(rows[2], by_hand(plain, jnp.asarray(between, jnp.float32)))


def test_a_walk_across_a_chunk_is_one_walk(plain):
    """Rows of 5 do not divide a chunk of 256."""
    rows = images(plain, 265, seed=7, walk=5)
    ends = images(plain, 53, seed=7)
    assert np.abs(rows[255].astype(int) - ends[51]).max() <= 1
    assert np.abs(rows[259].astype(int) - ends[52]).max() <= 1
    assert np.abs(rows[260].astype(int) - ends[52]).max() <= 1


def test_spherical_turns_in_the_plane_of_its_ends(rng):
    """Between a cos(0) and a cos(angle) + n sin(angle), in closed form, of any common length."""
    a = np.array([2.0, 0, 0], np.float32)
    for angle in (0.3, np.pi / 2, 2.5):
        b = np.array([2 * np.cos(angle), 0, 2 * np.sin(angle)], np.float32)
        for t in (0.0, 0.25, 0.5, 1.0):
            expected = [2 * np.cos(t * angle), 0, 2 * np.sin(t * angle)]
            np.testing.assert_allclose(sample.spherical(a, b, jnp.float32([t])), expected, atol=1e-5)


def test_spherical_of_different_lengths_starts_and_ends_where_it_should(rng):
    a, b = rng.normal(size=(2, 4, 9)).astype(np.float32)
    for t, expected in ((0.0, a), (1.0, b)):
        np.testing.assert_allclose(
            sample.spherical(a, b, jnp.full((4, 1), t)), expected, rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("scale", [1.0, 1.0 + 1e-6, 2.0])
def test_spherical_of_parallel_ends_is_the_line(scale):
    """No plane, no angle: without care 0 / 0."""
    a = np.array([1.0, -2, 3], np.float32)
    found = sample.spherical(a, np.float32(scale) * a, jnp.float32([0.25]))
    np.testing.assert_allclose(found, (0.75 + 0.25 * scale) * a, rtol=1e-3)


def test_truncated_latents_are_gaussian_within_the_bound(plain):
    z = np.asarray(Latents(LATENT).draw(Keys.of(jax.random.key(1), 2000), 0.5))
    assert np.abs(z).max() <= 0.5
    assert stats.kstest(z.ravel(), stats.truncnorm(-0.5, 0.5).cdf).pvalue > 0.01
    keys = [
        jax.random.fold_in(jax.random.fold_in(jax.random.key(3), i), zlib.crc32(b"latent")) for i in range(5)
    ]
    z = jnp.stack([jax.random.truncated_normal(key, -0.5, 0.5, (LATENT,)) for key in keys])
    same(images(plain, 5, seed=3, truncation=0.5), by_hand(plain, z))


@pytest.mark.slow
def test_truncation_is_of_gaussian_latents_and_above_0(plain, tmp_path, capsys):
    out = tmp_path / "a.npz"
    with np.load(saved(plain, out, "--num", "5", "--seed", "3", "--truncation", "0.5")) as arrays:
        np.testing.assert_array_equal(arrays["image"], images(plain, 5, seed=3, truncation=0.5))
        assert arrays["truncation"] == 0.5
    out.unlink()
    uniform = tmp_path / "uniform"
    assert main([*ARGUMENTS, "--game.latent_kind", "uniform", "--steps", "1", "--run-dir", str(uniform)]) == 0
    capsys.readouterr()
    for run, bound, said in (
        (uniform, "0.5", "--truncation is of Gaussian latents, and those of this run are of kind 'uniform'"),
        (plain, "0", "--truncation is 0.0; it must be above 0"),
        (plain, "nan", "--truncation is nan; it must be above 0"),
    ):
        assert main(["sample", str(run), "--out", str(out), "--truncation", bound]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line
    assert not out.exists()


def test_labels_go_through_the_classes_and_decide_the_image(conditional):
    """Image i is of class i mod 10, also in the arrays' labels; on a walk a row is of one class."""
    table = Checkpoints(conditional / "checkpoints").read(2)
    assert not [name for name in table if name.startswith("ema/")]
    generator = MLPGenerator((28, 28, 1), 4, 1, classes=10)
    variables = {"params": subtree(table, "params/generator")}
    found = images(conditional, 23, seed=4)
    same(found, generator.apply(variables, latents(4, range(23)), jnp.arange(23) % 10))
    rows = images(conditional, 12, seed=4, walk=3)
    same(rows[::3], generator.apply(variables, latents(4, range(4)), jnp.arange(4)))
    same(rows[2::3], generator.apply(variables, latents(4, range(1, 5)), jnp.arange(4)))


def test_spherical_of_opposite_ends_is_finite():
    """Every half circle would do."""
    a = np.array([1.0, -2, 3], np.float32)
    found = np.asarray(jax.vmap(lambda t: sample.spherical(a, -a, t[None]))(jnp.linspace(0, 1, 9)))
    assert np.isfinite(found).all()
    assert (np.linalg.norm(found, axis=-1) < 1.01 * np.linalg.norm(a)).all()


# Files


def saved(run, out, *options):
    assert main(["sample", str(run), "--out", str(out), *options]) == 0
    return out


def test_a_sheet_is_as_square_as_can_be(plain, tmp_path):
    made = images(plain, 5, seed=3)
    with Image.open(saved(plain, tmp_path / "new" / "a.png", "--num", "5", "--seed", "3")) as sheet:
        assert (sheet.format, sheet.mode, sheet.size) == ("PNG", "L", (3 * 30 - 2, 2 * 30 - 2))
        pixels = np.asarray(sheet)
    np.testing.assert_array_equal(pixels[30:58, 30:58], made[4, ..., 0])
    assert (pixels[30:, 60:] == 255).all()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (["--num", "5", "--columns", "4"], (4, 2)),
        (["--num", "16", "--interpolate"], (8, 2)),
        (["--num", "6", "--interpolate", "--columns", "3"], (3, 2)),
    ],
)
def test_columns_of_a_sheet(plain, tmp_path, options, size):
    with Image.open(saved(plain, tmp_path / "a.png", *options)) as sheet:
        assert sheet.size == (size[0] * 30 - 2, size[1] * 30 - 2)


def test_a_conditional_sheet_has_a_column_for_each_class(conditional, tmp_path):
    with Image.open(saved(conditional, tmp_path / "a.png", "--num", "20")) as sheet:
        assert sheet.size == (10 * 30 - 2, 2 * 30 - 2)


def test_arrays_hold_images_and_their_origin(plain, tmp_path):
    with np.load(saved(plain, tmp_path / "a.npz", "--num", "5", "--seed", "3")) as arrays:
        assert sorted(arrays) == ["image", "seed", "state_sha256", "step"]
        np.testing.assert_array_equal(arrays["image"], images(plain, 5, seed=3))
        assert (arrays["seed"], arrays["step"]) == (3, 4)
        assert arrays["state_sha256"] == sha256(Checkpoints(plain / "checkpoints").read(4))


def test_arrays_hold_labels(conditional, tmp_path):
    with np.load(saved(conditional, tmp_path / "a.npz", "--num", "23")) as arrays:
        np.testing.assert_array_equal(arrays["label"], [*range(10), *range(10), 0, 1, 2])
    walk = ["--num", "8", "--interpolate", "--columns", "3"]
    with np.load(saved(conditional, tmp_path / "b.npz", *walk)) as arrays:
        np.testing.assert_array_equal(arrays["label"], [0, 0, 0, 1, 1, 1, 2, 2])


def test_the_same_seed_makes_the_same_file(plain, tmp_path):
    files = [
        saved(plain, tmp_path / name, "--num", "3", "--seed", "9").read_bytes() for name in ("a.png", "b.png")
    ]
    assert files[0] == files[1]


def test_sampling_leaves_the_run_as_it_was(plain, tmp_path):
    def contents():
        return {path: path.read_bytes() for path in plain.rglob("*") if path.is_file()}

    before = contents()
    saved(plain, tmp_path / "a.png", "--num", "2")
    assert contents() == before


@pytest.mark.slow
def test_a_run_is_sampled_without_its_data(tmp_path):
    """The run's folder is all that is needed: here, its images are gone."""
    rng = np.random.default_rng(0)
    for name in "abc":
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 256, (16, 16, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{i}.png")
    config = tmp_path / "tiny.toml"
    config.write_text(
        f'name = "tiny"\nsteps = 1\n[data]\nsource = "folder"\npath = "{tmp_path / "images"}"\nresolution = 16\n'
        '[generator]\nnetwork = "mlp"\ndepth = 1\n[discriminator]\nnetwork = "mlp"\ndepth = 1\n'
        "[game]\nconditional = true\n"
    )
    rest = ARGUMENTS[4:-2]
    assert main(["train", str(config), "--quiet", *rest, "--run-dir", str(tmp_path / "run")]) == 0
    for path in sorted((tmp_path / "images").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    assert main(["sample", str(tmp_path / "run"), "--num", "5", "--out", str(tmp_path / "x.npz")]) == 0
    with np.load(tmp_path / "x.npz") as made:
        assert made["image"].shape == (5, 16, 16, 3)
        np.testing.assert_array_equal(made["label"], [0, 1, 2, 0, 1])
        new = made["image"]
    # A manifest of an older version, whose field "real" is called "image".
    manifest = tmp_path / "run" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"real"', '"image"'))
    assert main(["sample", str(tmp_path / "run"), "--num", "5", "--out", str(tmp_path / "y.npz")]) == 0
    with np.load(tmp_path / "y.npz") as made:
        np.testing.assert_array_equal(made["image"], new)


def test_standing_statistics_are_means_over_batches_of_the_averaged_weights(plain):
    """Of 8 latents each, as in training; against the same batch norm in evaluation with those means."""
    table = Checkpoints(plain / "checkpoints").read(4)
    params, old = subtree(table, "ema/generator"), subtree(table, "stats/generator")
    key, purposes = jax.random.key(3), (zlib.crc32(b"standing"), zlib.crc32(b"latent"))
    draws = [functools.reduce(jax.random.fold_in, (i, *purposes), key) for i in range(16)]
    z = jnp.stack([jax.random.normal(draw, (LATENT,)) for draw in draws]).reshape(2, 8, LATENT)
    module = DCGANGenerator(28, 1, 4)

    def moments(z):
        _, new = module.apply({"params": params, **old}, z, train=True, mutable=["batch_stats"])
        # Of running averages of momentum 0.9, what the batch has added.
        return jax.tree.map(lambda a, b: (a - 0.9 * b) / 0.1, new["batch_stats"], old["batch_stats"])

    means = jax.tree.map(lambda x: x.mean(0), jax.jit(jax.vmap(moments))(z))
    expected = jax.jit(module.apply)({"params": params, "batch_stats": means}, latents(3, range(5)))
    same(images(plain, 5, seed=3, standing_batches=2), expected)
    assert (
        np.abs(images(plain, 5, seed=3).astype(int) - images(plain, 5, seed=3, standing_batches=2)).max() > 2
    )


def test_standing_statistics_need_batch_norm(conditional, tmp_path, capsys):
    assert main(["sample", str(conditional), "--standing", "2", "--out", str(tmp_path / "x.png")]) == 2
    assert "no images from latents through batch norm; leave out --standing" in capsys.readouterr().err
    assert main(["sample", str(conditional), "--standing", "0", "--out", str(tmp_path / "x.png")]) == 2
    assert "--standing is 0; it must be at least 1" in capsys.readouterr().err


def test_the_protocol_of_a_score_says_how_many_batches_stand(plain):
    trained = sample.load(plain, pytest.fail)
    made = evaluate.Generator(trained.built, Population((1,) * 10, ""), standing=2)(trained.state, 3).made
    assert made["batch_norm"] == "standing, 2 batches of 8"
