"""The breathing map: exact forwards, exact backwards, with its Jacobian.

A patient at end-exhale is described in canonical coordinates q (mm; x to the left, y to posterior, z to superior). At
a breathing state t the point q is found at `p = φ⁻¹(B_t(C_t(S_t(q))))`:

- S slides what is inside the thoracic and abdominal cavity down its walls. The cavity is a stack of similar
  cross-sections; a point keeps its relative place (u, v) in the cross-section and moves from depth s to
  `s + A(u, v, t) w(s)`, so that the wall slides along itself without gap or overlap, and what is outside stays.
- C widens the chest: `x + b(t) …`, then `y - a(z, t) σ(y)`; z stays.
- B is the beat of the heart, along x.
- φ, made of shears with closed inverses, makes the anatomy irregular; it has Jacobian 1 and does not depend on t.

Every step is one monotone function of one coordinate, hence exactly invertible; its Jacobian is the product of the
diagonal derivatives.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rtmotion_data.phantom.patient import Build, Motion

NEWTON_STEPS = 4
"""Quadratic convergence from a first guess within a few mm: float64 reaches 1e-10 mm, float32 its own resolution."""

POWER = 1.3
"""The displacement grows from the apex to the dome as (s / L) to this power."""

LARGEST_RADIUS = 1.35
"""No cross-section reaches further than this from its middle, in relative coordinates."""

NOTCH_WIDTH = 15.0
"""Sharpness of the notch that the spine makes in the cavity (von Mises)."""

BEAT_WIDTH = 28.0
"""Standard deviation of the Gaussian that the heart's beat decays with, mm."""


@dataclass(frozen=True)
class State:
    """A moment of the breath; numbers, or tensors that broadcast over the points (one value a slice).

    Attributes:
        diaphragm: Depth of inhalation of the diaphragm, 0 at end-exhale, about 1 at end-inhale.
        chest: The same of the chest wall.
        beat: Position of the heart's beat, -1 to 1.
    """

    diaphragm: Tensor | float
    chest: Tensor | float
    beat: Tensor | float = 0.0


@dataclass(frozen=True)
class Place:
    """Canonical points, with what the map has found out about them.

    Attributes:
        x: To the left, mm.
        y: To posterior, mm.
        z: To superior, mm.
        density: Local volume ratio J of the map from end-exhale to the state, where asked for; tissue is 1/J as dense.
        packed: Flat indices of the points inside the cavity, and the (u, v) and depth of those: what S needs to know.
    """

    x: Tensor
    y: Tensor
    z: Tensor
    density: Tensor | None = None
    packed: tuple[Tensor, Tensor, Tensor, Tensor] | None = None


