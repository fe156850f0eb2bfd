"""X3, B11: every mistake is told with file, line, column and what would be right; all at once."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from gateway.config import settings as settings_module
from gateway.config.loaded import ListenerTls, Loaded
from gateway.config.pricing import PriceLists, read_pricings
from gateway.config.settings import load
from gateway.errors import ConfigError, GatewayError
from tests.support.redis_tls import make_certificate

ROOT = Path(__file__).parents[2]
GOOD = """\
version: 1
pricing: pricing.json
policies:
  - {name: poll, window: 10s, cap: 5, scope: key}
upstreams:
  app: {endpoints: ["http://127.0.0.1:9"]}
routes:
  - name: one
    match: {methods: [GET], path: /one}
    upstream: app
  - {name: polled, match: {methods: [GET], path: /poll}, upstream: app, limits: [poll]}
"""


def loaded(
    folder: Path, text: str, environ: Mapping[str, str] | None = None, **overrides: str
) -> Loaded:
    (folder / "pricing.json").write_bytes((ROOT / "fixtures" / "pricing_ssot.json").read_bytes())
    (folder / "gateway.yaml").write_text(text)
    return load(folder / "gateway.yaml", environ=environ or {}, overrides=overrides)


def test_file_then_environment_then_command_line(tmp_path: Path) -> None:
    """B11: 12-factor."""
    text = GOOD + "listen: 127.0.0.1:1\nadmin_listen: 127.0.0.1:2\nlog_level: warning\n"

    settings = loaded(
        tmp_path, text,
        {"GATEWAY_LISTEN": "0.0.0.0:3", "GATEWAY_ADMIN_LISTEN": "[::1]:4"}, admin_listen="[::1]:5",
    ).settings  # fmt: skip

    assert [*map(str, settings.listen), *map(str, settings.admin_listen)] == [
        "0.0.0.0:3",
        "[::1]:5",
    ]
    assert settings.log_level == "warning"
    assert settings.ledger == "sqlite:///data/ledger.db" == settings.keys


def test_files_are_found_from_where_they_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the route file from its folder; in a shell from the folder in which one stands."""
    folder = tmp_path / "conf"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    text = GOOD + "tls_certificate: tls/c.pem\ntls_key: tls/k.pem\ntls_client_ca: /etc/ca.pem\n"

    tls = loaded(Path("conf"), text, {"GATEWAY_TLS_KEY": "conf/k.pem"}).settings.tls
    assert tls == ListenerTls(Path("conf/tls/c.pem"), Path("conf/k.pem"), Path("/etc/ca.pem"))

    tls = loaded(folder, text, tls_certificate="c.pem").settings.tls
    assert tls == ListenerTls(Path("c.pem"), folder / "tls/k.pem", Path("/etc/ca.pem"))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_files_of_upstreams_are_found_from_the_route_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "conf"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    key, certificate = make_certificate(folder)
    tls = (
        f'https://localhost"], tls_ca_file: {certificate}, '
        f"tls_client_certificate: {certificate.name}, tls_client_key: ./{key.name}}}"
    )

    found = loaded(Path("conf"), GOOD.replace('http://127.0.0.1:9"]}', tls))

    (upstream,) = found.snapshot.upstreams
    assert upstream.tls_ca_file == str(certificate), "an absolute path stays"
    assert upstream.tls_client_certificate == "conf/certificate.pem"
    assert upstream.tls_client_key == "conf/key.pem"
    assert Path("conf/key.pem") in found.files


def test_passwords_are_not_told(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path, GOOD + "counters: ${REDIS}\n", {"REDIS": "redis://u:hunter2@h:1/0"}
    ).settings

    assert "hunter2" in settings.counters
    assert "hunter2" not in repr(settings.redacted())
    assert "hunter2" not in repr(settings)
    assert "redis://u:***@h:1/0" in repr(settings)


def test_passwords_in_parameters_are_not_told(tmp_path: Path) -> None:
    url = "postgresql://h/db?user=u&password=hunter2&sslpassword=hunter3&sslmode=require"

    redacted = loaded(tmp_path, GOOD, ledger=url).settings.redacted()

    expected = "postgresql://h/db?user=u&password=***&sslpassword=***&sslmode=require"
    assert redacted["ledger"] == expected


def test_huge_pages_are_used_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    assert loaded(tmp_path, GOOD).settings.uses_huge_pages
    assert not loaded(tmp_path, f"{GOOD}huge_pages: false\n").settings.uses_huge_pages


