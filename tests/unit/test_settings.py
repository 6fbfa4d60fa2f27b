"""Settings: which source wins, where each value came from, and what each mistake in a file is called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from todoctl.errors import UsageError
from todoctl.settings import BUILT_IN, Settings, load

MINE = '[environments.mine]\nkind = "local"\n'


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a user's configuration folder and a project in it; gives the folder."""
    # platformdirs reads the process's environment and has no other way in.
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "config" / "todoctl").mkdir(parents=True)
    (tmp_path / "project" / "deep" / "down").mkdir(parents=True)
    return tmp_path


def user_file(machine: Path, text: str) -> Path:
    """The user's configuration file, written."""
    path = machine / "config" / "todoctl" / "todoctl.toml"
    path.write_text(text)
    return path


def project_file(machine: Path, text: str) -> Path:
    """The project's configuration file, written."""
    path = machine / "project" / "todoctl.toml"
    path.write_text(text)
    return path


def read(machine: Path, text: str, **variables: str) -> Settings:
    """The settings of a project whose file holds `text`."""
    project_file(machine, text)
    return load(variables, cwd=machine / "project")


def mistakes(machine: Path, text: str) -> tuple[str, ...]:
    """What is said about a project file that does not fit its schema."""
    with pytest.raises(UsageError) as caught:
        read(machine, text)
    assert "todoctl.toml does not fit its schema" in caught.value.message
    return caught.value.detail


def test_without_any_source_the_environment_is_local(machine: Path) -> None:
    """Nothing said: `local`, with folders of this user, and every origin is a default."""
    settings = load({}, cwd=machine / "project")
    assert (settings.name, settings.environment.kind) == ("local", "local")
    assert settings.environments == BUILT_IN
    assert settings.origins["environment"] == "default"
    assert settings.origins["home"].startswith("default")
    assert settings.home.is_absolute()
    assert settings.state == settings.home / "local"


@pytest.mark.parametrize(
    ("sources", "name", "origin"),
    [
        ("default", "local", "default"),
        ("user", "minikube", "{user}: default_environment"),
        ("user project", "cloud", "{project}: default_environment"),
        ("user project variable", "local", "TODOCTL_ENVIRONMENT"),
        ("user project variable flag", "minikube", "-e"),
        ("flag", "minikube", "-e"),
        ("variable", "local", "TODOCTL_ENVIRONMENT"),
    ],
)
def test_precedence(machine: Path, sources: str, name: str, origin: str) -> None:
    """Flag before variable before project file before user file before default."""
    given = sources.split()
    user = user_file(machine, 'default_environment = "minikube"\n' if "user" in given else "")
    project = project_file(machine, 'default_environment = "cloud"\n' if "project" in given else "")
    settings = load(
        {"TODOCTL_ENVIRONMENT": "local"} if "variable" in given else {},
        cwd=machine / "project",
        environment="minikube" if "flag" in given else None,
    )
    assert settings.name == name
    assert settings.origins["environment"] == origin.format(user=user, project=project)


def test_an_empty_variable_says_nothing(machine: Path) -> None:
    """`TODOCTL_ENVIRONMENT=` is as if it were not set; so are the folders'."""
    empty = {"TODOCTL_ENVIRONMENT": "", "TODOCTL_HOME": "", "TODOCTL_CACHE": "", "TODOCTL_CONFIG": ""}
    settings = load(empty, cwd=machine / "project")
    assert settings.name == "local"
    assert settings.origins == load({}, cwd=machine / "project").origins


def test_the_project_file_is_found_from_below(machine: Path) -> None:
    """The nearest todoctl.toml above the working folder counts."""
    path = project_file(machine, MINE)
    settings = load({}, cwd=machine / "project" / "deep" / "down")
    assert settings.origins["environments.mine"] == str(path)


def test_environments_of_all_files_are_there_and_the_project_wins(machine: Path) -> None:
    """Both files' environments are defined; of the same name the project's counts, and the origin says so."""
    user = user_file(machine, MINE + '[environments.other]\nkind = "kubernetes"\ncontext = "one"\n')
    project = project_file(machine, '[environments.mine]\nkind = "kubernetes"\ncontext = "two"\n')
    settings = load({}, cwd=machine / "project", environment="mine")
    assert settings.environment.context == "two"
    assert settings.origins["environments.mine"] == str(project)
    assert settings.origins["environments.other"] == str(user)
    assert settings.origins["environments.local"] == "built in"


