"""jaxgan's training step in PyTorch, as its users write it when speed matters.

Channels-last memory, fused Adam, gradients only where they are needed, losses compiled together with their networks.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def cross_entropy(real: Tensor, fake: Tensor) -> Tensor:
    bce = F.binary_cross_entropy_with_logits
    return bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))


def heuristic(fake: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))


def margins(real: Tensor, fake: Tensor) -> Tensor:
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def distance(real: Tensor, fake: Tensor) -> Tensor:
    return fake.mean() - real.mean()


def ascent(fake: Tensor) -> Tensor:
    return -fake.mean()


LOSSES = {
    "non_saturating": (cross_entropy, heuristic),
    "hinge": (margins, ascent),
    "wasserstein": (distance, ascent),
}


class Trainer:
    """One step of the game: the discriminator's turns, the generator's turn, the average of the generator."""

    def __init__(
        self,
        generator: Any,
        discriminator: Any,
        *,
        loss: str,
        turns: int,
        shared: bool,
        latent: int,
        penalty: float = 0.0,
        ema: float = 0.999,
        optimizer: Callable[[Any], torch.optim.Optimizer],
        compiled: bool = False,
        half: bool = False,
        device: str = "cpu",
    ) -> None:
        """Takes modules as they are made, on the CPU; with `half` their layers compute in bfloat16."""
        layout = {"device": device, "memory_format": torch.channels_last}
        self.generator, self.discriminator = generator.to(**layout), discriminator.to(**layout)
        self.turns, self.shared, self.latent, self.ema, self.device = turns, shared, latent, ema, device
        self.averages = [p.detach().clone() for p in generator.parameters()]
        self.g_optimizer, self.d_optimizer = (
            optimizer(net.parameters()) for net in (generator, discriminator)
        )
        of_discriminator, of_generator = LOSSES[loss]
        self.cast = partial(torch.autocast, device, dtype=torch.bfloat16, enabled=half)

        def d_loss(real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
            value = of_discriminator(discriminator(real), discriminator(fake))
            if not penalty:
                return value
            mix = mix[:, None, None, None]
            between = (mix * real + (1 - mix) * fake).requires_grad_()
            (slope,) = torch.autograd.grad(discriminator(between).sum(), between, create_graph=True)
            return value + penalty * ((slope.flatten(1).norm(2, dim=1) - 1) ** 2).mean()

        wrap: Any = torch.compile if compiled else lambda f: f
        self.make = wrap(lambda z: generator(z))
        # torch.compile cannot differentiate twice.
        self.d_loss = d_loss if penalty else wrap(d_loss)
        self.g_loss = wrap(lambda fake: of_generator(discriminator(fake)))
        self.t = 0

    def step(self, real: Sequence[Tensor], z: Sequence[Tensor], mix: Sequence[Tensor]) -> list[Tensor]:
        """The losses of discriminator (the mean of its turns) and generator.

        Images in [-1, 1], latents and the penalty's mixing weights for each turn, one of each where draws are shared.
        """
        with self.cast():
            fake = self.make(z[0]) if self.shared else None
        for parameter in self.discriminator.parameters():
            parameter.requires_grad_(True)
        d_losses = []
        for turn in range(self.turns):
            draw = 0 if self.shared else turn
            if fake is not None:
                d_fake = fake.detach()
            else:
                with torch.no_grad(), self.cast():
                    d_fake = self.make(z[draw])
            with self.cast():
                d_loss = self.d_loss(real[draw], d_fake, mix[draw])
            self.d_optimizer.zero_grad()
            d_loss.backward()
            self.d_optimizer.step()
            d_losses.append(d_loss.detach())
        # No gradient of the discriminator's own parameters in the generator's turn.
        for parameter in self.discriminator.parameters():
            parameter.requires_grad_(False)
        with self.cast():
            g_loss = self.g_loss(self.make(z[-1]) if fake is None else fake)
        self.g_optimizer.zero_grad()
        g_loss.backward()
        self.g_optimizer.step()
        decay = min(self.ema, (1 + self.t) / (10 + self.t))
        lerp: Any = torch._foreach_lerp_  # pyright: ignore[reportPrivateImportUsage]
        lerp(self.averages, [p.detach() for p in self.generator.parameters()], 1 - decay)
        self.t += 1
        return [sum(d_losses) / len(d_losses), g_loss.detach()]  # pyright: ignore[reportReturnType]


class Window:
    """`steps` steps over data kept on the device, one wait at the end: what one turn in a round runs."""

    def __init__(self, trainer: Trainer, images: np.ndarray, batch_size: int, steps: int) -> None:
        self.trainer, self.batch_size, self.steps = trainer, batch_size, steps
        self.images = torch.from_numpy(images).to(trainer.device)
        self.draws = 1 if trainer.shared else trainer.turns + 1

    def lengthen(self, steps: int) -> None:
        """Runs windows of another length from now on."""
        self.steps = steps

    def __call__(self) -> int:
        trainer, loss = self.trainer, torch.zeros(())
        n = self.batch_size
        where: dict[str, Any] = {"device": trainer.device}
        for _ in range(self.steps):
            real, z, mix = [], [], []
            for _ in range(self.draws):
                index = torch.randint(len(self.images), (n,), **where)
                real.append((self.images[index].float() / 127.5 - 1).permute(0, 3, 1, 2))
                z.append(torch.randn(n, trainer.latent, **where))
                mix.append(torch.rand(n, **where))
            loss = trainer.step(real, z, mix)[-1]
        float(loss)  # waits
        return self.steps


def tensors(parts: Sequence[np.ndarray], device: str) -> list[Tensor]:
    """Copies on the device; images `[N, H, W, C]` as channels-last `[N, C, H, W]`."""
    moved = [torch.from_numpy(part.copy()).to(device) for part in parts]
    return [part.permute(0, 3, 1, 2) if part.ndim == 4 else part for part in moved]
