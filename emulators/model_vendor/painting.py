"""Paints a small landscape from a prompt: words choose the colours and the scene, a seed the details.

Owns the pixels. Refuses to know requests. The same prompt, size and seed give the same PNG.
"""

import io
import re
from dataclasses import dataclass
from math import sin
from random import Random

from PIL import Image, ImageDraw

Rgb = tuple[int, int, int]

_COLOURS: dict[str, Rgb] = {
    "red": (205, 45, 45), "crimson": (170, 20, 50), "orange": (240, 140, 40), "gold": (225, 175, 55),
    "golden": (225, 175, 55), "yellow": (245, 220, 70), "green": (60, 150, 75), "emerald": (20, 130, 90),
    "teal": (25, 140, 140), "turquoise": (60, 195, 190), "cyan": (90, 210, 230), "blue": (50, 105, 200),
    "navy": (20, 35, 90), "indigo": (70, 55, 150), "purple": (120, 60, 160), "violet": (145, 90, 190),
    "pink": (240, 150, 185), "magenta": (205, 55, 165), "brown": (120, 80, 45), "white": (240, 240, 240),
    "silver": (190, 195, 200), "grey": (130, 135, 140), "gray": (130, 135, 140), "black": (25, 25, 30),
}  # fmt: skip
_SKIES: dict[str, tuple[Rgb, Rgb]] = {
    "night": ((8, 10, 35), (45, 45, 95)),
    "sunset": ((70, 45, 110), (250, 150, 80)),
    "dawn": ((110, 130, 190), (250, 205, 170)),
    "storm": ((50, 55, 65), (125, 130, 140)),
    "day": ((85, 150, 225), (205, 230, 245)),
}
_SKY_WORDS = {
    "night": "night", "midnight": "night", "moon": "night", "star": "night", "stars": "night", "space": "night",
    "sunset": "sunset", "dusk": "sunset", "evening": "sunset", "dawn": "dawn", "sunrise": "dawn",
    "morning": "dawn", "storm": "storm", "rain": "storm", "fog": "storm",
}  # fmt: skip
_SCENE_WORDS = {
    "sea": "sea", "ocean": "sea", "lake": "sea", "river": "sea", "beach": "sea", "water": "sea", "boat": "sea",
    "city": "city", "town": "city", "street": "city", "tower": "city", "building": "city", "skyline": "city",
    "forest": "forest", "tree": "forest", "trees": "forest", "wood": "forest", "jungle": "forest",
    "mountain": "hills", "mountains": "hills", "hill": "hills", "hills": "hills", "desert": "hills",
}  # fmt: skip
_SCENES = ("hills", "sea", "city", "forest")


@dataclass(frozen=True, slots=True)
class _Canvas:
    draw: ImageDraw.ImageDraw
    width: int
    height: int
    random: Random
    near: Rgb
    far: Rgb


def paint(prompt: str, width: int, height: int, seed: int) -> bytes:
    """A PNG of this size."""
    words = re.findall(r"[a-z]+", prompt.casefold())
    random = Random(f"{prompt}|{seed}")
    sky = next((_SKY_WORDS[word] for word in words if word in _SKY_WORDS), "day")
    scene = next((_SCENE_WORDS[word] for word in words if word in _SCENE_WORDS), random.choice(_SCENES))
    named = [_COLOURS[word] for word in words if word in _COLOURS]
    top, bottom = _SKIES[sky]
    main = named[0] if named else random.choice(list(_COLOURS.values())[:18])
    if named:
        bottom = _mix(bottom, named[-1], 0.55)
    image = Image.new("RGB", (width, height))
    canvas = _Canvas(
        ImageDraw.Draw(image), width, height, random, _mix(main, (15, 20, 30), 0.55), _mix(main, bottom, 0.5)
    )
    _gradient(canvas, top, bottom)
    _heavens(canvas, sky)
    match scene:
        case "sea":
            _sea(canvas, bottom)
        case "city":
            _city(canvas, sky)
        case "forest":
            _forest(canvas)
        case _:
            _hills(canvas, layers=4, first=0.5)
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=6)
    return file.getvalue()


def _mix(one: Rgb, other: Rgb, share: float) -> Rgb:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other))
    return red, green, blue


def _gradient(canvas: _Canvas, top: Rgb, bottom: Rgb) -> None:
    for y in range(canvas.height):
        canvas.draw.line((0, y, canvas.width, y), fill=_mix(top, bottom, min(1.0, 1.4 * y / canvas.height)))


