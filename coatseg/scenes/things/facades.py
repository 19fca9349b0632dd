"""A bank of facades: grids of windows, doors and shop fronts, stored as materials so that houses can colour them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from coatseg.scenes.world.textures import NEUTRAL, TILE, Bytes, bank_rng, texture

CELL = 32
"""The side in pixels of a cell, one bay of one storey, at the finest level."""
BAYS, STOREYS = 8, 12
LEVELS = (32, 16, 8)
"""The side in pixels of a cell at each level of detail."""
FACADES = 48

WALL, TRIM, GLASS, CURTAIN, LIT, DOOR, BAND, DARK = range(8)

WALL_TEXTURES = ("plaster", "plaster", "bricks", "bricks", "concrete", "slabs")


@dataclass(frozen=True)
class Facade:
    """A facade at every level of `LEVELS`: materials (h, w) uint8, and grain (h, w, 4) with a neutral last channel."""

    materials: tuple[Bytes, ...]
    grain: tuple[Bytes, ...]


@cache
def facades() -> tuple[Facade, ...]:
    """Return the bank of facades."""
    rng = bank_rng("facades")
    makers = (_punched, _punched, _punched, _ribbon, _curtain_wall)
    return tuple(_build(makers[index % len(makers)](rng), rng) for index in range(FACADES))


def _build(cell: Bytes, rng: np.random.Generator) -> Facade:
    """Build a facade at all levels from a cell: repeated, with varied panes, a ground floor and grain."""
    materials = np.tile(cell, (STOREYS, BAYS))
    panes = rng.choice([GLASS, CURTAIN, LIT], (STOREYS, BAYS), p=[0.6, 0.18, 0.22]).astype(np.uint8)
    spread = np.kron(panes, np.ones((CELL, CELL), np.uint8))
    materials = np.where(materials == GLASS, spread, materials)
    materials[-CELL:] = _shops(rng) if rng.random() < 0.6 else _entrance(materials[-CELL:].copy(), rng)
    if rng.random() < 0.5:
        materials[-CELL - 2 : -CELL] = TRIM
    shade = _shade(materials, rng)
    return Facade(
        tuple(np.ascontiguousarray(materials[level // 2 :: level, level // 2 :: level]) for level in (1, 2, 4)),
        tuple(
            np.ascontiguousarray(cv2.resize(shade, None, fx=1 / level, fy=1 / level, interpolation=cv2.INTER_AREA))
            for level in (1, 2, 4)
        ),
    )


def _punched(rng: np.random.Generator) -> Bytes:
    """Return a random cell (CELL, CELL) with one window in a wall."""
    cell = np.full((CELL, CELL), WALL, np.uint8)
    side, top, bottom = rng.integers(4, 11), rng.integers(3, 8), rng.integers(4, 12)
    frame = int(rng.integers(0, 3))
    cell[top - frame : CELL - bottom + frame, side - frame : CELL - side + frame] = TRIM
    cell[top : CELL - bottom, side : CELL - side] = GLASS
    if rng.random() < 0.6:
        cell[top : CELL - bottom, CELL // 2 - 1 : CELL // 2 + 1] = TRIM
    if rng.random() < 0.5:
        bar = top + int(rng.uniform(0.3, 0.6) * (CELL - bottom - top))
        cell[bar : bar + 2, side : CELL - side] = TRIM
    if rng.random() < 0.4:
        cell[CELL - bottom : CELL - bottom + 2, side - 2 : CELL - side + 2] = TRIM
    if rng.random() < 0.25:
        cell[CELL - bottom - 5 : CELL - bottom + 3, side - 3 : CELL - side + 3 : 2] = DARK
    return cell


def _ribbon(rng: np.random.Generator) -> Bytes:
    """Return a random cell whose windows form one band along the storey."""
    cell = np.full((CELL, CELL), WALL, np.uint8)
    top, bottom = rng.integers(4, 9), rng.integers(6, 14)
    cell[top : CELL - bottom] = GLASS
    cell[top : CELL - bottom, : int(rng.integers(1, 4))] = TRIM
    return cell


def _curtain_wall(rng: np.random.Generator) -> Bytes:
    """Return a random cell of glass between thin bars."""
    cell = np.full((CELL, CELL), GLASS, np.uint8)
    cell[: int(rng.integers(2, 9))] = BAND if rng.random() < 0.5 else WALL
    cell[:, : int(rng.integers(1, 3))] = TRIM
    cell[:, CELL // 2 : CELL // 2 + 1] = TRIM
    return cell


def _shops(rng: np.random.Generator) -> Bytes:
    """Return a random ground floor (CELL, BAYS * CELL) of shop windows under a band."""
    floor = np.full((CELL, BAYS * CELL), WALL, np.uint8)
    floor[3:9] = BAND
    step = CELL * int(rng.choice([1, 2]))
    for left in range(0, BAYS * CELL, step):
        floor[10:29, left + 2 : left + step - 2] = LIT if rng.random() < 0.5 else GLASS
        if rng.random() < 0.6:
            door = left + int(rng.integers(3, step - 11))
            floor[11:, door : door + 9] = DOOR
            floor[13:24, door + 2 : door + 7] = GLASS
    return floor


def _entrance(floor: Bytes, rng: np.random.Generator) -> Bytes:
    """Put doors into random bays of a floor of windows."""
    for bay in range(BAYS):
        if rng.random() < 0.3:
            cell = floor[:, bay * CELL : (bay + 1) * CELL]
            cell[:] = WALL
            cell[7:, 9:23] = TRIM
            cell[9:, 11:21] = DOOR
    return floor


def _shade(materials: Bytes, rng: np.random.Generator) -> Bytes:
    """Return the grain (h, w, 4): the wall's texture, reflections in panes, shadows at the upper edge of panes."""
    height, width = materials.shape
    repeats = (-(-height // TILE), -(-width // TILE))
    wall = np.tile(texture(rng.choice(WALL_TEXTURES)), repeats)[:height, :width].astype(np.float32)
    clouds = np.tile(texture("clouds"), repeats)[:height, :width].astype(np.float32)
    panes = np.isin(materials, (GLASS, LIT, CURTAIN))
    rows, columns = np.mgrid[0:height, 0:width]
    sheen = 90 + 60 * ((rows + columns) % CELL) / CELL + 0.5 * (clouds - NEUTRAL)
    shade = np.where(panes, sheen, wall + 0.25 * (clouds - NEUTRAL))
    under = np.zeros(materials.shape, bool)
    under[2:] = panes[2:] & ~panes[:-2]
    shade = np.where(under, shade * 0.55, shade)
    grain = np.repeat(np.clip(shade, 0, 255).astype(np.uint8)[..., None], 4, axis=2)
    grain[..., 3] = NEUTRAL
    return grain
