"""Hour and weather: the light that falls on things, and the haze between them and the camera."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

import numpy as np

from coatseg.scenes.world.camera import Point
from coatseg.scenes.world.colours import Colour
from coatseg.scenes.world.textures import Floats


@dataclass(frozen=True)
class Hour:
    """A kind of sky: its share of scenes, its colours at the zenith and at the horizon, and that of its clouds.

    `cover` is the range of the share of sky under cloud; `ambient` and `sun` are factors of a surface's colour per
    channel; `elevation` is the range of the sun's elevation in degrees; `dark` is 1 at night.
    """

    share: float
    zenith: Colour
    horizon: Colour
    cloud: Colour
    cover: tuple[float, float]
    ambient: Colour
    sun: Colour
    elevation: tuple[float, float]
    dark: float = 0.0


# fmt: off
HOURS = {
    "clear": Hour(0.26, (70, 120, 195), (178, 205, 228), (245, 245, 245), (0.0, 0.3),
                  (0.50, 0.54, 0.62), (0.75, 0.70, 0.60), (25, 65)),
    "cloudy": Hour(0.22, (95, 135, 185), (185, 200, 215), (225, 225, 228), (0.35, 0.7),
                   (0.60, 0.62, 0.66), (0.50, 0.48, 0.42), (25, 60)),
    "hazy": Hour(0.10, (175, 185, 190), (215, 213, 205), (225, 222, 215), (0.0, 0.4),
                 (0.66, 0.65, 0.62), (0.35, 0.33, 0.28), (20, 50)),
    "overcast": Hour(0.16, (150, 155, 160), (185, 188, 190), (120, 124, 130), (0.3, 0.8),
                     (0.85, 0.86, 0.88), (0.08, 0.08, 0.08), (40, 70)),
    "white": Hour(0.07, (232, 233, 235), (240, 240, 238), (225, 226, 228), (0.0, 0.5),
                  (0.92, 0.92, 0.92), (0.06, 0.06, 0.06), (40, 70)),
    "storm": Hour(0.04, (72, 78, 88), (125, 130, 138), (50, 54, 62), (0.4, 0.9),
                  (0.60, 0.63, 0.68), (0.08, 0.08, 0.08), (30, 60)),
    "sunset": Hour(0.08, (88, 95, 150), (250, 178, 110), (235, 140, 110), (0.1, 0.6),
                   (0.50, 0.44, 0.48), (0.75, 0.48, 0.25), (6, 16)),
    "dusk": Hour(0.04, (45, 56, 98), (165, 120, 125), (70, 66, 92), (0.1, 0.6),
                 (0.46, 0.46, 0.56), (0.05, 0.04, 0.04), (8, 20), 0.6),
    "night": Hour(0.03, (10, 13, 26), (42, 40, 52), (30, 30, 40), (0.0, 0.6),
                  (0.38, 0.36, 0.36), (0.06, 0.06, 0.07), (30, 60), 1.0),
}
# fmt: on

CLEAR_AIR, MIST, FOG = (350.0, 1500.0), (90.0, 250.0), (40.0, 90.0)
"""The ranges of `reach` (see Light) in metres, in clear air, mist and fog."""
MIST_SHARE, FOG_SHARE, WET_SHARE, SNOW_SHARE = 0.1, 0.03, 0.14, 0.04
FALLING_SHARE = 0.5
"""The share of wet and of snowy scenes in which it still rains or snows."""
LAMPLIGHT: Colour = (255.0, 205.0, 140.0)


@dataclass(frozen=True)
class Light:
    """The light of one scene. `sun` points to the sun; `reach` is the distance in metres at which 1/e is still visible.

    `wet` is how much the ground mirrors, `snow` how much snow lies on it, both 0 to 1; `falling` is the name of the
    texture of rain or snow, if any falls. Colours are (3,).
    """

    hour: Hour
    zenith: Floats
    horizon: Floats
    cloud: Floats
    ambient: Floats
    sun_colour: Floats
    sun: Point
    air: Floats
    reach: float
    wet: float
    snow: float
    falling: str

    @property
    def dark(self) -> float:
        """The darkness, from 0 by day to 1 at night."""
        return self.hour.dark

    @property
    def shadow(self) -> float:
        """The share of light that the ground loses in a shadow."""
        direct = float(self.sun_colour.mean()) * self.sun[1]
        return direct / (direct + float(self.ambient.mean()))

    def shade(self, colours: Floats, facing: Floats | float, depth: float) -> Floats:
        """Shade colours (N, 3) of surfaces with the cosines `facing` to the sun, seen through `depth` metres of air."""
        falling = np.maximum(facing, 0.0)
        sunlit = falling[:, None] * self.sun_colour if isinstance(falling, np.ndarray) else falling * self.sun_colour
        return self.veil(colours * (self.ambient + sunlit), depth)

    def veil(self, colours: Floats, depth: float) -> Floats:
        """Blend lit colours with the colour of the air over `depth` metres."""
        kept = math.exp(-max(depth, 0.0) / self.reach)
        return np.asarray(colours * kept + self.air * (1 - kept))

    def facing(self, normal: Point) -> float:
        """Return the cosine between a normal and the direction of the sun."""
        return normal[0] * self.sun[0] + normal[1] * self.sun[1] + normal[2] * self.sun[2]


def draw_light(rng: Random) -> Light:
    """Draw the light of a random hour and weather."""
    hour = rng.choices(list(HOURS.values()), [hour.share for hour in HOURS.values()])[0]
    elevation, azimuth = math.radians(rng.uniform(*hour.elevation)), rng.uniform(0, 2 * math.pi)
    level = math.cos(elevation)
    tint = np.array([[rng.gauss(1, 0.04) for _ in range(3)] for _ in range(3)])
    strength = np.array([[rng.gauss(1, 0.08)] for _ in range(3)])
    zenith, horizon, cloud = np.array([hour.zenith, hour.horizon, hour.cloud]) * tint * strength
    weather = rng.random()
    reach = rng.uniform(*(FOG if weather < FOG_SHARE else MIST if weather < FOG_SHARE + MIST_SHARE else CLEAR_AIR))
    ground, falls = rng.random(), rng.random() < FALLING_SHARE
    wet, snow = ground < WET_SHARE, ground > 1 - SNOW_SHARE
    return Light(
        hour,
        zenith=zenith,
        horizon=horizon,
        cloud=cloud,
        ambient=np.array(hour.ambient) * [rng.gauss(1, 0.03) for _ in range(3)],
        sun_colour=np.array(hour.sun) * rng.uniform(0.7, 1.1),
        sun=(level * math.sin(azimuth), math.sin(elevation), level * math.cos(azimuth)),
        air=0.9 * horizon + 0.1 * zenith,
        reach=reach,
        wet=rng.uniform(0.3, 1.0) if wet else 0.0,
        snow=rng.uniform(0.4, 1.0) if snow else 0.0,
        falling=("rain" if wet else "flakes" if snow else "") if falls else "",
    )
