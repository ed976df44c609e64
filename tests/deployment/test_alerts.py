"""The alerts for Prometheus and the dashboard for Grafana in `docs/deploy/`: each alert fires when it should, and only then."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from flask import Flask

from hammer.models import Disabled
from tests import parts
from tests.serving import ROOT

DEPLOY: Final = ROOT / "docs" / "deploy"
ALERTS: Final = DEPLOY / "alerts.yaml"
SERIES: Final[dict[str, dict[str, str]]] = {
    "HammerDown": {'up{job="hammer", instance="web1"}': "0x60"},
    "HammerDatabaseAway": {'hammer_database_answers{instance="web1"}': "0x60", 'hammer_database_answers{instance="web2"}': "1x60"},
    "HammerDatabaseRefuses": {'hammer_database_refusals_total{cause="locked"}': "0+5x60"},
    "HammerErrors": {
        'hammer_request_seconds_count{status="200"}': "0+90x60",
        'hammer_request_seconds_count{status="503"}': "0+10x60",
    },
    "HammerSlow": {
        'hammer_request_seconds_bucket{le="1.0"}': "0+90x60",
        'hammer_request_seconds_bucket{le="2.5"}': "0+100x60",
        'hammer_request_seconds_bucket{le="+Inf"}': "0+100x60",
    },
    "HammerThreadsBusy": {'hammer_threads{state="busy"}': "16x60", 'hammer_threads{state="all"}': "16x60"},
    "HammerSheds": {'hammer_request_wait_seconds_count{instance="web1", fate="refused"}': "0+5x60"},
    "HammerConnectionsUsed": {
        'hammer_database_connections{state="used"}': "59x60",
        'hammer_database_connections{state="allowed"}': "60x60",
    },
    "HammerTextsWait": {"hammer_texts_waiting_seconds": "0+60x60"},
    "HammerTextsGivenUp": {'hammer_texts_total{gateway="", fate="given up"}': "0+1x60"},
    "HammerGatewayFails": {
        'hammer_gateway_seconds_count{gateway="http/1", outcome="failed"}': "0+5x60",
        'hammer_gateway_seconds_count{gateway="http/1", outcome="took"}': "0+5x60",
    },
    "HammerNobodySignsIn": {
        'hammer_events_total{kind="code-sent"}': "0+2x60",
        'hammer_events_total{kind="signed-in"}': "5x60",
        'hammer_events_total{kind="signed-up"}': "0x60",
    },
    "HammerGuessing": {'hammer_guess_budget_used{digits="4"}': "11x60", 'hammer_guess_budget{digits="4"}': "20x60"},
    "HammerTextsSpent": {'hammer_texts_asked{span="hour"}': "170x60", 'hammer_texts_allowed{span="hour"}': "200x60"},
    "HammerTextPumping": {'hammer_codes_ended{calling_code="44"}': "100x60", 'hammer_codes_proved{calling_code="44"}': "5x60"},
    "HammerNoticesWait": {"hammer_logout_notices_waiting_seconds": "0+60x60"},
    "HammerWebhooksWait": {"hammer_webhook_deliveries_waiting_seconds": "0+60x60"},
    "HammerWebhookDisabled": {f'hammer_webhook_endpoints_disabled{{reason="{Disabled.FAILING}"}}': "1x60"},
    "HammerUnsealed": {"hammer_events_unsealed_seconds": "0+60x60"},
    "HammerClock": {'hammer_clock_ahead_seconds{instance="web1"}': "-20x60"},
}
"""For each alert, what is wrong: series and their values, one a minute."""
HEALTHY: Final = {
    'up{job="hammer"}': "1x60",
    "hammer_database_answers": "1x60",
    'hammer_database_refusals_total{cause="locked"}': "3x60",
    'hammer_request_seconds_count{status="200"}': "0+100x60",
    'hammer_request_seconds_count{status="503"}': "0+1x60",
    'hammer_request_seconds_bucket{le="0.5"}': "0+100x60",
    'hammer_request_seconds_bucket{le="+Inf"}': "0+100x60",
    'hammer_threads{state="busy"}': "3x60",
    'hammer_threads{state="all"}': "16x60",
    'hammer_request_wait_seconds_count{instance="web1", fate="served"}': "0+500x60",
    'hammer_request_wait_seconds_count{instance="web1", fate="refused"}': "0+1x60",
    'hammer_database_connections{state="used"}': "3x60",
    'hammer_database_connections{state="allowed"}': "60x60",
    "hammer_texts_waiting_seconds": "2x60",
    'hammer_texts_total{gateway="", fate="given up"}': "1x60",
    'hammer_gateway_seconds_count{gateway="http/1", outcome="failed"}': "0+1x60",
    'hammer_gateway_seconds_count{gateway="http/1", outcome="took"}': "0+20x60",
    'hammer_events_total{kind="code-sent"}': "0+10x60",
    'hammer_events_total{kind="signed-in"}': "0+9x60",
    'hammer_guess_budget_used{digits="4"}': "5x60",
    'hammer_guess_budget{digits="4"}': "20x60",
    'hammer_texts_asked{span="hour"}': "50x60",
    'hammer_texts_allowed{span="hour"}': "200x60",
    'hammer_codes_ended{calling_code="44"}': "10x60",
    'hammer_codes_proved{calling_code="44"}': "1x60",
    "hammer_logout_notices_waiting_seconds": "3x60",
    "hammer_webhook_deliveries_waiting_seconds": "3x60",
    f'hammer_webhook_endpoints_disabled{{reason="{Disabled.BY_HAND}"}}': "1x60",
    "hammer_events_unsealed_seconds": "50x60",
    "hammer_clock_ahead_seconds": "0.1x60",
}

needs_promtool = pytest.mark.needs("promtool")


def rules() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
    return found


def promtool(*arguments: object, given: str | None = None) -> str:
    """What it says; it must succeed."""
    done = subprocess.run(
        [parts.program("promtool"), *map(str, arguments)], input=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def case(series: dict[str, str], alert: str) -> dict[str, Any]:
    """Whether exactly this alert fires after 40 minutes; none if it is empty."""
    fires = [{"labels": f'{{alertname="{alert}"}}', "value": 1}] if alert else []
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {"expr": 'count by (alertname) (ALERTS{alertstate="firing"})', "eval_time": "40m", "exp_samples": fires}
        ],
    }


@needs_promtool
def test_each_alert_fires_when_what_it_watches_is_wrong_and_none_otherwise(tmp_path: Path) -> None:
    cases = [case(series, alert) for alert, series in SERIES.items()] + [case(HEALTHY, "")]
    file = tmp_path / "cases.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": cases}))

    assert "SUCCESS" in promtool("test", "rules", file)


@needs_promtool
def test_prometheus_reads_the_alerts() -> None:
    assert f"SUCCESS: {len(rules())} rules found" in promtool("check", "rules", ALERTS)


@needs_promtool
def test_the_metrics_follow_the_conventions_of_prometheus(app: Flask) -> None:
    assert promtool("check", "metrics", given=app.test_client().get("/metrics").text) == ""


def test_each_alert_is_tested_and_says_what_to_do() -> None:
    assert [rule["alert"] for rule in rules()] == list(SERIES)
    assert all(rule["annotations"].keys() == {"summary", "what_to_do"} for rule in rules())
    assert {rule["labels"]["severity"] for rule in rules()} == {"page", "ticket"}


def test_alerts_and_dashboard_name_only_metrics_that_exist(app: Flask) -> None:
    families = set(re.findall(r"^# TYPE (\w+)", app.test_client().get("/metrics").text, re.MULTILINE))
    panels = json.loads((DEPLOY / "dashboard.json").read_text())["panels"]
    asked = [rule["expr"] for rule in rules()] + [target["expr"] for panel in panels for target in panel["targets"]]

    named = {re.sub(r"_(bucket|count|sum)$", "", name) for expression in asked for name in re.findall(r"\bhammer_\w+", expression)}

    assert named
    assert named - families == set()


def test_the_document_names_the_metrics_that_exist(app: Flask) -> None:
    families = set(re.findall(r"^# TYPE (\w+)", app.test_client().get("/metrics").text, re.MULTILINE))
    watching = (ROOT / "docs" / "deploy.md").read_text().partition("## Watching it")[2].partition("\n## ")[0]

    assert set(re.findall(r"`((?:hammer|process)_\w+)", watching)) == families
