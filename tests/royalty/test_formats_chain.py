"""Another program's log all the way: counted under a shipped policy, paid, reconciled, its evidence checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from royalty.errors import InputError
from tests.conftest import Anvil
from tests.royalty.test_format_cloudfront import log as cloudfront_log
from tests.royalty.test_format_cloudfront import request
from tests.royalty.test_format_peertube import HOST, action, log
from tests.usage_world import DAY, World, world

pytestmark = pytest.mark.chain
FILM = f"{HOST}/videos/watch/film"


@pytest.fixture
def here(session: Callable[..., Any], folder: Path, anvil: Anvil) -> Iterator[World]:
    with world(session, folder, anvil) as made:
        yield made


def watched(made: World) -> Path:
    """A PeerTube log of three watches of one video, one of them too short, one seen twice."""
    (made.folder / "map.csv").write_text(f"platform_id,work\n{FILM},{made.work(1)}\n")
    when = {"startTime": f"{DAY}T10:00:00.000Z", "endTime": f"{DAY}T10:05:00.000Z"}
    return log(
        made.folder / "watch.jsonl",
        action(1, (0, 40), **when),
        action(2, (0, 20), (10, 29), **when),
        action(3, (0, 20), (15, 35), **when),
    )


def test_a_peertube_log_is_paid_reconciled_and_its_evidence_holds(here: World) -> None:
    path, asked = watched(here), {"works": "map.csv", "policy": POLICY}
    (here.folder / POLICY).write_text('name = "house"\nversion = "2025.11"\n')
    platform = here.as_platform()
    checked = platform.usage.check(path, day=DAY, **asked).document()
    assert (checked["rows"], checked["qualified"]) == (3, 2)
    assert checked["excluded"]["below_threshold"] == 1
    platform.usage.report(path, day=DAY, evidence="evidence", **asked)
    assert here.views_on_chain() == [0, 2, 0]
    auditor = here.session("dev3")
    period = {"since": DAY, "until": DAY}
    found = auditor.reconcile(path, platform=here.platform, evidence="evidence", **period, **asked)
    assert found.findings == ()
    verified = auditor.audit.evidence(here.folder / "evidence", path, platform=here.platform)
    assert [flaw.document() for flaw in verified.flaws] == []
    assert [row["recounted"] for row in verified.document()["batches"]] == [True]
    told = platform.usage.explain(f"00000000-0000-4000-8000-{2:012}", path, day=DAY, **asked)
    assert "below_threshold" in str(told.document())


def requests(made: World) -> Path:
    """A CloudFront log: the play of a person, that of a robot, and one in byte ranges alone."""
    (made.folder / "map.csv").write_text(f"platform_id,work\n/film,{made.work(1)}\n")
    agents = ("Mozilla/5.0%2520(X11)%2520Firefox/141.0", "Googlebot/2.1", "Mozilla/5.0%20(X11)")
    lines = [
        request(
            4 * at, date=DAY, cs_uri_stem=f"/film/{at}.ts", cs_User_Agent=agent, sc_status=status
        )
        for agent, status in zip(agents, (200, 200, 206), strict=True)
        for at in range(10)
    ]
    return cloudfront_log(made.folder / "requests", *lines)


def test_a_cloudfront_log_is_paid_and_reconciled_under_the_counter_policy(here: World) -> None:
    pytest.importorskip("counter_robots")
    path, asked = requests(here), {"works": "map.csv", "policy": "counter"}
    platform = here.as_platform()
    checked = platform.usage.check(path, day=DAY, **asked).document()
    assert (checked["rows"], checked["qualified"]) == (3, 1)
    assert (checked["excluded"]["robot"], checked["excluded"]["status_code"]) == (1, 1)
    platform.usage.report(path, day=DAY, evidence="evidence", **asked)
    assert here.views_on_chain() == [0, 1, 0]
    auditor = here.session("dev3")
    period = {"since": DAY, "until": DAY, "platform": here.platform}
    found = auditor.reconcile(path, evidence="evidence", **period, **asked)
    assert found.findings == ()
    verified = auditor.audit.evidence(here.folder / "evidence", path, platform=here.platform)
    assert [flaw.document() for flaw in verified.flaws] == []
    assert [row["recounted"] for row in verified.document()["batches"]] == [True]
    drawn = auditor.audit.sample(3, path, seed="a seed", **period, **asked).document()["rows"]
    assert len(drawn) == 1
    assert drawn[0]["rules"]["status_code"] == "status 200; accepted: 200, 304"
    assert "is not on the list" in drawn[0]["rules"]["robot"]
    assert platform.usage.report(path, day=DAY, **asked).batches == []


def test_a_step_that_a_format_has_nothing_for_is_refused(here: World) -> None:
    path = watched(here)
    with pytest.raises(InputError, match="peertube logs have no 'status', which"):
        here.as_platform().usage.check(path, day=DAY, works="map.csv", policy="counter")


POLICY = "house.toml"
