"""Every service's OpenAPI document is valid and complete, shown only where it is asked for, and makes a client."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openapi_generator_cli
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from tests.unit.services.postgres_server import PostgresServer
from tests.unit.services.stand import NAMES, SERVICE, Stand, stand
from todoctl.operations import tools
from todoctl.settings import load

GENERATOR = Path(openapi_generator_cli.__file__).with_name("openapi-generator.jar")
METHODS = {"get", "put", "post", "patch", "delete"}
PROBLEM = "application/problem+json"
DUE = "2999-01-31T09:00:00+00:00"
# Pages and what api passes on to the service that describes it.
HIDDEN = {"/openapi.json", "/api/auth/register", "/api/auth/login", "/api/auth/me", "/api/audit/logs"}


@pytest.fixture(scope="module")
def running(postgres_server: PostgresServer) -> Iterator[Stand]:
    """All services on one database."""
    database = postgres_server.new_database()
    with stand(database) as made:
        yield made
    postgres_server.drop(database)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and description of each operation."""
    for path, item in document["paths"].items():
        for method in METHODS & set(item):
            yield f"{method} {path}", item[method]


@pytest.mark.parametrize("service", NAMES)
def test_the_document_is_served_and_valid(running: Stand, service: str) -> None:
    """OpenAPI 3.1, at /openapi.json, with every route that a program may call."""
    answer = running.http.get(running.url(service, "/openapi.json"))
    assert answer.status_code == 200
    document = answer.json()
    validate(document)
    assert document["openapi"].startswith("3.1")
    described = set(document["paths"])
    routes = {path for route in running.apps[service].routes if (path := _described(route))}
    assert routes - described <= HIDDEN
    assert described >= {"/healthz", "/readyz", "/metrics"}


def _described(route: Any) -> str | None:
    return getattr(route, "path", None) if getattr(route, "include_in_schema", False) else None


@pytest.mark.parametrize("service", NAMES)
def test_every_refusal_is_described(running: Stand, service: str) -> None:
    """Each error is a problem with an example that fits; each operation has words, ids and its headers."""
    document = running.apps[service].openapi()
    ids = []
    for name, operation in operations(document):
        ids.append(operation["operationId"])
        assert operation["summary"], name
        assert operation["description"], name
        answers = operation["responses"]
        assert "500" in answers, name
        assert ("401" in answers) >= ("security" in operation), name
        assert {"400", "408", "413"} <= set(answers) or "requestBody" not in operation, name
        assert "422" in answers or not operation.get("parameters"), name
        for status, answer in answers.items():
            assert "X-Request-Id" in answer["headers"], (name, status)
            if int(status) >= 400 and name != "get /readyz":
                assert list(answer["content"]) == [PROBLEM], (name, status)
                _fits(document, answer["content"][PROBLEM])
            if status in {"429", "503"} and name != "get /readyz":
                assert "Retry-After" in answer["headers"], (name, status)
    assert len(ids) == len(set(ids))
    for schema in document["components"]["schemas"].values():
        for example in schema.get("examples", ()):
            _validator(document, schema).validate(example)


@pytest.mark.parametrize("service", NAMES)
def test_every_number_has_its_bounds(running: Stand, service: str) -> None:
    """In JSON Schema's words, not in those of the models."""
    document = running.apps[service].openapi()
    for schema in _schemas(document):
        assert not {"ge", "gt", "le", "lt"} & set(schema), schema
    for name, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            schema = set(parameter["schema"])
            bounded = "minimum" in schema and schema & {"maximum", "exclusiveMaximum"}
            assert parameter["schema"].get("type") != "integer" or bounded, (name, parameter)