def shear(x: Tensor, y: Tensor, z: Tensor, build: Build, inverse: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """The static diffeomorphism φ (world to canonical) or its inverse; volume preserving, exact both ways."""
    sx, sy, sz = build.shears

    def wave(rows: tuple[tuple[float, float, float, float], ...], first: Tensor, second: Tensor) -> Tensor:
        total = torch.zeros((), dtype=first.dtype, device=first.device)
        for amplitude, k, m, phase in rows:
            total = total + torch.sin(k * first + (m * second + phase)).mul_(amplitude)
        return total

    if inverse:
        z = z - wave(sz, x, y)
        y = y - wave(sy, x, z)
        return x - wave(sx, y, z), y, z
    x = x + wave(sx, y, z)
    y = y + wave(sy, x, z)
    return x, y, z + wave(sz, x, y)


def _smoothstep(t: Tensor) -> Tensor:
    t = t.clamp(0, 1)
    return t * t * (3 - 2 * t)


class BreathingMap:
    """The map of one patient between end-exhale (canonical coordinates) and any state; see the module's text."""

    def __init__(self, build: Build, motion: Motion) -> None:
        self.build = build
        self.motion = motion
        self.anterior = build.posterior - 2 * build.half_depth
        self.heart = (18.0, build.posterior - 1.35 * build.half_depth, build.top - build.height + 35.0)

    # --- the cavity: a stack of similar cross-sections -----------------------------------------------------------

    def scale(self, s: Tensor) -> Tensor:
        """Size of the cross-section at depth s below the lid, relative to the widest."""
        t = (s / self.build.taper).clamp(0, 1)
        return self.build.lid + (1 - self.build.lid) * t * (2 - t)

    def relative(self, x: Tensor, y: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """Relative place (u, v) in the cross-section at depth s: the wall is at radius `wall_radius(u, v)`."""
        b = self.build
        f = self.scale(s)
        return x / (b.half_width * f), (y - b.posterior) / (b.half_depth * f) + 1

    def absolute(self, u: Tensor, v: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """The x and y of a relative place at depth s."""
        b = self.build
        f = self.scale(s)
        return u * (b.half_width * f), (v - 1) * (b.half_depth * f) + b.posterior

    def wall_radius(self, u: Tensor, v: Tensor, r: Tensor) -> Tensor:
        """Radius of the cavity's wall in the direction of (u, v), where r = |(u, v)|."""
        b = self.build
        safe = r.clamp_min(1e-6)
        c, s = u / safe, v / safe
        n = b.squareness
        radius = (c.abs() ** n + s.abs() ** n) ** (-1 / n)
        radius = radius * (1 - b.spine_notch * torch.exp(NOTCH_WIDTH * (s - 1)))
        radius = radius * (1 - 0.06 * torch.exp(14.0 * (-s - 1)))
        h1, h2, h3 = b.harmonics
        return radius * (1 + h1 * c + h2 * c * s + h3 * s * (3 - 4 * s * s))

    def dome(self, u: Tensor, v: Tensor) -> Tensor:
        """Depth of the diaphragm below the lid at end-exhale, mm."""
        b = self.build

        def one(centre: tuple[float, float], low: float) -> Tensor:
            dv = v - centre[1]
            q = ((u - centre[0]) / 0.52) ** 2 + (dv / torch.where(dv < 0, 1.1, 0.74).to(dv.dtype)) ** 2
            return low + b.dome_height * q * (0.35 + 0.4 * q.clamp_max(1.6))

        soft = 8.0
        right, left = one(b.dome_right, b.height), one(b.dome_left, b.height + b.left_lower)
        low = torch.minimum(right, left)
        return low - soft * torch.log1p(torch.exp(-(right - left).abs() / soft))

    # --- S: sliding ----------------------------------------------------------------------------------------------

    def amplitude(self, u: Tensor, v: Tensor, state: State) -> Tensor:
        """Craniocaudal amplitude at a relative place, mm, positive downwards."""
        m = self.motion
        front = (1 - v.clamp(-1, 1)) / 2
        slope = (m.posterior_ratio - 1) / (m.posterior_ratio + 1)
        here = m.diaphragm * (1 + slope * v.clamp(-1, 1))
        here = here * torch.exp(-0.5 * math.log(m.right_ratio) * torch.tanh(u / 0.3))
        here = here * (1 - m.central_loss * torch.exp(-((u / 0.3) ** 2)))
        share = m.chest_share * front
        return here * ((1 - share) * state.diaphragm + share * state.chest)

    def _weight(self, s: Tensor, dome: Tensor) -> tuple[Tensor, Tensor]:
        """w(s) and its derivative: a power above the dome, a slow decay below."""
        t = (s / dome).clamp(1e-9, 1)
        below = (s - dome).clamp_min(0) / self.motion.decay
        root = t ** (POWER - 1)
        fade = torch.exp(-below * below)
        above = s < dome
        weight = torch.where(above, root * t, fade)
        slope = torch.where(above, POWER * root / dome, -2 * below * fade / self.motion.decay)
        return weight, slope

    def slide(self, q: Place, state: State) -> Place:
        """S: canonical points to where the inner organs have slid to; needs no iteration."""
        b = self.build
        index, u, v, s = q.packed or self._inside(q.x, q.y, b.top - q.z)
        new, _ = self._slid(u, v, s, _pick(state, index, q.x.shape))
        x, y = self.absolute(u, v, new)
        return Place(_put(q.x, index, x), _put(q.y, index, y), _put(q.z, index, b.top - new))

    def _slid(self, u: Tensor, v: Tensor, s: Tensor, state: State) -> tuple[Tensor, Tensor]:
        amplitude = self.amplitude(u, v, state)
        weight, slope = self._weight(s, self.dome(u, v))
        return s + amplitude * weight, 1 + amplitude * slope

    def _inside(self, x: Tensor, y: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Flat indices of the points inside the cavity, and their (u, v) and depth."""
        u, v = self.relative(x, y, s)
        r2 = u * u + v * v
        index = ((s > 0) & (r2 < LARGEST_RADIUS**2)).reshape(-1).nonzero()[:, 0]
        u, v, r, s = (a.reshape(-1).index_select(0, index) for a in (u, v, r2.sqrt_(), s))
        keep = (r < self.wall_radius(u, v, r)).nonzero()[:, 0]
        index, u, v, s = (a.index_select(0, keep) for a in (index, u, v, s))
        return index, u, v, s

    def unslide(self, p: Place, state: State) -> Place:
        """S⁻¹: one monotone equation a point inside the cavity, solved by Newton's method."""
        b = self.build
        index, u, v, target = self._inside(p.x, p.y, b.top - p.z)
        local = _pick(state, index, p.x.shape)
        dome, amplitude = self.dome(u, v), self.amplitude(u, v, local)
        s = (target - amplitude * self._weight(target, dome)[0]).clamp_min(1e-6)
        for _ in range(NEWTON_STEPS):
            weight, slope = self._weight(s, dome)
            s = (s - (s + amplitude * weight - target) / (1 + amplitude * slope)).clamp_min(1e-6)
        jacobian = p.density
        if jacobian is not None:
            ratio = self.scale(target) / self.scale(s)
            local_jacobian = (1 + amplitude * self._weight(s, dome)[1]) * ratio * ratio
            jacobian = _put(jacobian, index, jacobian.reshape(-1).index_select(0, index) * local_jacobian)
        x, y = self.absolute(u, v, s)
        moved = (_put(p.x, index, x), _put(p.y, index, y), _put(p.z, index, b.top - s))
        return Place(*moved, jacobian, (index, u, v, s))

    # --- C: the chest wall, and B: the heart ---------------------------------------------------------------------

    def _widening(self, z: Tensor, state: State) -> tuple[Tensor, Tensor]:
        """Anteroposterior and lateral amplitude at height z, mm."""
        m, s = self.motion, self.build.top - z
        chest = torch.sigmoid((s - 45) / 22) * (1 - 0.5 * torch.sigmoid((s - self.build.height - 30) / 30))
        belly = torch.sigmoid((s - self.build.height) / 30)
        return m.chest * chest * state.chest + m.abdomen * belly * state.diaphragm, m.lateral * chest * state.chest

    def _front(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """σ(y), 0 behind and 1 in front of the chest, and its derivative."""
        length = 1.8 * self.build.half_depth
        t = ((self.build.posterior - 0.1 * self.build.half_depth - y) / length).clamp(0, 1)
        return t * t * (3 - 2 * t), -6 * t * (1 - t) / length

    def _beat(self, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        hx, hy, hz = self.heart
        d = (x - hx) / BEAT_WIDTH
        bump = torch.exp(-0.5 * (((y - hy) / BEAT_WIDTH) ** 2 + ((z - hz) / BEAT_WIDTH) ** 2 + d * d))
        bump = bump * self.motion.heartbeat
        return d * bump, (1 - d * d) * bump / BEAT_WIDTH

    def forward(self, q: Place, state: State) -> tuple[Tensor, Tensor, Tensor]:
        """World positions (before the patient's irregularity φ is added) of canonical points at a state."""
        p = self.slide(q, state)
        ap, lateral = self._widening(p.z, state)
        front, _ = self._front(p.y)
        x = p.x + lateral * front * torch.tanh(p.x / self.build.half_width)
        y = p.y - ap * front
        shift, _ = self._beat(x, y, p.z)
        return x + state.beat * shift, y, p.z

    def backward(self, x: Tensor, y: Tensor, z: Tensor, state: State, density: bool = False) -> Place:
        """Canonical points of positions at a state, with J where `density` is asked for."""
        width = self.build.half_width
        start_x, start_y = x, y
        shift, slope = self._beat(x, y, z)
        for _ in range(2):
            x = x - (x + state.beat * shift - start_x) / (1 + state.beat * slope)
            shift, slope = self._beat(x, y, z)
        jacobian = 1 + state.beat * slope
        ap, lateral = self._widening(z, state)
        for _ in range(3):
            front, slope = self._front(y)
            y = y - (y - ap * front - start_y) / (1 - ap * slope)
        front, slope = self._front(y)
        gain, target = lateral * front, x
        for _ in range(2):
            th = torch.tanh(x / width)
            x = x - (x + gain * th - target) / (1 + gain * (1 - th * th) / width)
        if not density:
            return self.unslide(Place(x, y, z), state)
        th = torch.tanh(x / width)
        jacobian = jacobian * (1 - ap * slope) * (1 + gain * (1 - th * th) / width)
        return self.unslide(Place(x, y, z, jacobian), state)


def _put(old: Tensor, index: Tensor, new: Tensor) -> Tensor:
    """A copy of a tensor with the values at flat indices replaced."""
    return old.reshape(-1).index_copy(0, index, new).reshape(old.shape)


def _pick(state: State, index: Tensor, shape: torch.Size) -> State:
    """The state of the points at flat indices, packed like them."""

    def one(value: Tensor | float) -> Tensor | float:
        return value.expand(shape).reshape(-1).index_select(0, index) if isinstance(value, Tensor) else value

    return State(one(state.diaphragm), one(state.chest), one(state.beat))
