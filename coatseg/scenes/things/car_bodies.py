"""The bodies of cars: dimensions of several kinds, and the low-poly meshes built from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from coatseg.scenes.world.stage import circle
from coatseg.scenes.world.textures import Floats

PAINT, GLASS, TYRE, HUB, HEADLIGHT, TAIL, DARK, PLATE = range(8)


@dataclass(frozen=True)
class Body:
    """The dimensions of a kind of car in metres, and its share of all cars.

    `nose`, `belt`, `tail` and `roof` are heights. `bonnet` and `boot` are the lengths in front of and behind the cabin
    at the belt line; `rake_front` and `rake_back` are how far the roof's edges are set back from there.
    """

    share: float
    length: float
    width: float
    nose: float
    belt: float
    tail: float
    roof: float
    bonnet: float
    boot: float
    rake_front: float
    rake_back: float


BODIES = {
    "saloon": Body(0.28, 4.6, 1.8, 0.75, 0.95, 0.98, 1.45, 1.25, 0.8, 0.75, 0.6),
    "hatchback": Body(0.27, 4.0, 1.75, 0.78, 0.98, 1.0, 1.5, 1.0, 0.1, 0.7, 0.4),
    "estate": Body(0.18, 4.6, 1.85, 0.92, 1.1, 1.1, 1.68, 1.15, 0.05, 0.6, 0.3),
    "van": Body(0.15, 5.2, 2.0, 1.05, 1.3, 1.3, 2.2, 0.65, 0.02, 0.65, 0.08),
    "bus": Body(0.06, 10.5, 2.5, 1.2, 1.35, 1.35, 3.0, 0.05, 0.02, 0.12, 0.05),
    "lorry": Body(0.06, 7.5, 2.4, 1.1, 1.5, 1.5, 3.1, 0.1, 0.02, 0.25, 0.02),
}
CLEARANCE = 0.28
"""Metres between the body and the ground."""


@dataclass(frozen=True)
class Mesh:
    """Vertices (V, 3) in metres, x to the right, y up, z forward; faces as ranges of them, clockwise from outside.

    For each face there are `materials` (F,), `normals` (F, 3), its first vertex in `starts` (F,), and in `lamps` (F,)
    whether it shines at night.
    """

    vertices: Floats
    faces: tuple[tuple[int, int], ...]
    materials: npt.NDArray[np.int64]
    normals: Floats
    starts: npt.NDArray[np.int64]
    lamps: npt.NDArray[np.bool_]


class _Builder:
    """Collects the faces of a mesh, each with its own vertices."""

    def __init__(self) -> None:
        self.vertices: list[Floats] = []
        self.faces: list[tuple[int, int]] = []
        self.materials: list[int] = []

    def add(self, corners: Floats, material: int) -> None:
        """Add one face with corners (N, 3), clockwise as seen from outside."""
        self.faces.append((len(self.vertices), len(self.vertices) + len(corners)))
        self.vertices.extend(corners)
        self.materials.append(material)

    def inset(self, quad: Floats, left: float, bottom: float, right: float, top: float, material: int) -> None:
        """Add a face within a quad whose corners are lower left, upper left, upper right, lower right."""
        a, b, c, d = quad

        def at(u: float, v: float) -> Floats:
            return np.asarray((a * (1 - u) + d * u) * (1 - v) + (b * (1 - u) + c * u) * v)

        self.add(np.stack([at(left, bottom), at(left, top), at(right, top), at(right, bottom)]), material)

    def build(self) -> Mesh:
        """Return the mesh of the collected faces."""
        vertices = np.array(self.vertices)
        starts = np.array([start for start, _ in self.faces])
        normals = np.cross(vertices[starts + 1] - vertices[starts], vertices[starts + 2] - vertices[starts])
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        materials = np.array(self.materials)
        return Mesh(vertices, tuple(self.faces), materials, normals, starts, np.isin(materials, (HEADLIGHT, TAIL)))


@cache
def mesh(name: str) -> Mesh:
    """Build the mesh of one of `BODIES`, faces in the order in which they are painted."""
    body, builder = BODIES[name], _Builder()
    half, end = body.width / 2, body.length / 2
    front, back = end - body.bonnet, -end + body.boot
    _underside(builder, half - 0.12, end - 0.15)
    profile = [
        (-end, CLEARANCE),
        (-end, body.tail),
        (back, body.belt),
        (front, body.belt),
        (end, body.nose),
        (end, CLEARANCE),
    ]
    for side in (-1, 1):
        corners = np.array([[side * half, y, z] for z, y in profile])
        builder.add(corners[::-1] if side < 0 else corners[::1], PAINT)
    for (z0, y0), (z1, y1) in pairwise(profile):
        builder.add(np.array([[-half, y0, z0], [-half, y1, z1], [half, y1, z1], [half, y0, z0]]), PAINT)
    for side in (-1, 1):
        for axle in (0.62, -0.62):
            _wheel(builder, side * (half + 0.01), axle * end, body)
    _ends(builder, body)
    _cabin(builder, body, front, back, cargo=name == "lorry")
    return builder.build()


def _underside(builder: _Builder, half: float, end: float) -> None:
    """Add the dark faces between the body and the ground."""
    ring = [(-half, -end), (half, -end), (half, end), (-half, end)]
    for (x0, z0), (x1, z1) in zip(ring, ring[1:] + ring[:1], strict=True):
        low, high = 0.12, CLEARANCE + 0.05
        builder.add(np.array([[x0, low, z0], [x0, high, z0], [x1, high, z1], [x1, low, z1]]), TYRE)


def _wheel(builder: _Builder, x: float, z: float, body: Body) -> None:
    """Add a tyre and its hub on a side."""
    radius = 0.32 if body.length < 5 else 0.4
    for scale, material in ((1.0, TYRE), (0.55, HUB)):
        corners = np.array([(x, up, along) for along, up in circle(z, radius, radius * scale)])
        builder.add(corners if x > 0 else corners[::-1], material)


def _ends(builder: _Builder, body: Body) -> None:
    """Add lights, grille, bumper and plate to front and back."""
    half, end = body.width / 2, body.length / 2 + 0.01
    front = np.array([[half, CLEARANCE, end], [half, body.nose, end], [-half, body.nose, end], [-half, CLEARANCE, end]])
    back = np.array(
        [[-half, CLEARANCE, -end], [-half, body.tail, -end], [half, body.tail, -end], [half, CLEARANCE, -end]]
    )
    for quad, lamp in ((front, HEADLIGHT), (back, TAIL)):
        builder.inset(quad, 0.0, 0.0, 1.0, 0.28, DARK)
        builder.inset(quad, 0.03, 0.55, 0.24, 0.85, lamp)
        builder.inset(quad, 0.76, 0.55, 0.97, 0.85, lamp)
        builder.inset(quad, 0.37, 0.25, 0.63, 0.42, PLATE)
    builder.inset(front, 0.28, 0.5, 0.72, 0.8, DARK)


def _cabin(builder: _Builder, body: Body, front: float, back: float, cargo: bool) -> None:
    """Add the cabin: pillars and roof in paint, panes in glass."""
    half, top = body.width / 2 - 0.03, body.width / 2 * (0.82 if body.roof < 2 else 0.95)
    roof_front, roof_back = front - body.rake_front, back + body.rake_back
    quads = {
        "back": [
            [-half, body.belt, back],
            [-top, body.roof, roof_back],
            [top, body.roof, roof_back],
            [half, body.belt, back],
        ],
        "front": [
            [half, body.belt, front],
            [top, body.roof, roof_front],
            [-top, body.roof, roof_front],
            [-half, body.belt, front],
        ],
        "left": [
            [-half, body.belt, front],
            [-top, body.roof, roof_front],
            [-top, body.roof, roof_back],
            [-half, body.belt, back],
        ],
        "right": [
            [half, body.belt, back],
            [top, body.roof, roof_back],
            [top, body.roof, roof_front],
            [half, body.belt, front],
        ],
        "roof": [
            [-top, body.roof, roof_back],
            [-top, body.roof, roof_front],
            [top, body.roof, roof_front],
            [top, body.roof, roof_back],
        ],
    }
    for name, corners in quads.items():
        quad = np.array(corners)
        builder.add(quad, PAINT)
        if name in ("front", "back") and not (cargo and name == "back"):
            builder.inset(quad, 0.06, 0.08, 0.94, 0.9, GLASS)
        elif name in ("left", "right"):
            _side_windows(builder, quad, body, cargo, forward=name == "left")


def _side_windows(builder: _Builder, quad: Floats, body: Body, cargo: bool, forward: bool) -> None:
    """Add the panes of one side; a lorry has them at its cab only. On the left side the quad starts at the front."""
    count = 6 if body.length > 8 else 2
    edges = np.linspace(0.06, 0.94, count + 1)
    if cargo:
        edges = np.array([0.03, 0.2])
    for u0, u1 in pairwise(edges.tolist()):
        left, right = (u0, u1) if forward else (1 - u1, 1 - u0)
        builder.inset(quad, left + 0.012, 0.1, right - 0.012, 0.88, GLASS)
