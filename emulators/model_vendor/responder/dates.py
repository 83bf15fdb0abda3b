"""Questions about dates: distances, weekdays, leap years, shifts. Without a clock: today is what the prompt says."""

import calendar
import re
from datetime import date, timedelta

from emulators.model_vendor.responder.conversation import Conversation

_MONTHS = {name.casefold(): number for number, name in enumerate(calendar.month_name) if name}
_MONTHS |= {name.casefold(): number for number, name in enumerate(calendar.month_abbr) if name}
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_DATE = re.compile(
    rf"\b(\d{{4}})-(\d{{1,2}})-(\d{{1,2}})\b|\b(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? ({_MONTH})\.?,? (\d{{4}})\b"
    rf"|\b({_MONTH})\.? (\d{{1,2}})(?:st|nd|rd|th)?,? (\d{{4}})\b",
    re.IGNORECASE,
)
_TODAY = re.compile(r"\b(?:today|current date|now)(?:'s date)?\s*(?:is|:|=)\s*(?:\w+day,? )?", re.IGNORECASE)
_ASKS_TODAY = re.compile(
    r"\bwhat(?:'s| is)? (?:the )?(?:current )?(?:date|day|time)(?: is it)?(?: today| now)?\s*\??$|"
    r"\bwhat day is (?:it|today)\b|\btoday'?s date\b",
    re.IGNORECASE,
)
_SHIFT = re.compile(r"\b(\d{1,6}) (day|week|month|year)s? (after|before|from|later than)\b", re.IGNORECASE)
_WEEKDAY = re.compile(r"\b(?:day of the week|weekday|what day|which day)\b", re.IGNORECASE)
_BETWEEN = re.compile(r"\b(?:between|from|until|till|since|how (?:many days|long))\b", re.IGNORECASE)
_LEAP = re.compile(r"\b(?:is|was|will)?\s*(\d{4})\s*(?:be )?a leap year\b", re.IGNORECASE)


def reckon(conversation: Conversation) -> str | None:
    """The answer to a question about dates, or None."""
    question = conversation.question
    leap = _LEAP.search(question)
    if leap is not None:
        return _leap(int(leap[1]))
    today = _today(conversation.instructions)
    named = [found for match in _DATE.finditer(question) if (found := _read(match)) is not None]
    if re.search(r"\b(?:today|now)\b", question, re.IGNORECASE) and today is not None:
        named.append(today)
    shift = _SHIFT.search(question)
    if shift is not None and named:
        return _shifted(named[0], shift)
    if len(named) >= 2 and _BETWEEN.search(question):
        return _distance(named[0], named[1])
    if named and named != [today] and _WEEKDAY.search(question):
        return f"{_long(named[0])} is a {named[0]:%A}."
    return _told_today(today) if _ASKS_TODAY.search(question) else None


def _read(match: re.Match[str]) -> date | None:
    iso_year, iso_month, iso_day, day, month, year, month_first, day_second, year_last = match.groups()
    try:
        if iso_year:
            return date(int(iso_year), int(iso_month), int(iso_day))
        if month:
            return date(int(year), _MONTHS[month.casefold()], int(day))
        return date(int(year_last), _MONTHS[month_first.casefold()], int(day_second))
    except ValueError:
        return None


def _today(instructions: str) -> date | None:
    for match in _TODAY.finditer(instructions):
        found = _DATE.match(instructions, match.end())
        if found is not None:
            return _read(found)
    return None


def _told_today(today: date | None) -> str:
    if today is None:
        return "I have no clock, and nobody told me today's date in this conversation."
    return f"Today is {today:%A}, {_long(today)}."


def _long(day: date) -> str:
    return f"{day.day} {day:%B} {day.year}"


def _leap(year: int) -> str:
    if year == 0 or not calendar.isleap(year):
        reason = "it is not divisible by 4" if year % 4 else "it is a century year that is not divisible by 400"
        return f"No, {year} is not a leap year: {reason}."
    return f"Yes, {year} is a leap year, so its February has 29 days."


def _distance(one: date, other: date) -> str:
    days = abs((other - one).days)
    weeks, rest = divmod(days, 7)
    also = f", that is {weeks} weeks{f' and {rest} days' if rest else ''}" if weeks else ""
    return f"From {_long(min(one, other))} to {_long(max(one, other))} there are {days:,} days{also}."


def _shifted(start: date, shift: re.Match[str]) -> str | None:
    amount, unit = int(shift[1]), shift[2].casefold()
    signed = -amount if shift[3].casefold() == "before" else amount
    try:
        if unit in ("day", "week"):
            result = start + timedelta(days=signed * (7 if unit == "week" else 1))
        else:
            months = start.year * 12 + start.month - 1 + signed * (12 if unit == "year" else 1)
            year, month = divmod(months, 12)
            result = date(year, month + 1, min(start.day, calendar.monthrange(year, month + 1)[1]))
    except (ValueError, OverflowError):
        return "That date lies outside the calendar that I can reckon with."
    side = "before" if signed < 0 else "after"
    return f"{amount} {unit}{'s' if amount != 1 else ''} {side} {_long(start)} is {result:%A}, {_long(result)}."