def _heavens(canvas: _Canvas, sky: str) -> None:
    random, unit = canvas.random, min(canvas.width, canvas.height)
    if sky == "night":
        for _ in range(140):
            left, top = random.randrange(canvas.width), random.randrange(canvas.height * 2 // 3)
            size = random.choice((0, 0, 1, 1, 2)) * unit // 700
            canvas.draw.ellipse((left, top, left + size, top + size), fill=(235, 235, 250))
    x, y = canvas.width * random.uniform(0.2, 0.8), canvas.height * random.uniform(0.15, 0.4)
    radius = unit * random.uniform(0.06, 0.1)
    disc = {"night": (235, 235, 220), "sunset": (255, 210, 120), "storm": (170, 172, 178)}.get(sky, (255, 245, 190))
    canvas.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=disc)


def _ridge(canvas: _Canvas, base: float, swing: float) -> list[tuple[float, float]]:
    phases = [canvas.random.uniform(0, 6.28) for _ in range(3)]
    points: list[tuple[float, float]] = [(0.0, float(canvas.height))]
    for step in range(65):
        at = step / 64
        wave = sin(5 * at + phases[0]) + 0.5 * sin(11 * at + phases[1]) + 0.25 * sin(23 * at + phases[2])
        points.append((at * canvas.width, canvas.height * (base + swing * wave)))
    points.append((float(canvas.width), float(canvas.height)))
    return points


def _hills(canvas: _Canvas, *, layers: int, first: float) -> None:
    for layer in range(layers):
        share = layer / max(layers - 1, 1)
        colour = _mix(canvas.far, canvas.near, share)
        canvas.draw.polygon(_ridge(canvas, first + (0.95 - first) * share * 0.85, 0.07 - 0.03 * share), fill=colour)


def _sea(canvas: _Canvas, glow: Rgb) -> None:
    _hills(canvas, layers=1, first=0.56)
    horizon = int(canvas.height * 0.62)
    for y in range(horizon, canvas.height):
        share = (y - horizon) / max(canvas.height - horizon, 1)
        canvas.draw.line((0, y, canvas.width, y), fill=_mix(_mix(glow, canvas.far, 0.5), canvas.near, share))
    for _ in range(60):
        x, y = canvas.random.randrange(canvas.width), canvas.random.randrange(horizon, canvas.height)
        length = canvas.width * (0.01 + 0.06 * (y - horizon) / canvas.height)
        canvas.draw.line((x, y, x + length, y), fill=_mix(glow, (255, 255, 255), 0.4))


def _city(canvas: _Canvas, sky: str) -> None:
    light: Rgb = (250, 225, 140) if sky in ("night", "sunset") else (215, 225, 235)
    for row in range(2):
        x = 0.0
        while x < canvas.width:
            wide = canvas.width * canvas.random.uniform(0.05, 0.11)
            top = canvas.height * canvas.random.uniform(0.4 + 0.15 * row, 0.7 + 0.1 * row)
            colour = canvas.near if row else _mix(canvas.far, canvas.near, 0.4)
            canvas.draw.rectangle((x, top, x + wide, canvas.height), fill=colour)
            _windows(canvas, (x, top, x + wide), light)
            x += wide * 1.05


def _windows(canvas: _Canvas, house: tuple[float, float, float], light: Rgb) -> None:
    left, top, right = house
    step = (right - left) / 5
    y = top + step
    while y < canvas.height - step:
        for column in range(1, 4):
            if canvas.random.random() < 0.45:
                x = left + column * step
                canvas.draw.rectangle((x, y, x + step * 0.5, y + step * 0.6), fill=light)
        y += step * 1.3


def _forest(canvas: _Canvas) -> None:
    _hills(canvas, layers=2, first=0.55)
    for row in range(3):
        colour = _mix(canvas.far, canvas.near, 0.4 + 0.3 * row)
        for _ in range(14):
            x = canvas.random.uniform(0, canvas.width)
            foot = canvas.height * (0.72 + 0.13 * row)
            tall = canvas.height * canvas.random.uniform(0.14, 0.26)
            for tier in range(3):
                wide, top = tall * (0.16 + 0.09 * tier), foot - tall * (1 - 0.28 * tier)
                canvas.draw.polygon(
                    [(x, top), (x - wide, top + tall * 0.45), (x + wide, top + tall * 0.45)], fill=colour
                )
            canvas.draw.rectangle(
                (x - tall * 0.03, foot - tall * 0.05, x + tall * 0.03, foot + tall * 0.08), fill=colour
            )