def _schemas(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        yield part
    for member in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from _schemas(member)


def _fits(document: dict[str, Any], media: dict[str, Any]) -> None:
    _validator(document, media["schema"]).validate(media["example"])


def _validator(document: dict[str, Any], schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": document["components"]})


def test_what_a_client_has_to_know(running: Stand) -> None:
    """Keys, versions, doors: what the task API needs and gives besides bodies."""
    document = running.apps["api"].openapi()
    found = dict(operations(document))
    edit = found["patch /api/tasks/{task_id}"]
    headers = {parameter["name"] for parameter in edit["parameters"] if parameter["in"] == "header"}
    assert headers == {"Idempotency-Key", "If-Match"}
    assert set(edit["responses"]) >= {
        "200",
        "400",
        "401",
        "404",
        "409",
        "412",
        "413",
        "415",
        "422",
        "429",
        "500",
        "503",
    }
    for name in (
        "post /api/tasks",
        "patch /api/tasks/{task_id}",
        "get /api/tasks/{task_id}",
        "delete /api/tasks/{task_id}",
    ):
        success = next(answer for status, answer in found[name]["responses"].items() if status.startswith("2"))
        assert "ETag" in success["headers"], name
    assert found["get /api/tasks"]["security"] == [{"accessToken": []}]
    assert found["post /internal/occurrences"]["security"] == [{"dapr-api-token": [], "x-service-token": []}]
    assert "security" not in found["get /healthz"]
    # A generated client that sent them would clear what its user left alone.
    edited = document["components"]["schemas"]["TaskEdit"]["properties"]
    assert [name for name, field in edited.items() if "default" in field] == []


@pytest.fixture(scope="module")
def clients(running: Stand, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the Python clients that OpenAPI Generator makes of the documents that are served."""
    import json

    folder = tmp_path_factory.mktemp("clients")
    for service in ("api", "auth", "audit"):
        served = running.http.get(running.url(service, "/openapi.json"))
        (folder / f"{service}.json").write_bytes(served.content)
        config = {
            "inputSpec": str(folder / f"{service}.json"),
            "generatorName": "python",
            "outputDir": str(folder / service),
            "additionalProperties": {"packageName": f"todo_{service}"},
        }
        (folder / f"{service}.config.json").write_text(json.dumps(config))
    configs = [str(folder / f"{service}.config.json") for service in ("api", "auth", "audit")]
    made = subprocess.run(
        [_java(), "-jar", str(GENERATOR), "batch", "--fail-fast", *configs],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert made.returncode == 0, made.stdout[-3000:] + made.stderr[-3000:]
    # A generator that must guess says so.
    assert "WARN" not in made.stderr, made.stderr[-3000:]
    sys.path += [str(folder / service) for service in ("api", "auth", "audit")]
    yield folder
    for service in ("api", "auth", "audit"):
        sys.path.remove(str(folder / service))


def _java() -> str:
    """The Java that todoctl uses itself, fetched where it is missing."""
    cache = load(os.environ, cwd=Path.cwd()).cache
    if found := tools.find("jre", cache, environ=os.environ):
        return str(found.path)
    last = list(tools.install("jre", cache, environ=os.environ))[-1]
    assert last.result is not None, last.message
    return str(last.result.path)


def test_a_generated_client_works(running: Stand, clients: Path) -> None:
    """Made from the document alone it registers, logs in, writes, reads, and gets errors as values."""
    auth, api, audit = (importlib.import_module(f"todo_{name}") for name in ("auth", "api", "audit"))
    with auth.ApiClient(auth.Configuration(host=running.url("auth"))) as link:
        accounts = auth.DefaultApi(link)
        account = accounts.register(auth.Registration(email="gen@example.org", password="correct horse", zone="UTC"))
        token = accounts.log_in(auth.Login(email="gen@example.org", password="correct horse")).access_token
    with api.ApiClient(api.Configuration(host=running.url("api"), access_token=token)) as link:
        tasks = api.DefaultApi(link)
        _writes_and_reads(api, tasks)
    with audit.ApiClient(audit.Configuration(host=running.url("audit"), access_token=token)) as link:
        page = audit.DefaultApi(link).audit_logs(user_id=account.id)
        assert (page.total, page.items) == (0, [])


def _writes_and_reads(api: Any, tasks: Any) -> None:
    rule = api.RecurrenceRule(frequency="weekly", days_of_week=["mon"])
    wanted = api.NewTask(title="Milk", tags=["home"], due_date=DUE, reminder_offset="PT30M", recurrence_rule=rule)
    made = tasks.create_with_http_info(wanted, idempotency_key="k-1")
    task = made.data
    assert (made.status_code, task.title, task.tags, task.reminder_offset) == (201, "Milk", ["home"], "PT30M")
    again = tasks.create_with_http_info(wanted, idempotency_key="k-1")
    tags = {name.lower(): value for name, value in again.headers.items()}
    assert (again.data.id, tags["idempotency-replayed"]) == (task.id, "true")
    edited = tasks.edit(task.id, api.TaskEdit(title="Oat milk"), if_match=tags["etag"])
    assert (edited.title, edited.version, edited.due_date) == ("Oat milk", 2, task.due_date)
    with pytest.raises(api.ApiException) as stale:
        tasks.edit(task.id, api.TaskEdit(title="Soy milk"), if_match=tags["etag"])
    problem = api.Problem.from_json(stale.value.body)
    assert (stale.value.status, problem.code) == (412, "precondition_failed")
    assert [item.id for item in tasks.search_tasks(q="oat").items] == [task.id]
    assert tasks.filter_tasks(tags=["home"], priority=["medium"]).total == 1
    assert tasks.complete(task.id).status == "completed"
    assert tasks.read_changes(since=0).head >= 3
    tasks.delete(task.id)
    with pytest.raises(api.ApiException) as gone:
        tasks.read(task.id)
    assert gone.value.status == 404


@pytest.mark.parametrize("service", NAMES)
def test_there_is_no_page_for_trying_out(running: Stand, service: str) -> None:
    """The document is all there is: a page would bring scripts of others."""
    for path in ("/docs", "/redoc", "/openapi.yaml"):
        assert running.http.get(running.url(service, path), headers=SERVICE).status_code == 404