@pytest.mark.parametrize("setting", ["counters", "ledger", "keys"])
@pytest.mark.parametrize(
    "url",
    ["mysql://u:hunter2@h", "postgresql://u:hunter2@[h", "redis://u:hunter2@h:hunter2/0",
     "redis+cluster://u:hunter2@h", "redis://u:hunter2@h/hunter2", "hunter2"],
)  # fmt: skip
def test_a_wrong_url_is_not_repeated(tmp_path: Path, setting: str, url: str) -> None:
    """What stands in it may be a password, wherever it was typed."""
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, f"{GOOD}{setting}: {url!r}\n")

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "overrides", "origin"),
    [
        ({"GATEWAY_LISTEN": "x"}, {}, "$GATEWAY_LISTEN:1:1: listen: 'x' is not an address"),
        ({"GATEWAY_LISTEN": "h:1"}, {"listen": "x"}, "--listen:1:1: listen: 'x' is not"),
        ({}, {"admin_listen": "h:70000"}, "--admin-listen:1:1: admin_listen: 'h:70000' is not"),
        ({"GATEWAY_LOG_LEVEL": "loud"}, {}, "$GATEWAY_LOG_LEVEL:1:1: log_level: no level is"),
    ],
)
def test_mistake_outside_the_file_is_told_where_it_was_made(
    tmp_path: Path, environ: dict[str, str], overrides: dict[str, str], origin: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, GOOD, environ, **overrides)

    assert caught.value.message.startswith(origin)


EMPTY_ONES = (
    "ledger", "keys", "counters", "data_dir", "listen", "log_level", "tls_certificate", "tls_key",
    "tls_client_ca",
)  # fmt: skip


@pytest.mark.parametrize("setting", EMPTY_ONES)
def test_a_setting_that_is_given_but_empty_turns_nothing_off(tmp_path: Path, setting: str) -> None:
    """A variable that was not filled is a mistake, wherever it stands."""
    listener = {"tls_certificate": "c.pem", "tls_key": "k.pem"} | {setting: ""}
    for given, origin in (
        ({"environ": {f"GATEWAY_{setting.upper()}": ""}}, f"$GATEWAY_{setting.upper()}:1:1"),
        (listener, f"--{setting.replace('_', '-')}:1:1"),
    ):
        with pytest.raises(ConfigError) as caught:
            loaded(tmp_path, GOOD, **given)  # type: ignore[arg-type]
        assert f"{origin}: {setting}: given, but empty" in caught.value.message


@pytest.mark.parametrize("setting", [name for name in EMPTY_ONES if name != "log_level"])
def test_a_setting_that_an_empty_variable_fills_is_told(tmp_path: Path, setting: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, f"{GOOD}{setting}: ${{NAME}}\n", {"NAME": ""})

    (fault,) = caught.value.faults
    assert (fault.path, fault.message) == (setting, "given, but empty")
    assert fault.line == GOOD.count("\n") + 1


def test_a_store_without_a_host_is_not_the_one_at_hand(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="counters: the counter store's URL names no host"):
        loaded(tmp_path, GOOD + "counters: redis://${REDIS_HOST}:6379/0\n", {"REDIS_HOST": ""})


def test_a_setting_that_is_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\$GATEWAY_DATA_DIR:1:1: data_dir: not UTF-8"):
        loaded(tmp_path, GOOD, {"GATEWAY_DATA_DIR": "\udcff"})


