"""The plays of CloudFront and Snowplow logs in plain Python, sharing nothing with the readers."""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections import defaultdict
from datetime import datetime, timezone
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qs, unquote

MINUTE = 60
MEDIA = ("ts", "m4s", "mp4", "m4a")
UTC = timezone.utc  # noqa: UP017


# CloudFront --------------------------------------------------------------------------------------


def network(address: str) -> str:
    if ":" in address:
        head, _, tail = address.partition("::")
        groups = head.split(":") if head else []
        behind = tail.split(":") if tail else []
        groups += ["0"] * (8 - len(groups) - len(behind)) + behind
        return ":".join(f"{int(group, 16):x}" for group in groups[:3])
    return ".".join(address.split(".")[:3])


def cmcd(query: str) -> dict[str, str]:
    text = unquote(parse_qs(query).get("CMCD", [""])[0])
    found = {}
    while text:
        key, mark, rest = text.partition("=")
        comma = key.find(",")
        if not mark or comma >= 0:
            text = text[comma + 1 :] if comma >= 0 else ""
            continue
        if rest.startswith('"'):
            value, _, text = rest[1:].partition('"')
            text = text.removeprefix(",")
        else:
            value, _, text = rest.partition(",")
        found[key] = value
    return found


def cloudfront_plays(lines: list[dict[str, str]]) -> list[tuple[str, Fraction, Fraction]]:
    """(work, start, watched) of requests for sound and pictures that succeeded, in seconds."""
    plays = cloudfront_requests(lines)
    return sorted((work, *play(requests)) for (work, _), requests in plays.items())


def cloudfront_reasons(
    lines: list[dict[str, str]], accepted: tuple[int, ...], robots: list[str]
) -> list[tuple[str, Fraction, Fraction, str]]:
    """The plays, and what the steps of status and robots say of each."""
    plays = cloudfront_requests(lines)
    return sorted(
        (work, *play(requests), reason([one[5] for one in requests], accepted, robots))
        for (work, _), requests in plays.items()
    )


def reason(lines: list[dict[str, str]], accepted: tuple[int, ...], robots: list[str]) -> str:
    if accepted and all(int(line["sc-status"]) not in accepted for line in lines):
        return "status_code"
    agents = [line["cs(User-Agent)"].removesuffix("-") for line in lines]
    sent = [unquote(unquote(agent)) for agent in agents]
    found = [agent for agent in sent if any(re.search(pattern, agent) for pattern in robots)]
    return "robot" if len(found) > len(sent) - len(found) else "qualified"


def cloudfront_requests(lines: list[dict[str, str]]) -> dict[tuple, list[tuple]]:
    """The requests of each play: begin, end, whether it is sound, which object, its length, the line."""
    plays = defaultdict(list)
    for line in lines:
        said = cmcd(line["cs-uri-query"])
        path = line["cs-uri-stem"]
        suffix = path.rpartition(".")[2]
        if line["cs-method"] != "GET" or line["sc-status"] not in ("200", "206", "304"):
            continue
        if said["ot"] not in ("v", "a", "av") if "ot" in said else suffix not in MEDIA:
            continue
        work = said.get("cid") or (path if suffix == "mp4" else path.rpartition("/")[0] or "/")
        who = (network(line["c-ip"]), line["cs(User-Agent)"], line["date"])
        end = datetime.fromisoformat(f"{line['date']}T{line['time']}+00:00").timestamp()
        begin = Fraction(end) - Fraction(line["time-taken"])
        sound = said.get("ot", "a" if suffix == "m4a" else "v") == "a"
        thing = (path, line.get("sc-range-start", "-"))
        length = Fraction(said["d"]) / 1000 if "d" in said else None
        plays[work, said.get("sid") or who].append(
            (begin, Fraction(end), sound, thing, length, line)
        )
    return plays


def play(requests: list) -> tuple[Fraction, Fraction]:
    requests.sort(key=lambda request: request[:2])
    start = reached = requests[0][0]
    watched = Fraction(0)
    for begin, end, *_ in requests:
        watched += min(max(begin - reached, 0), MINUTE)
        watched += max(end - max(begin, reached), 0)
        reached = max(reached, end)
    known = [request for request in requests if request[4] is not None]
    if known:
        seen = [request for request in known if not request[2]] or known
        longest: dict = {}
        for _, _, sound, thing, length, _ in seen:
            key = (sound, thing)
            longest[key] = max(longest.get(key, 0), length)
        watched = min(watched, sum(longest.values()))
    return start, watched


# Snowplow ----------------------------------------------------------------------------------------


def snowplow_events(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def context(event: dict[str, str], name: str) -> dict[str, str]:
    text = next((event[key] for key in event if key.startswith(name)), "")
    return json.loads(text)[0] if text else {}


def by_page(events: list[dict[str, str]]) -> dict[tuple[str, str], list[dict]]:
    """The events of each (page view, player) in order."""
    found = defaultdict(list)
    for event in events:
        page = context(event, "contexts_com_snowplowanalytics_snowplow_web_page")["id"]
        player = context(event, "contexts_com_youtube").get("player_id") or context(
            event, "contexts_org_whatwg_media_element"
        ).get("html_id")
        media = context(event, "contexts_com_snowplowanalytics_snowplow_media_player_1")
        said = context(event, "unstruct_event")
        found[page, player].append(
            {
                "at": seconds(event["derived_tstamp"]),
                "made": seconds(event["dvce_created_tstamp"]),
                "text": event["derived_tstamp"],
                "type": said["type"],
                "position": Fraction(media["current_time"]),
                "rate": Fraction(media["playback_rate"]),
                "percent": "100" if said["type"] == "ended" else media["percent_progress"],
                "duration": Fraction(media["duration"]),
            }
        )
    for events_of in found.values():
        events_of.sort(key=lambda one: (one["at"], one["made"], one["position"]))
    return found


def seconds(text: str) -> Fraction:
    whole, _, fraction = text.partition(".")
    at = datetime.strptime(whole, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    return int(at.timestamp()) + Fraction(f"0.{fraction or 0}")


def watched(events: list[dict]) -> Fraction:
    """Seconds of the film that went by while it played, second by second of the clock."""
    playing = False
    sections = []
    for before, after in pairwise(events):
        if before["type"] in ("play", "playing", "percentprogress"):
            playing = True
        if before["type"] in ("pause", "paused", "ended"):
            playing = False
        moved = after["position"] - before["position"]
        clock = (after["at"] - before["at"]) * before["rate"]
        if playing and 0 < moved <= clock + 1 and 2 * (moved + 1) >= clock:
            sections.append((before["position"], after["position"]))
    total, reached = Fraction(0), Fraction(0)
    for begin, end in sorted(sections):
        total += max(end - max(begin, reached), 0)
        reached = max(reached, end)
    return total


def estimated(events: list[dict]) -> int:
    """The play time of the expected files: each boundary that was reached is worth what lies before it."""
    worth = {"10": 10, "25": 15, "50": 25, "75": 25, "100": 25}
    duration = round(max(event["duration"] for event in events))
    return sum(
        int(Fraction(worth[event["percent"]] * duration, 100) + Fraction(1, 2))
        for event in events
        if event["percent"]
    )