@pytest.mark.parametrize("way", ["flag", "variable"])
def test_a_named_file_replaces_the_others(machine: Path, way: str) -> None:
    """--config and TODOCTL_CONFIG name the one file that is read."""
    user_file(machine, '[environments.user]\nkind = "local"\n')
    project_file(machine, '[environments.project]\nkind = "local"\n')
    named = machine / "named.toml"
    named.write_text(MINE)
    settings = load(
        {"TODOCTL_CONFIG": str(named)} if way == "variable" else {"TODOCTL_CONFIG": "absent.toml"},
        cwd=machine / "project",
        config=named if way == "flag" else None,
    )
    assert set(settings.environments) == {*BUILT_IN, "mine"}


def test_an_unknown_environment_names_its_source_and_the_known_ones(machine: Path) -> None:
    """A name that nothing defines is refused with where it came from and what there is."""
    path = project_file(machine, 'default_environment = "absent"\n' + MINE)
    with pytest.raises(UsageError, match=r"no environment is called 'absent'") as caught:
        load({}, cwd=machine / "project")
    assert f"(from {path}: default_environment)" in caught.value.message
    assert caught.value.message.endswith("there are: local, minikube, cloud, mine")
    assert caught.value.hint == "todoctl env list"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("surplus = 1\n", "line 1: surplus: Extra inputs are not permitted"),
        ("default_environment = 1\n", "line 1: default_environment: Input should be a valid string"),
        ("environments = 1\n", "line 1: environments: Input should be a valid dictionary"),
        ('# kind\n[environments.mine]\nkind = "moon"\n', "line 3: environments.mine.kind: Input should be 'local'"),
        ('[environments.mine]\n\nnamespace = "x"\n', "line 1: environments.mine.kind: Field required"),
        (MINE + 'namespcae = "x"\n', "line 3: environments.mine.namespcae: Extra inputs are not permitted"),
        (MINE + 'context = "x"\n', "line 1: environments.mine: a local environment has no context, namespace or kafka"),
        ("[environments.Mine]\nkind = 'local'\n", "line 1: environments.Mine: String should match pattern"),
        (f"[environments.{'x' * 40}]\nkind = 'local'\n", "String should match pattern"),
        (MINE + "values = [1]\n", "line 3: environments.mine.values.0: Input is not a valid path"),
        # A name that begins like another one must not be mistaken for it.
        ('[environments.mine-2]\nkind = "moon"\n\n' + MINE, "line 2: environments.mine-2.kind"),
        (MINE + '\n[environments.mine-2]\nkind = "moon"\n', "line 5: environments.mine-2.kind"),
        ('[environments."mine"] # the first\n"kind" = "moon"\n', "line 2: environments.mine.kind"),
        ('environments.mine.kind = "moon"\n', "line 1: environments.mine.kind"),
        ('[environments]\nmine = { kind = "moon" }\n', "line 2: environments.mine.kind"),
    ],
)
def test_each_schema_mistake_is_named_with_its_line(machine: Path, text: str, said: str) -> None:
    """A mistake is told as `line N: key: what is wrong`, at the line that makes it."""
    (line,) = mistakes(machine, text)
    assert said in line


def test_all_mistakes_are_named_at_once(machine: Path) -> None:
    """Two mistakes are two lines, so that mending one does not reveal the next."""
    assert len(mistakes(machine, "one = 1\ntwo = 2\n" + MINE)) == 2


KAFKA = '[environments.there]\nkind = "kubernetes"\n[environments.there.kafka]\nbootstrap = "broker:9092"\n'


@pytest.mark.parametrize("address", ["", " ", ",", "http://broker:9092/", "broker:9092,", "a b"])
def test_what_is_no_address_of_a_broker_is_refused(machine: Path, address: str) -> None:
    """An empty one ended in a traceback, and a URL in a time-out."""
    (line,) = mistakes(machine, KAFKA.replace("broker:9092", address))
    assert line.startswith("line 4: environments.there.kafka.bootstrap: ")


@pytest.mark.parametrize("address", ["broker", "broker:9092", "a:1, b:2 ,[::1]:3"])
def test_addresses_of_brokers_are_taken_as_they_are(machine: Path, address: str) -> None:
    """One or several, with or without a port."""
    found = read(machine, KAFKA.replace("broker:9092", address), TODOCTL_ENVIRONMENT="there").environment.kafka
    assert found is not None
    assert found.bootstrap == address


