"""Pictures that a prompt shows: fetched, decoded, looked at, and counted in tokens.

Owns what can be seen in a picture's bytes and what it costs. Refuses to know how it is talked about. The token
formula is OpenAI's published one for tiled models: 85, or 85 + 170 per 512-pixel tile after scaling into
2048 x 2048 and the shorter side to 768 (https://platform.openai.com/docs/guides/images-vision). It never depends
on the number of bytes.
"""

import base64
import binascii
import io
import re
from dataclasses import dataclass
from math import ceil, sqrt

from PIL import Image, UnidentifiedImageError

from emulators.model_vendor.errors import VendorError, bad_request

MAX_BYTES = 20 * 1024 * 1024
MAX_PIXELS = 50_000_000
LOW_DETAIL_TOKENS = 85
TILE_TOKENS = 170
FORMATS = ("PNG", "JPEG", "GIF", "WEBP")

_DATA_URL = re.compile(r"data:(?P<type>[\w/+.-]*)(?:;[\w=.-]+)*?(?P<base64>;base64)?,", re.ASCII)
_NAMED = {
    "black": (0, 0, 0), "white": (255, 255, 255), "grey": (128, 128, 128), "red": (220, 30, 30),
    "dark red": (120, 10, 10), "orange": (245, 140, 20), "brown": (120, 72, 30), "yellow": (245, 225, 40),
    "green": (40, 160, 60), "dark green": (10, 80, 30), "light green": (150, 220, 140), "teal": (20, 140, 140),
    "cyan": (60, 215, 230), "light blue": (140, 190, 240), "blue": (35, 80, 215), "navy": (15, 25, 95),
    "purple": (125, 45, 165), "magenta": (225, 40, 200), "pink": (250, 170, 195), "beige": (235, 220, 185),
    "light grey": (200, 200, 200), "dark grey": (64, 64, 64),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Colour:
    """A colour by name and how much of the picture it covers, in whole percent."""

    name: str
    percent: int
    hex: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What is visible in one picture. `contrast` is the grey standard deviation, 0..127."""

    format: str
    width: int
    height: int
    colours: tuple[Colour, ...]
    brightness: int
    contrast: int
    transparent: bool
    frames: int
    tokens: int


def picture_tokens(width: int, height: int, detail: str | None) -> int:
    """Prompt tokens of a picture of this size; `auto` and None look closely only above 512 pixels."""
    if detail == "low" or (detail in (None, "auto") and max(width, height) <= 512):
        return LOW_DETAIL_TOKENS
    scale = min(1.0, 2048 / max(width, height))
    scale *= min(1.0, 768 / (min(width, height) * scale))
    tiles = ceil(width * scale / 512) * ceil(height * scale / 512)
    return LOW_DETAIL_TOKENS + TILE_TOKENS * tiles


def decode_data_url(url: str) -> bytes:
    """The bytes inside a `data:` URL."""
    match = _DATA_URL.match(url)
    if match is None or match["base64"] is None:
        raise _invalid("Invalid image data URL; expected data:image/TYPE;base64,DATA.")
    try:
        return base64.b64decode(url[match.end() :], validate=True)
    except binascii.Error:
        raise _invalid("Invalid base64 image data.") from None


def look(data: bytes, detail: str | None) -> Seen:
    """Decode the bytes and describe them; 400 when they are no supported picture."""
    if len(data) > MAX_BYTES:
        raise _invalid("Image is larger than 20 MB.")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise _invalid("Image has too many pixels.")
            image.draft("RGB", (128, 128))
            small = image.convert("RGBA").resize((min(width, 64), min(height, 64)), Image.Resampling.BOX)
            return Seen(
                format=image.format or "unknown",
                width=width,
                height=height,
                colours=_colours(small),
                brightness=_mean(small.convert("L")),
                contrast=_deviation(small.convert("L")),
                transparent=bool(min(small.getchannel("A").tobytes()) < 255),
                frames=int(getattr(image, "n_frames", 1)),
                tokens=picture_tokens(width, height, detail),
            )
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise _invalid(
            "You uploaded an unsupported image. Please make sure your image is one of: png, jpeg, gif, webp."
        ) from None


def _invalid(message: str) -> VendorError:
    return bad_request(message, param="messages", code="invalid_image_format")


def _colours(image: Image.Image) -> tuple[Colour, ...]:
    flat = image.convert("RGB").tobytes()
    groups: dict[str, list[tuple[int, int, int]]] = {}
    for at in range(0, len(flat), 3):
        pixel = (flat[at], flat[at + 1], flat[at + 2])
        groups.setdefault(_nearest(pixel), []).append(pixel)
    total = len(flat) // 3
    ranked = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))[:3]
    shares = [(name, pixels, round(100 * len(pixels) / total)) for name, pixels in ranked]
    return tuple(Colour(name, percent, _hex(pixels)) for name, pixels, percent in shares if percent >= 5)


def _nearest(pixel: tuple[int, int, int]) -> str:
    red, green, blue = pixel

    def distance(name: str) -> float:
        other = _NAMED[name]
        mean = (red + other[0]) / 2
        # "Redmean": close to what eyes see at the price of a few products.
        return (
            (2 + mean / 256) * (red - other[0]) ** 2
            + 4 * (green - other[1]) ** 2
            + (2 + (255 - mean) / 256) * (blue - other[2]) ** 2
        )

    return min(_NAMED, key=distance)


def _hex(pixels: list[tuple[int, int, int]]) -> str:
    channels = (round(sum(pixel[channel] for pixel in pixels) / len(pixels)) for channel in range(3))
    return "#" + "".join(f"{channel:02x}" for channel in channels)


def _mean(grey: Image.Image) -> int:
    data = grey.tobytes()
    return round(sum(data) / len(data))


def _deviation(grey: Image.Image) -> int:
    data = grey.tobytes()
    mean = sum(data) / len(data)
    return round(sqrt(sum((value - mean) ** 2 for value in data) / len(data)))
