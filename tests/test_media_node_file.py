"""The file of settings of a SIP node: what it says, and what is said about one that can't be used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cordboard.bindings.node_file import load_node
from cordboard.bindings.settings import Destination, Login, Srtp, Transport
from cordboard.cli import main
from cordboard.errors import InputError, NodeFileError
from cordboard.speech import Setting

WHOLE = """
[sip]
address = "127.0.0.1"
udp = 5060
tls = 5061
phones = ["127.0.0.0/8"]
session = 600

[tls]
certificate = "node.pem"
key = "node.key"

[audio]
srtp = "optional"
codecs = ["opus", "PCMA"]
strict_source = false

[agents]
realm = "calls.example"
users = "phones.htdigest"

[trunks.main]
sources = ["127.0.0.0/30"]
transport = "tls"
srtp = "mandatory"
lines = 30
calls_per_second = 5
patience = 2
rest = 10
ping = 20
user = "acme"
password_file = "acme.secret"
registrar = "127.0.0.1:5080"

[[trunks.main.destinations]]
gateway = "127.0.0.1:5080"
weight = 3

[[trunks.main.destinations]]
gateway = "127.0.0.1:5081"
priority = 2

[trunks.plain]
gateway = "127.0.0.1"
"""
HASH = "0123456789abcdef0123456789ABCDEF"


@pytest.fixture
def folder(tmp_path):
    for name in ("prompts", "recordings"):
        (tmp_path / name).mkdir()
    for name, text in (("node.pem", "x"), ("node.key", "x"), ("acme.secret", "s3cret\n")):
        (tmp_path / name).write_text(text)
    (tmp_path / "phones.htdigest").write_text(f"# the phones\nli:calls.example:{HASH}\n")
    return tmp_path


def load(folder, text: str):
    (folder / "node.toml").write_text(text)
    return load_node(folder / "node.toml", folder / "prompts", folder / "recordings")


def test_everything_that_a_file_says_is_there(folder):
    got = load(folder, WHOLE)
    assert (got.port, got.tcp_port, got.tls_port, got.session_s, got.strict_rtp) == (5060, None, 5061, 600, False)
    assert got.codecs == ("opus/48000/2", "PCMA/8000/1") and got.srtp is Srtp.OPTIONAL
    assert got.registrar is not None and got.registrar.users == (("li", HASH.lower()),)
    main, plain = got.trunks
    assert main.destinations == (Destination("127.0.0.1:5080", 1, 3), Destination("127.0.0.1:5081", 2, 1))
    assert (main.transport, main.srtp, main.lines, main.calls_per_second) == (Transport.TLS, Srtp.MANDATORY, 30, 5.0)
    assert (main.patience_s, main.rest_s, main.ping_s) == (2.0, 10.0, 20.0)
    assert main.login == Login("acme", "s3cret", registrar="127.0.0.1:5080")
    assert plain.destinations == (Destination("127.0.0.1"),) and plain.login is None


def test_a_password_is_not_shown(folder):
    assert "s3cret" not in repr(load(folder, WHOLE))


def test_a_password_may_stand_in_the_environment(folder, monkeypatch):
    monkeypatch.setenv("ACME", "other")
    text = WHOLE.replace('password_file = "acme.secret"', 'password_env = "ACME"')
    assert load(folder, text).trunks[0].login.password == "other"


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "message"),
    [
        ("udp = 5060", "udp = 70000", 4, "sip.udp", "not a whole number from 0 to 65535"),
        ("udp = 5060", "upd = 5060", 4, "sip.upd", 'Did you mean "udp"'),
        ('address = "127.0.0.1"', 'address = "192.0.2.7"', 3, "sip.address", "not an address of this machine"),
        ('phones = ["127.0.0.0/8"]', 'phones = ["127.0.0.1/8"]', 6, "sip.phones", "is no address or network"),
        ('"node.pem"', '"none.pem"', 10, "tls.certificate", "there is no file"),
        ('srtp = "optional"', 'srtp = "yes"', 14, "audio.srtp", "is not known"),
        ('"opus", "PCMA"', '"opsu", "PCMA"', 15, "audio.codecs[0]", 'Did you mean "opus"'),
        ('transport = "tls"', 'transport = "tcp"', 22, "trunks.main", "no port for tcp"),
        ('transport = "tls"', 'transport = "udp"\n#', None, "", ""),  # DTLS is there for the keys
        ('"127.0.0.0/30"', '"gw.example"', 22, "trunks.main", "is no address or network"),
        ("acme.secret", "none.secret", 32, "trunks.main.password_file", "there is no file"),
        ('password_file = "acme.secret"', 'password_env = "NOT_SET"', 32, "trunks.main.password_env", "holds no password"),
        ('password_file = "acme.secret"', "", 31, "trunks.main.user", "no password"),
        ('user = "acme"', "", 32, "trunks.main.password_file", "without a user"),
        ("127.0.0.1:5081", "127.0.0.1:5080", 40, "trunks.main.destinations[1].gateway", "is there already"),
        ("127.0.0.1:5081", "a b", 40, "trunks.main.destinations[1].gateway", "is no gateway"),
        ('gateway = "127.0.0.1"\n', "", 43, "trunks.plain", "needs a gateway"),
        ('realm = "calls.example"', "", 18, "agents", '"realm" is missing'),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_key(folder, old, new, line, key, message):
    assert old in WHOLE
    text = WHOLE.replace(old, new, 1)
    if not message:
        load(folder, text)
        return
    with pytest.raises(NodeFileError, match=message.replace("[", r"\[")) as raised:
        load(folder, text)
    assert (raised.value.where.line, raised.value.where.key) == (line, key)


def test_a_section_that_is_no_table_is_told(folder):
    with pytest.raises(NodeFileError, match="5 is not a table") as raised:
        load(folder, "sip = 5\n")
    assert raised.value.where.key == "sip"


@pytest.mark.parametrize("gateway", ["[::1]:5070", "[::1]"])
def test_calls_come_from_where_they_go_to_by_ipv6_too(folder, gateway):
    text = f'[sip]\nudp = 5060\n[trunks.main]\ngateway = "{gateway}"\n'
    assert load(folder, text).trunks[0].networks() == ("::1",)


def test_all_that_is_wrong_is_told_at_once(folder):
    with pytest.raises(NodeFileError) as raised:
        load(folder, WHOLE.replace("udp = 5060", 'udp = "a"').replace("weight = 3", "weight = 0"))
    assert [error.where.key for error in raised.value.errors] == ["sip.udp", "trunks.main.destinations[0].weight"]


@pytest.mark.parametrize(
    ("lines", "line", "message"),
    [
        ("li", 1, "no line of name:realm:HA1"),
        ("li:calls.example:secret", 1, "no line of name:realm:HA1"),
        (f"\nli:other:{HASH}", 2, 'realm is "other"'),
        (f"li:calls.example:{HASH}\nli:calls.example:{HASH}", 2, "there twice"),
    ],
)
def test_a_line_of_the_users_that_is_wrong_is_told(folder, lines, line, message):
    (folder / "phones.htdigest").write_text(lines)
    with pytest.raises(NodeFileError, match=message) as raised:
        load(folder, WHOLE)
    assert raised.value.where.line == line and raised.value.where.file.endswith("phones.htdigest")


def test_keys_of_audio_never_go_in_clear_where_encryption_is_a_must(folder):
    text = WHOLE.replace('srtp = "optional"', 'srtp = "off"\nkeying = ["sdes"]').replace('transport = "tls"', 'transport = "udp"')
    with pytest.raises(NodeFileError, match="would send the keys of audio in clear"):
        load(folder, text)


def test_the_command_checks_a_file(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "node.toml").write_text(WHOLE)
    assert main(["media", "--settings", "node.toml", "--check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"usable": True, "trunks": ["main", "plain"], "registered_phones_max": 1}
    (folder / "node.toml").write_text(WHOLE.replace("lines = 30", "lines = -1"))
    assert main(["media", "--settings", "node.toml", "--check"]) == 2
    assert "node.toml:26" in capsys.readouterr().err


def test_a_folder_that_is_missing_is_no_mistake_of_the_file(folder):
    (folder / "node.toml").write_text(WHOLE)
    with pytest.raises(InputError, match="no folder") as raised:
        load_node(folder / "node.toml", folder / "none", folder / "recordings")
    assert not isinstance(raised.value, NodeFileError)


def test_the_example_of_the_reference_can_be_used(folder):
    page = (Path(__file__).resolve().parents[1] / "docs/reference/node-file.md").read_text("utf-8")
    for name in ("carriers.pem", "bots.pem"):
        (folder / name).write_text("x")
    (folder / "models" / "vosk-zh").mkdir(parents=True)
    got = load(folder, page.split("```toml\n")[1].split("```")[0])
    assert got.registrar is not None and [len(trunk.destinations) for trunk in got.trunks] == [2]
    model = {"model": str(folder / "models" / "vosk-zh")}
    assert got.recognizers == (Setting("words", "vosk", ("zh",), options=model),)


def test_every_option_of_a_recognizer_gets_there(folder):
    table = '[speech.a]\nkind = "x"\nlanguages = ["zh", "en"]\nsessions = 5\noptions = { rate = 8000, name = "n" }\n'
    got = load(folder, f"[sip]\nudp = 0\n{table}")
    assert got.recognizers == (Setting("a", "x", ("zh", "en"), 5, {"rate": 8000, "name": "n"}),)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('kind = "vosk"', '"languages" is missing'),
        ('languages = ["zh"]', '"kind" is missing'),
        ('kind = "vosk"\nlanguages = ["zh"]\nmodel = "none"', "there is no model"),
        ('kind = "vosk"\nlanguages = ["zh"]\noptions = { a = [1] }', "not a table of options"),
        ('kind = "vosk"\nlanguages = ["zh"]\nsessions = 0', "not a whole number"),
        ('kind = "vosk"\nlanguages = ["zh"]\nlanguage = "zh"', 'Did you mean "languages"'),
    ],
)
def test_what_is_wrong_with_a_recognizer_is_told(folder, table, message):
    with pytest.raises(NodeFileError, match=message):
        load(folder, f"[sip]\nudp = 0\n[speech.a]\n{table}\n")
