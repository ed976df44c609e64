"""The files of `docs/deploy/` and of the top level are checked with the programs that read them and against our settings."""

import re
import shutil
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import config
import hammer
from config import Misconfigured
from tests.deployment import fronts
from tests.serving import ROOT

DEPLOY = ROOT / "docs" / "deploy"
UNITS = sorted(path.name for path in DEPLOY.glob("hammer-*"))
SETTINGS = config.NAMES
OF_THE_SERVER = {"WEB_CONCURRENCY", "BIND"}
GUIDE = (ROOT / "docs" / "deploy.md").read_text()


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_understands_every_unit(unit: str, tmp_path: Path) -> None:
    """With what they start, and as whom, replaced by what this machine has."""
    for name in UNITS:
        text = (DEPLOY / name).read_text().replace("/opt/hammer/.venv/bin/", "/bin/true ")
        (tmp_path / name).write_text(re.sub(r"^(User|Group)=hammer", r"\1=root", text, flags=re.MULTILINE))

    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert [line for line in verified.stderr.splitlines() if "hammer-" in line] == []


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit.endswith(".service")])
def test_the_services_are_well_confined(unit: str) -> None:
    """systemd's own measure of what a service could do if it were taken over: 0 is nothing, 10 everything."""
    told = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=30", str(DEPLOY / unit)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert told.returncode == 0, told.stdout[-1000:]


@pytest.mark.parametrize("unit", ["hammer-web.service", "hammer-worker.service"])
def test_a_service_with_refused_settings_is_not_restarted(unit: str) -> None:
    lines = (DEPLOY / unit).read_text().splitlines()

    assert "Restart=always" in lines
    assert f"RestartPreventExitStatus={Misconfigured.exit_code}" in lines


def test_the_settings_of_the_example_exist() -> None:
    named = set(re.findall(r"^([A-Z_]+)=", (DEPLOY / "env.example").read_text(), re.MULTILINE))

    assert named <= SETTINGS | OF_THE_SERVER
    assert {"SECRET_KEY", "DATABASE_URL", "REDIS_URL", "HAMMER_SMS_URL", "HAMMER_PUBLIC_URL"} <= named


def test_the_composition_has_one_of_each_part_and_names_settings_that_exist() -> None:
    composed: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    services = composed["services"]

    assert {"web", "worker", "prune", "migrate", "database", "redis", "proxy"} == set(services)
    for ours in ("web", "worker", "prune", "migrate"):
        assert set(services[ours]["environment"]) <= SETTINGS | OF_THE_SERVER
        assert services[ours]["read_only"]
        assert services[ours]["cap_drop"] == ["ALL"]
    assert [name for name, service in services.items() if service.get("ports")] == ["proxy"]


def test_the_image_copies_what_there_is_and_what_the_program_needs() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = {source for line in lines if line.startswith("COPY ") for source in line.split()[1:-1]}
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    assert copied == let_through
    assert {path for path in copied if not (ROOT / path).exists()} == set()
    assert {"config.py", "wsgi.py", "hammer", "migrations"} <= copied
    assert "USER hammer" in lines


def test_the_image_states_the_version_of_the_program() -> None:
    assert f'org.opencontainers.image.version="{hammer.__version__}"' in (ROOT / "Dockerfile").read_text()


def test_the_changelog_describes_the_version_of_the_program() -> None:
    released = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[0] == hammer.__version__


def locked() -> dict[str, tuple[str, list[str]]]:
    """Package -> its version in requirements.lock, and its hashes."""
    entries = re.findall(
        r"^([\w.-]+)(?:\[[\w,]+\])?==([^ ;\n]+).*((?:\n    --hash=.*)+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE
    )
    return {canonicalize_name(name): (version, re.findall(r"sha256:([0-9a-f]{64})", hashes)) for name, version, hashes in entries}


def test_the_lock_file_has_every_requirement_in_a_version_that_satisfies_it() -> None:
    lines = [line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    required = [Requirement(line) for line in lines if line]

    unmet = [str(each) for each in required if locked().get(canonicalize_name(each.name), ("", []))[0] not in each.specifier]

    assert len(required) > 10
    assert unmet == [], "Run `make lock`."


def test_the_lock_file_has_what_its_packages_require_with_hashes() -> None:
    """So far as they are installed here: what they require of each other on this machine is locked as well."""
    for name, (_, hashes) in locked().items():
        assert hashes, name
        with suppress(PackageNotFoundError):
            needed = [Requirement(line) for line in requires(name) or ()]
            here = {canonicalize_name(each.name) for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})}
            assert here <= set(locked()), f"{name}: run `make lock`."


def test_the_lock_file_names_no_place_to_download_from() -> None:
    assert not re.search(r"://|index|find-links", (ROOT / "requirements.lock").read_text())


@pytest.mark.needs("docker-compose")
def test_compose_understands_the_composition(tmp_path: Path) -> None:
    shutil.copy(ROOT / "compose.yaml", tmp_path)
    settings = (
        "HAMMER_PUBLIC_URL=https://login.example.com",
        "SECRET_KEY=s",
        "POSTGRES_PASSWORD=p",
        "HAMMER_SMS_URL=sns://eu-central-1",
    )
    (tmp_path / ".env").write_text("\n".join((*settings, "HAMMER_CODE_LENGTH=6", "HAMMER_ENV=testing")))

    understood = subprocess.run(["docker-compose", "config"], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert understood.returncode == 0, understood.stderr
    given = yaml.safe_load(understood.stdout)["services"]["web"]["environment"]
    assert (given["HAMMER_CODE_LENGTH"], given["HAMMER_ENV"]) == ("6", "production")


def test_the_composition_passes_its_proxy_the_variables_that_it_reads() -> None:
    proxy = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["proxy"]
    mounted = [volume.split(":")[0] for volume in proxy["volumes"] if volume.startswith("./")]

    assert [ROOT / file for file in mounted] == [DEPLOY / "Caddyfile"]
    read = re.findall(r"\{\$(\w+)", (DEPLOY / "Caddyfile").read_text())
    assert set(read) == set(proxy["environment"])


@pytest.mark.needs("haproxy", "openssl")
@pytest.mark.parametrize("part", ["haproxy.cfg", "haproxy-database.cfg"])
def test_haproxy_understands_its_part(part: str, tmp_path: Path) -> None:
    fronts.make_certificate(tmp_path)
    ours = (DEPLOY / part).read_text().replace("/etc/haproxy/", f"{tmp_path}/")
    (tmp_path / "haproxy.cfg").write_text(fronts.BEFORE_HAPROXYS + ours)

    checked = subprocess.run(["haproxy", "-c", "-f", str(tmp_path / "haproxy.cfg")], capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stderr
    assert "WARNING" not in checked.stderr


@pytest.mark.parametrize("file", sorted(set(re.findall(r"docs/deploy/([\w.-]+)", GUIDE)) - {"hammer-"}))
def test_every_file_that_the_guide_names_is_there(file: str) -> None:
    assert list(DEPLOY.glob(f"{file}*"))
