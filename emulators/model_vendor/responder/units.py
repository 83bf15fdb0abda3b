"""Unit conversions: length, mass, volume, area, speed, time, data, energy, temperature."""

import re
from fractions import Fraction

from emulators.model_vendor.responder.arithmetic import shown
from emulators.model_vendor.responder.conversation import Conversation

_TABLE = """
length: mm=0.001 millimetre millimeter | cm=0.01 centimetre centimeter | m=1 metre meter | km=1000 kilometre kilometer
length: in=0.0254 inch inches | ft=0.3048 foot feet | yd=0.9144 yard | mi=1609.344 mile | nmi=1852 nautical-mile
mass: mg=0.000001 milligram | g=0.001 gram gramme | kg=1 kilogram kilo | t=1000 tonne | oz=0.028349523125 ounce
mass: lb=0.45359237 lbs pound | st=6.35029318 stone
volume: ml=0.001 millilitre milliliter | l=1 litre liter | m3=1000 cubic-metre | gal=3.785411784 gallon
volume: pt=0.473176473 pint | cup=0.2365882365 cups | tbsp=0.01478676478125 tablespoon | tsp=0.00492892159375 teaspoon
area: m2=1 square-metre square-meter | ha=10000 hectare | km2=1000000 square-kilometre square-kilometer
area: acre=4046.8564224 acres | ft2=0.09290304 square-foot square-feet
speed: m/s=1 | km/h=5/18 kmh kph | mph=0.44704 | knot=463/900 knots kn
time: ms=0.001 millisecond | s=1 second sec | min=60 minute | h=3600 hour hr
time: day=86400 d days | week=604800 | year=31557600
data: bit=1/8 | byte=1 bytes b | kb=1000 kilobyte | mb=1000000 megabyte
data: gb=1000000000 gigabyte | tb=1000000000000 terabyte
data: kib=1024 kibibyte | mib=1048576 mebibyte | gib=1073741824 gibibyte | tib=1099511627776 tebibyte
energy: j=1 joule | kj=1000 kilojoule | kwh=3600000 kilowatt-hour | wh=3600 watt-hour
energy: cal=4.184 calorie | kcal=4184 kilocalorie
"""
_TWO_WORDS = r"(?:[ -](?:miles?|met(?:re|er)s?|f(?:oo|ee)t|kilomet(?:re|er)s?|hours?))?"
_UNIT = rf"(°?\s?[a-z][a-z/²³]*\d?{_TWO_WORDS})"
_AMOUNT = r"(?<![\d,])\d[\d,]*(?:\.\d+)?"
_QUESTION = re.compile(
    rf"(-?{_AMOUNT})\s*(?:degrees?\s+)?{_UNIT}\s+(?:is |are )?(?:in|to|into|as|equals?|converted to)\s+"
    rf"(?:how many\s+)?(?:degrees?\s+)?{_UNIT}",
    re.IGNORECASE,
)
_HOW_MANY = re.compile(
    rf"how many\s+([a-z][a-z/]*)\s+(?:(?:are|is|makes?|does|do|fit)\s+)?(?:there\s+)?(?:in|into)?\s*"
    rf"(an?|one|{_AMOUNT})\s+([a-z][a-z/]*)",
    re.IGNORECASE,
)
_KELVIN = Fraction("273.15")


def _table() -> dict[str, tuple[str, Fraction, str]]:
    units: dict[str, tuple[str, Fraction, str]] = {}
    for line in _TABLE.strip().splitlines():
        kind, _, entries = line.partition(": ")
        for entry in entries.split(" | "):
            definition, *names = entry.split()
            symbol, _, factor = definition.partition("=")
            for name in (symbol, *(variant.replace("-", " ") for variant in names)):
                units[name] = (kind, Fraction(factor), symbol)
                units.setdefault(name + "s", units[name])
    return units


_UNITS = _table()
_PRINTED = {
    "kb": "kB", "mb": "MB", "gb": "GB", "tb": "TB", "kib": "KiB", "mib": "MiB", "gib": "GiB", "tib": "TiB",
    "j": "J", "kj": "kJ", "kwh": "kWh", "wh": "Wh", "m2": "m²", "km2": "km²", "ft2": "ft²", "m3": "m³",
}  # fmt: skip


def convert(conversation: Conversation) -> str | None:
    """The converted amount, or None when the question is no conversion."""
    question = conversation.question
    match = _QUESTION.search(question)
    if match is not None:
        found = _converted(match[1], match[2], match[3])
        if found is not None:
            return found
    match = _HOW_MANY.search(question)
    if match is None:
        return None
    amount = match[2] if match[2][0].isdigit() else "1"
    return _converted(amount, match[3], match[1])


def _converted(amount: str, source: str, target: str) -> str | None:
    value = Fraction(amount.replace(",", ""))
    warm = _temperature(value, source, target)
    if warm is not None:
        return warm
    one, other = _UNITS.get(_plain(source)), _UNITS.get(_plain(target))
    if one is None or other is None:
        return None
    if one[0] != other[0]:
        units = f"{_named(one[2])} measures {one[0]} and {_named(other[2])} measures {other[0]}"
        return f"{units}, so the one cannot become the other."
    result = shown(value * one[1] / other[1])
    sign = "" if result.startswith("≈") else "= "
    return f"{shown(value)} {_named(one[2])} {sign}{result} {_named(other[2])}."


def _plain(name: str) -> str:
    return name.casefold().strip().replace("²", "2").replace("³", "3")


def _named(symbol: str) -> str:
    return _PRINTED.get(symbol, symbol)


def _temperature(value: Fraction, source: str, target: str) -> str | None:
    one, other = _scale(source), _scale(target)
    if one is None or other is None or one == other:
        return None
    celsius = {"C": value, "F": (value - 32) * Fraction(5, 9), "K": value - _KELVIN}[one]
    if celsius < -_KELVIN:
        return "That is below absolute zero (-273.15 °C), so no such temperature exists."
    result = {"C": celsius, "F": celsius * Fraction(9, 5) + 32, "K": celsius + _KELVIN}[other]
    text = shown(result, 2)
    sign = "" if text.startswith("≈") else "= "
    return f"{shown(value)} {_degrees(one)} {sign}{text} {_degrees(other)}."


def _scale(name: str) -> str | None:
    plain = _plain(name).replace("°", "").strip()
    return {"c": "C", "celsius": "C", "f": "F", "fahrenheit": "F", "k": "K", "kelvin": "K"}.get(plain)


def _degrees(scale: str) -> str:
    return "K" if scale == "K" else f"°{scale}"
