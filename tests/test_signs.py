"""Warnings of windows that are made to hold each sign, and of healthy ones."""

import numpy as np
import pytest

from jaxgan.training.signs import PATIENCE, Watch


def window(steps=100, **values):
    healthy = {
        "discriminator/real_accuracy": 0.8,
        "discriminator/fake_accuracy": 0.7,
        "discriminator/real_variance": 0.4,
        "discriminator/fake_variance": 0.3,
        "generator/grad_norm": 1.0,
    }
    changed = {name.replace("_of_", "/"): value for name, value in values.items()}
    return {name: np.full(steps, value) for name, value in {**healthy, **changed}.items()}


BAD = [
    (
        {"discriminator_of_real_accuracy": 1.0, "discriminator_of_fake_accuracy": 0.999},
        "tells 99.9% of all examples",
    ),
    ({"discriminator_of_fake_variance": 0.004}, "by 10% of what real ones do"),
    ({"discriminator_of_fake_variance": 3.6}, "by 300% of what real ones do: they are likely to be noise"),
    ({"generator_of_grad_norm": 1e-9}, "gradient has vanished"),
    ({"generator_of_grad_norm": 1e6}, "gradient explodes"),
]


def test_a_healthy_run_gets_no_line():
    watch = Watch()
    assert not any(watch.see(window()) for _ in range(50))


@pytest.mark.parametrize(("values", "text"), BAD)
def test_a_sign_that_stays_is_said_once(values, text):
    watch, said = Watch(), []
    for i in range(20):
        lines = watch.see(window(**values))
        said += [(100 * (i + 1), line) for line in lines]
    assert [step for step, _ in said] == [PATIENCE]
    assert text in said[0][1]
    assert f"for {PATIENCE} steps" in said[0][1]


@pytest.mark.parametrize(("values", "text"), BAD)
def test_a_sign_that_goes_away_is_forgotten(values, text):
    watch = Watch()
    for _ in range(3):
        assert not watch.see(window(PATIENCE - 1, **values))
        assert not watch.see(window(10))
    watch.see(window(PATIENCE, **values))
    watch.see(window(1))
    assert text in watch.see(window(PATIENCE, **values))[0]  # and said again when it comes back


def test_what_is_not_measured_is_no_sign():
    watch = Watch()
    for _ in range(20):
        assert not watch.see({"discriminator/real_accuracy": np.ones(100), "critic/loss": np.ones(100)})
        assert not watch.see(window(discriminator_of_real_variance=0.0, discriminator_of_fake_variance=0.0))
        assert not watch.see(window(discriminator_of_real_accuracy=np.nan))
