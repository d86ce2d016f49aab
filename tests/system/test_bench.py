"""The measurements over virtual ports work: what they report adds up. No time is asserted."""
import json
import os

import pytest

from netns import BUILD, sh

BENCH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench")


@pytest.fixture(name="report")
def fixture_report(request, tmp_path):
    path = tmp_path / "report.json"
    sh(os.path.join(BENCH, request.param), "--quick", "--json", path, env={**os.environ, "PENSTOCK_BUILD": BUILD})
    return json.loads(path.read_text())


@pytest.mark.parametrize("report", ["latency"], indirect=True)
def test_latency(report):
    rows = report["rows"]
    assert [(r["load"], r["through"]) for r in rows] == [
        (load, through) for load in (0.1, 0.5, 0.9) for through in ("wire", "gateways")]
    for r in rows:
        assert 0 < r["p50_us"] <= r["p99_us"] <= r["p999_us"]
        assert r["rate"] > 0 and r["loss"] < 1


@pytest.mark.parametrize("report", ["rfc2544"], indirect=True)
def test_throughput(report):
    assert len(report["rows"]) == 4
    for r in report["rows"]:
        assert r["rate"] >= 0 and r["back_to_back"] >= 32
        assert abs(r["gbit_s"] * 1e9 - r["rate"] * r["size"] * 8) < 1


@pytest.mark.parametrize("report", ["idle"], indirect=True)
def test_idle(report):
    rows = report["rows"]
    assert {r["mode"] for r in rows} == {"adaptive", "spin"}
    assert all(r["p50_us"] > 0 for r in rows if r["load"])
    assert all(0 <= r["cpu"] <= 2.5 for r in rows)


@pytest.mark.parametrize("report", ["peer-secgw"], indirect=True)
def test_peer_secgw(report):
    row, = report["rows"]
    for who in ("espd", "secgw", "secgw -l"):
        assert 0 < row[who][0] <= row[who][1] <= row[who][2]
    assert row["ratio"] > 0


@pytest.mark.parametrize("report", ["ipc"], indirect=True)
def test_ipc(report):
    rows = {r["what"]: r for r in report["rows"]}
    assert rows["tunnels"]["tunnels"] == 200 and rows["flows"]["flows"] == 1000
    assert rows["memory"]["rss"] + rows["memory"]["huge"] > 0
    assert len(rows["change"]["pairs"]) == 3 and all(p["with"] > 0 < p["without"] for p in rows["change"]["pairs"])
