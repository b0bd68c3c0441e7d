"""contrib/prometheus-alerts.yml, as Prometheus itself reads it: each alert fires on series that say so, and on no others."""

import shutil
import subprocess

import pytest
import yaml

from server import ROOT

RULES = ROOT / "contrib" / "prometheus-alerts.yml"
SERIES = ROOT / "conformance" / "scripts" / "prometheus-alerts.test.yml"
# `./test` puts it there when the machine has none.
OWN_PROMTOOL = ROOT / ".test-env" / "prometheus" / "usr" / "bin" / "promtool"
ALERTS = [rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def promtool(*arguments):
    program = shutil.which("promtool") or OWN_PROMTOOL
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=60)


def outcome(tmp_path, rules):
    """Tests rules with the series given by hand."""
    (tmp_path / RULES.name).write_text(rules)
    shutil.copy(SERIES, tmp_path)
    return promtool("test", "rules", tmp_path / SERIES.name)


def test_prometheus_takes_the_rules():
    checked = promtool("check", "rules", RULES)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(ALERTS)} rules found" in checked.stdout


def test_each_alert_fires_when_it_should_and_not_otherwise(tmp_path):
    tested = outcome(tmp_path, RULES.read_text())
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.parametrize("expression", ["vector(1) == 2", "vector(1)"], ids=["never", "always"])
@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_that_fires_never_or_always_is_found(tmp_path, alert, expression):
    rules = yaml.safe_load(RULES.read_text())
    for rule in rules["groups"][0]["rules"]:
        if rule["alert"] == alert:
            rule["expr"] = expression
    tested = outcome(tmp_path, yaml.safe_dump(rules))
    assert tested.returncode != 0 and f"alertname: {alert}," in tested.stdout + tested.stderr


def test_the_first_records_that_are_lost_are_enough(tmp_path):
    """A counter with labels begins with what it has counted: its increase alone says nothing of that."""
    rules = yaml.safe_load(RULES.read_text())
    for rule in rules["groups"][0]["rules"]:
        if rule["alert"] == "GrandstandChatLogsAreLost":
            rule["expr"] = "increase(grandstand_chatlog_records_lost_total[15m]) > 0"
    tested = outcome(tmp_path, yaml.safe_dump(rules))
    assert tested.returncode != 0 and 'logging_configuration="first"' in tested.stdout + tested.stderr