@pytest.mark.parametrize(
    "reference", ['{ env = "PASSWORD" }', '{ file = "/run/pw" }', '{ kubernetes = "kafka/password" }']
)
def test_a_secret_is_given_by_reference(machine: Path, reference: str) -> None:
    """Each of the three kinds of reference is taken as it is; nothing is looked up."""
    settings = read(machine, KAFKA + f"password = {reference}\n", TODOCTL_ENVIRONMENT="there")
    assert settings.environment.kafka is not None
    password = settings.environment.kafka.password
    assert password is not None
    assert len(password.model_dump(exclude_none=True)) == 1


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ('"hunter2"', "secrets are given by reference only"),
        ("{}", "exactly one of env, file, kubernetes"),
        ('{ env = "A", file = "/b" }', "exactly one of env, file, kubernetes"),
        ('{ value = "hunter2" }', "Extra inputs are not permitted"),
        ('{ kubernetes = "no-key" }', "String should match pattern"),
        ("7", "Input should be a valid dictionary"),
    ],
)
def test_a_secret_itself_is_refused_and_not_repeated(machine: Path, value: str, said: str) -> None:
    """A secret in the file is refused at its line, and the message does not show it."""
    (line,) = mistakes(machine, KAFKA + f"password = {value}\n")
    assert line.startswith("line 5: environments.there.kafka.password")
    assert said in line
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[environments", "is not TOML: "),
        (b"a = 1\na = 2\n", "is not TOML: "),
        (b"\xff\xfe", "can't be read: "),
        (b"a = \x00", "is not TOML: "),
        (b"[" * 100_000, "is not TOML: "),
        (b"a = " + b"[" * 100_000, "is not TOML: "),
        (b"a = " + b"9" * 10_000, "is not TOML: "),
    ],
)
def test_a_file_that_is_no_toml_is_said(machine: Path, content: bytes, said: str) -> None:
    """What can't be read as TOML is refused with the file's name and the reason."""
    path = project_file(machine, "")
    path.write_bytes(content)
    with pytest.raises(UsageError, match=said) as caught:
        load({}, cwd=machine / "project")
    assert caught.value.message.startswith(str(path))


def test_a_file_that_cannot_be_read_is_said(machine: Path) -> None:
    """A file that the system does not let us read is refused with the system's reason."""
    # Reading the first page of any process's memory fails, for root too.
    with pytest.raises(UsageError, match="/proc/self/mem can't be read: "):
        load({}, cwd=machine, config=Path("/proc/self/mem"))


@pytest.mark.parametrize("name", ["absent.toml", "."])
def test_a_named_file_that_is_not_there_is_said(machine: Path, name: str) -> None:
    """A --config without a file behind it is refused; a folder is no file."""
    with pytest.raises(UsageError, match="there is no configuration file"):
        load({}, cwd=machine, config=machine / name)


@pytest.mark.parametrize("variable", ["TODOCTL_HOME", "TODOCTL_CACHE"])
def test_folders_from_variables(machine: Path, variable: str) -> None:
    """A folder from a variable is used as it is, `~` is the home, and the origin is the variable."""
    key = variable.removeprefix("TODOCTL_").lower()
    for value, path in ((str(machine / "new"), machine / "new"), ("~/new", machine / "new")):
        settings = load({variable: value}, cwd=machine)
        assert (getattr(settings, key), settings.origins[key]) == (path, variable)


@pytest.mark.parametrize("variable", ["TODOCTL_HOME", "TODOCTL_CACHE"])
@pytest.mark.parametrize(
    ("value", "said"), [("some/folder", "must be an absolute path"), ("/dev/null/x", "must be a folder")]
)
def test_folders_that_cannot_be_are_refused(machine: Path, variable: str, value: str, said: str) -> None:
    """A relative folder would be another one in each working folder; a file is no folder."""
    with pytest.raises(UsageError, match=said) as caught:
        load({variable: value}, cwd=machine)
    assert caught.value.message.startswith(variable)
    assert caught.value.hint == f"export {variable}=/some/folder"


@pytest.mark.skipif(os.geteuid() != 0, reason="what root gets by default is root's")
def test_the_defaults_of_root_can_be_reached_by_others(machine: Path) -> None:
    """As root the folders are not below /root: PostgreSQL runs as another user."""
    settings = load({}, cwd=machine)
    assert (settings.home, settings.cache) == (Path("/var/lib/todoctl"), Path("/var/cache/todoctl"))
    assert settings.origins["home"] == "default for root"


def test_the_chart_of_a_checkout_is_its_own(machine: Path) -> None:
    """Run from a checkout, the chart is the one beside the package."""
    settings = load({}, cwd=machine)
    assert (settings.chart / "values.yaml").is_file()
    assert settings.origins["chart"] in {"checkout", "installed package"}
