"""A generic video network: convolutions over stacked frames, straight to the image, without fields.

The idea is SimVP's (Gao et al., CVPR 2022, arXiv 2206.05099): an encoder for each frame, a translator over the frames
stacked along the channels, a decoder for each frame to come with a skip connection; no recurrence, no warping. The code
is rtmotion's own, in 3D; frames lie on a clock of ten slots, and what comes out is the change from the last one.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtmotion.video.network import Block, doubled
from rtmotion_baselines.generative.clip import CELL_CHANNELS, CHANGE_UNIT, SLOTS, Clip, clock, slot_of, tiled
from rtmotion_baselines.generative.image_recipe import Example
from rtmotion_baselines.generative.layers import FACTS, joined, time_facts, weighted_mean, zeroed


class SimVp(nn.Module):
    """See the module's docstring: frames at 16 mm, a translator at 16 and 32 mm, a decoder to 8 mm."""

    def __init__(self, frame: int = 16, channels: int = 64) -> None:
        super().__init__()
        self.frame = frame
        self.look = nn.Sequential(
            nn.Conv3d(CELL_CHANNELS + 1, frame, 3, padding=1), nn.SiLU(), nn.Conv3d(frame, frame, 2, stride=2)
        )
        self.stack = nn.Conv3d(SLOTS * frame, channels, 1)
        self.first = Block(channels, FACTS)
        self.down = nn.Conv3d(channels, channels, 2, stride=2)
        self.deep = nn.ModuleList(Block(channels, FACTS) for _ in range(2))
        self.join = nn.Conv3d(2 * channels, channels, 1)
        self.second = Block(channels, FACTS)
        self.share = nn.Conv3d(channels, SLOTS * frame, 1)
        self.top = nn.Conv3d(frame + CELL_CHANNELS, 2 * frame, 3, padding=1)
        self.out = zeroed(nn.Conv3d(2 * frame, CELL_CHANNELS, 3, padding=1))

    def forward(self, example: Example) -> dict[str, Tensor]:
        """`loss`: mean squared difference of the images, in units of the change."""
        found = self.changes(clock(example.clip, differences=True)[None], example.clip.ahead.tolist())
        image = weighted_mean(((found - example.change) / CHANGE_UNIT).square().mean(dim=1), example.weight)
        return {"loss": image, "image": image}

    def changes(self, seen: Tensor, ahead: list[float]) -> Tensor:
        """The targets less the last observed phase.

        Args:
            seen: The clock, shape (1, 90, z, y, x).
            ahead: How far the targets lie ahead, cycles.

        Returns:
            Shape (m, 8, z, y, x).
        """
        frames, filled = seen[0, :-SLOTS], seen[0, -SLOTS:, None]
        slots = torch.cat([frames.reshape(SLOTS, CELL_CHANNELS, *frames.shape[1:]), filled], dim=1)
        x = self.stack(self.look(slots).flatten(0, 1)[None])
        none = time_facts(0.0).to(seen)[None]
        x = self.first(x, none)
        deep = self.down(x)
        for block in self.deep:
            deep = block(deep, none)
        x = self.second(self.join(joined([x, doubled(deep)])), none)
        futures = self.share(x)[0].unflatten(0, (SLOTS, self.frame))
        chosen = doubled(futures[[slot_of(t) for t in ahead]])
        last = frames[:CELL_CHANNELS].expand(len(ahead), -1, -1, -1, -1)
        out: Tensor = CHANGE_UNIT * self.out(F.silu(self.top(joined([chosen, last]))))
        return out.float()

    def sample(self, clip: Clip, generator: torch.Generator | None = None, tile: int = 64) -> Tensor:
        """Changes from the last observed phase, shape (m, 8, z, y, x); nothing is drawn."""
        ahead = clip.ahead.tolist()
        found = tiled(lambda seen: self.changes(seen, ahead).flatten(0, 1)[None], clock(clip, differences=True), tile)
        return found.reshape(len(ahead), CELL_CHANNELS, *found.shape[1:])
