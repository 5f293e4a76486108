"""The team deployment in `deploy/`: safe, pinned, complete, and no second opinion about the run history."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from interp_assets.settings import PROJECT

DEPLOY = PROJECT / "deploy"
OURS = ("prepare", "code", "webserver", "daemon")
NAME = re.compile(r"\$\{([A-Z_]+)")
# Names whose values open something; in files they may only stand as a reference to the environment.
SECRET = re.compile(r"(?i)(password|token|secret|webhook)")


def read(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def services() -> dict:
    return read(DEPLOY / "compose.yaml")["services"]


def declared_names() -> set[str]:
    lines = (DEPLOY / ".env.example").read_text(encoding="utf-8").splitlines()
    return {line.partition("=")[0] for line in lines if line and not line.startswith("#")}


def test_only_the_storage_differs_from_the_projects_dagster_yaml():
    ours = read(DEPLOY / "dagster.yaml")
    ours.pop("storage")
    assert ours == read(PROJECT / "dagster.yaml")


def test_the_database_is_reached_by_the_environment_alone():
    database = read(DEPLOY / "dagster.yaml")["storage"]["custom"]["config"]["postgres_db"]
    assert database.pop("scheme") == "postgresql+psycopg2"
    assert all(set(value) == {"env"} for value in database.values())


def test_the_driver_is_the_one_that_is_locked():
    lock = (PROJECT / "requirements.lock").read_text(encoding="utf-8")
    assert re.search(r"^psycopg2-binary==", lock, re.MULTILINE)
    assert re.search(r"^dagster-postgres==", lock, re.MULTILINE)


def test_dagster_reads_the_configuration(tmp_path, monkeypatch):
    """Every key is known to the installed Dagster, and the storage comes out with the driver that is installed."""
    from dagster._core.instance.config import dagster_instance_config
    from dagster_postgres.utils import pg_url_from_config

    from interp_assets.run_history import postgres

    for variable in ("HOST", "NAME", "USER", "PASSWORD"):
        monkeypatch.setenv(f"INTERP_DB_{variable}", f"the-{variable.lower()}")
    monkeypatch.setenv("INTERP_DB_PORT", "6000")
    shutil.copy(DEPLOY / "dagster.yaml", tmp_path)
    found, _ = dagster_instance_config(str(tmp_path))
    named = found["storage"]["custom"]
    assert (named["module"], named["class"]) == (postgres.__name__, postgres.History.__name__)
    from dagster._config import process_config

    storage = process_config(postgres.History.config_type(), named["config"])
    assert storage.success, storage.errors
    assert pg_url_from_config(storage.value) == "postgresql+psycopg2://the-user:the-password@the-host:6000/the-name"


def test_dagster_reads_the_workspace(monkeypatch):
    from dagster._core.workspace.config_schema import ensure_workspace_config

    monkeypatch.setenv("INTERP_CODE_SERVER", "code")
    monkeypatch.setenv("INTERP_CODE_PORT", "4000")
    path = DEPLOY / "workspace.yaml"
    (entry,) = ensure_workspace_config(read(path), str(path))["load_from"]
    assert (entry["grpc_server"]["host"], entry["grpc_server"]["port"]) == ("code", 4000)


def test_every_variable_is_in_the_example_and_the_other_way_round():
    assert set(NAME.findall((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))) == declared_names()


def test_the_example_holds_no_value():
    lines = (DEPLOY / ".env.example").read_text(encoding="utf-8").splitlines()
    assert all(line.endswith("=") for line in lines if line and not line.startswith("#"))


def test_no_secret_stands_in_a_file(services):
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            if SECRET.search(variable):
                assert str(value).startswith("${"), f"{name}: {variable}"


@pytest.mark.parametrize("name", [*OURS, "database", "proxy"])
def test_services_run_without_rights(services, name):
    service = services[name]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", ["database", "code", "webserver", "daemon", "proxy"])
def test_services_say_how_they_are(services, name):
    service = services[name]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] == "CMD"
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}


def test_images_are_pinned(services):
    images = {service["image"] for service in services.values()}
    assert all(re.search(r":\d+(\.\d+)*(-[a-z]+)?$", image) for image in images), images


def test_nothing_but_the_proxy_is_open_to_others(services):
    open_ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert set(open_ports) == {"webserver", "proxy"}
    assert all(port.startswith("127.0.0.1:") for port in open_ports["webserver"])
    assert services["proxy"]["profiles"] == ["proxy"]
    assert services["database"]["networks"] == ["inner"]
    assert read(DEPLOY / "compose.yaml")["networks"]["inner"] == {"internal": True}


@pytest.mark.parametrize("name", OURS)
def test_services_share_the_store_and_the_database(services, name):
    service = services[name]
    assert "store:/app/store" in service["volumes"]
    needed = {"DAGSTER_HOME", "INTERP_STORE", "INTERP_DAGSTER_YAML", "INTERP_DB_PASSWORD", "INTERP_CODE_SERVER"}
    assert needed <= set(service["environment"])


def test_every_program_exists_where_the_image_gets_its_own(services):
    # The environment of this interpreter first, as on the PATH of the image, whether or not it is active here.
    programs = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    for name in OURS:
        service = services[name]
        for words in (service["command"], service.get("healthcheck", {"test": ["CMD", "sh"]})["test"][1:]):
            assert shutil.which(words[0], path=programs), f"{name}: {words[0]}"


def test_the_image_holds_what_the_services_name():
    dockerfile = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    assert "COPY deploy/dagster.yaml deploy/workspace.yaml deploy/" in dockerfile
    assert re.search(r"^USER 10001:10001$", dockerfile, re.MULTILINE)
    assert "HEALTHCHECK" in dockerfile
    for path in re.findall(r"^COPY (.+) \S+$", dockerfile, re.MULTILINE):
        assert all((PROJECT / part).exists() for part in path.split()), path