def test_change_while_the_files_are_read_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The digest is of what was there before the prices were compiled, never of what came after."""
    before = loaded(tmp_path, GOOD).snapshot.source_digest

    def late(paths: Sequence[Path]) -> PriceLists:
        paths[0].write_bytes(paths[0].read_bytes() + b"\n")
        return read_pricings(paths)

    monkeypatch.setattr(settings_module, "read_pricings", late)
    assert loaded(tmp_path, GOOD).snapshot.source_digest == before


def test_sample_files_are_right() -> None:
    """A20."""
    for name in ("gateway.yaml", "sidecar.yaml"):
        load(ROOT / "policies" / name, environ={"REDIS_URL": "redis://h/0"}, overrides={})


ROUTE = "routes:\n  - name: one\n    match: {methods: [GET], path: /one}\n    upstream: app\n"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("version: 1", "version: 2", "1:10: version:"),
        ("version: 1", "version: 1\nnonsense: 1", "2:11: nonsense: this key is not known here"),
        ("    upstream: app\n", "", "8:5: routes[0]: upstream is missing"),
        ("upstream: app", "upstream: gone", ":10:15: routes[0].upstream: no upstream"),
        ('["http://127.0.0.1:9"]', "[]", "endpoints"),
        ('["http://127.0.0.1:9"]', '["ftp://x"]', "endpoints[0]"),
        ('["http://127.0.0.1:9"]', '["http://h:99999"]', "a port from 1 to 65535"),
        ("window: 10s", "window: soon", "policies[0].window"),
        ("window: 10s", "window: 100ms", "whole seconds"),
        ("cap: 5", "cap: 0", "policies[0].cap"),
        ("cap: 5", "cap: 5, meter: gone", "no meter is called gone"),
        ("name: poll", "name: rpm", "another limit is called rpm"),
        ("upstream: app", "upstream: app\n    limits: [gone]", "no limit is called gone"),
        ("upstream: app", "upstream: app\n    auth: none\n    limits: [rpm]", "can never apply"),
        ("upstream: app", "upstream: app\n    auth: none\n    limits: [poll]", "scope: address"),
        ("upstream: app", "upstream: app\n    auth: none\n    cost: {dc: 1}", "nobody to charge"),
        ("upstream: app", "upstream: app\n    cost: {gone: 1}", "no meter that a route can charge"),
        ("upstream: app", "upstream: app\n    cost: {dc: -1}", "routes[0].cost.dc"),
        ("upstream: app", "upstream: app\n    cost: {dc: {reserve: {default: 1}}}", "exactly one"),
        ("upstream: app", "upstream: app\n    requires: [flying]", "no plan has the feature"),
        ("upstream: app", "upstream: app\n    run_id: {required: true}", "exactly one of header"),
        ("path: /one", "path: one", "routes[0].match.path"),
        ("path: /one", "path: /a/../b", "no canonical path can match"),
        ("path: /one", "path: '/a/**/b'", "can't stand in a path template"),
        ("path: /one", "path: '/{a b}'", "can't stand in a path template"),
        ("version: 1", "version: 1\nlisten: nowhere", "'nowhere' is not an address"),
        ("version: 1", "version: 1\ncounters: redis+cluster://h", "not supported by this version"),
        ("version: 1", "version: 1\ncounters: mysql://h", "names no counter store"),
        ("version: 1", "version: 1\nledger: mysql://h", "names no database"),
        ("version: 1", "version: 1\nkeys: nowhere", "names no database"),
        ("version: 1", "version: 1\ntrusted_proxies: [ten]", "trusted_proxies[0]"),
        ("version: 1", "version: 1\ndrain: 5", "5 can't stand here (a duration"),
        ("version: 1", "version: 1\nlimits: {head_time: 0s}", "limits.head_time: '0s' can't"),
        ("version: 1", "version: 1\nlimits: {body_idle: 0s}", "limits.body_idle: '0s' can't"),
        ("version: 1", "version: 1\nlimits: {keep_alive: 0s}", "limits.keep_alive: '0s' can't"),
        ("upstream: app", "upstream: app\n    max_body: 999999999999GiB", "a size of at most"),
        ("version: 1", "version: 1\ncounters: ${NOT_SET}", "NOT_SET is not set"),
        (ROUTE, ROUTE + ROUTE.removeprefix("routes:\n"), "two routes are called one"),
        (ROUTE, ROUTE + ROUTE.removeprefix("routes:\n").replace("name: one", "name: two"),
         "routes[1].match: GET here is already taken by the route one"),
    ],
)  # fmt: skip
def test_mistake_is_told_with_its_place(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in GOOD

    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, GOOD.replace(old, new, 1))

    assert told in caught.value.message
    assert all(fault.file.endswith(".yaml") and fault.line >= 1 for fault in caught.value.faults)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """0.4."""
    broken = GOOD.replace(
        "upstream: app", "upstream: gone\n    requires: [flying]\n    limits: [x]", 1
    )

    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, broken)

    assert len(caught.value.faults) == 3


def test_mistakes_of_settings_routes_and_prices_are_told_together(tmp_path: Path) -> None:
    """0.4: no second run to find the next one."""
    broken = GOOD.replace("upstream: app", "upstream: gone", 1) + "listen: nowhere\n"

    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, broken)
    assert [fault.path for fault in caught.value.faults] == ["routes[0].upstream", "listen"]

    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, broken.replace("pricing.json", "gone.json"))
    paths = [fault.path for fault in caught.value.faults]
    assert paths == ["routes[0].upstream", "listen", "(file)"]


def test_what_can_not_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(GatewayError, match="can't be read"):
        load(tmp_path / "gone.yaml", environ={}, overrides={})
    (tmp_path / "latin.yaml").write_bytes(b"version: 1\nx: \xff\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(tmp_path / "latin.yaml", environ={}, overrides={})


def test_a_star_in_a_host_is_a_character_and_that_is_told(tmp_path: Path) -> None:
    text = GOOD.replace("path: /one}", 'path: /one, hosts: ["*.api.example", api.example]}')

    told = [str(each) for each in loaded(tmp_path, text).warnings if "hosts" in each.path]

    assert len(told) == 1
    assert "hosts[0]: *.api.example takes this very name: a * stands for nothing else" in told[0]


def test_addresses_of_a_variable_are_told_by_the_variable(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, GOOD, {"GATEWAY_LISTEN": "127.0.0.1:1,here"})

    assert [str(fault) for fault in caught.value.faults] == [
        (
            "$GATEWAY_LISTEN:1:1: listen: 'here' is not an address "
            "(host:port, or [address]:port for IPv6)"
        )
    ]
