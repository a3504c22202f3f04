"""``cordboard recordings``: find recordings, play and export them, verify, hold and delete them.

Every use is audited, in a log of its own beside the server's (``audit-commands``), since a server may be at work. What
is played or exported is in the audit log before anything is opened.
"""

from __future__ import annotations

import argparse
import getpass
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cordboard import words
from cordboard.cli.actions import Action, Actions
from cordboard.errors import CordboardError, InputError, Where

if TYPE_CHECKING:
    from cordboard.live.audit import AuditLog
    from cordboard.recordings.container import Reading
    from cordboard.recordings.index import Found, Index, Wanted

LISTED_MAX = 1000
FILTERS = {  # option: (shown, en, zh, kind)
    "number": ("NUMBER", "of this caller, or to this number of ours", "主叫号码或被叫号码", str),
    "agent": ("NAME", "of this agent", "座席", str),
    "queue": ("NAME", "of this queue", "队列", str),
    "contact": ("NAME", "of this contact", "联系", str),
    "campaign": ("NAME", "of this campaign", "活动", str),
    "node": ("NAME", "on this media node", "媒体节点", str),
    "state": ("STATE", "recording, whole, short, lost or refused", "状态", str),
    "outcome": ("OUTCOME", "of the contact, such as answered", "联系结果", str),
    "since": ("TIME", "begun at or after 2026-11-22T09:00 (here's time)", "起始时间（当地时间）", str),
    "until": ("TIME", "begun before", "截止时间", str),
    "longer": ("SECONDS", "at least so long", "最短秒数", float),
    "shorter": ("SECONDS", "at most so long", "最长秒数", float),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = Actions(parser)
    key = actions.add("key", "make a key; prints who recordings are sealed for", "生成录音密钥并显示收件人")
    key.value("file", "FILE", "where it is to be", "输出文件", type=Path)

    def placed(action: Action, folder: bool = False, identity: bool = False) -> Action:
        action.value("--data", "FOLDER", "the server's data folder", "服务器数据目录", type=Path, required=True)
        action.value("--tenant", "NAME", "the tenant (default)", "租户（default）", default="default")
        action.value("--database", "URL", "the server's PostgreSQL", "服务器的 PostgreSQL", default="")
        action.value("--records", "PLACE", "where the records are, if elsewhere", "记录所在位置", default="")
        action.value("--audit-keys", "KEYS.jwks", "signs the audit log", "审计日志签名密钥", type=Path)
        if folder:
            text = "the node's folder of recordings (recordings)", "节点的录音目录（recordings）"
            action.value("--folder", "FOLDER", *text, type=Path, default=Path("recordings"))
        if identity:
            action.value("--identity", "FILE", "the key that opens them", "录音密钥文件", type=Path, required=True)
        return action

    found = placed(actions.add("list", "find recordings", "查找录音"))
    for name, (shown, en, zh, kind) in FILTERS.items():
        found.value(f"--{name}", shown, en, zh, type=kind)
    found.value("--master", "FILE", "master key, if numbers are kept apart", "主密钥（号码分离存放时）", type=Path)
    found.switch("--held", "those that are held alone", "仅被保全的录音")
    found.switch("--deleted", "deleted ones, too", "含已删除的录音")
    play = placed(actions.add("play", "play one", "播放录音"), folder=True, identity=True)
    play.value("--player", "COMMAND", "takes WAV on its input (aplay -q)", "播放器", default="aplay -q")
    export = placed(actions.add("export", "write one as WAV or Opus", "导出为 WAV 或 Opus"), folder=True, identity=True)
    export.value("--to", "FILE", "ends in .wav, or in .opus or .ogg", "输出文件", type=Path, required=True)
    check = actions.add("verify", "whether they are whole and unchanged", "校验录音完整性")
    verify = placed(check, folder=True, identity=True)
    hold = placed(actions.add("hold", "keep one until it is released", "法律保全"))
    release = placed(actions.add("release", "end its hold", "解除保全"))
    for action in (play, export, hold, release):
        action.value("recording", "RECORDING", "its name", "录音名称")
    verify.value("recording", "RECORDING", "its name; all if absent", "录音名称；缺省为全部", nargs="?")
    hold.value("--why", "TEXT", "the reason", "理由", required=True)
    purge = placed(actions.add("purge", "delete those that were kept long enough", "删除保留期满的录音"), folder=True)
    purge.switch("--try", "only say which", "仅列出")


def run(options: argparse.Namespace) -> int:
    """Status 0; 1 if a recording is not whole, or nothing was found."""
    if options.action == "key":
        return make_key(options)
    from cordboard.live import Settings
    from cordboard.live.audit import AuditLog
    from cordboard.live.beside import records_place
    from cordboard.live.settings import checked_tenant
    from cordboard.live.tenants import audit_key
    from cordboard.recordings.index import Index
    from cordboard.records import Records

    tenant = checked_tenant(options.tenant)
    place, schema = records_place(Settings(data=options.data, database=options.database), tenant)
    if options.records:
        place, schema = options.records, ""
    if not place.startswith("postgres") and not Path(place).exists():
        raise InputError("there are no records", Where(place), "Is it the data folder of a server?")
    key = audit_key(options.data, options.audit_keys)
    with (
        Records(place, schema) as records,
        closing(AuditLog(options.data / tenant / "audit-commands", key, tenant=tenant)) as audit,
    ):
        return int(ACTIONS[options.action](Index(records), audit, options))


def make_key(options: argparse.Namespace) -> int:
    from cordboard.live.keyfiles import write_file
    from cordboard.recordings.container import new_identity

    if options.file.exists():
        raise InputError("there is a key already", Where(str(options.file)), "Without it nothing it seals can be read")
    identity, recipient = new_identity()
    write_file(options.file, f"{identity}\n".encode(), secret=True)
    print(json.dumps({"key": str(options.file), "recipient": recipient}) if options.json else recipient)
    return 0


def told(audit: AuditLog, action: str, **fields: Any) -> None:
    """Record what is done, and be sure of it, before it is done."""
    audit.record(f"recordings {action}", actor=getpass.getuser(), by="command", wait=True, **fields).result()


def moment(text: str | None, key: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except ValueError:
        raise InputError(f"{text!r} is no time", Where(key=key), "Write 2026-11-22T09:00") from None


def show(found: list[Found], options: argparse.Namespace) -> None:
    if options.json:
        for one in found:
            print(json.dumps(asdict(one), ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table()
    heads = ("recording 录音", "began 开始", "s 秒", "queue 队列", "agent 座席", "caller 主叫", "state 状态")
    for head in (*heads, "kept until 保留至"):
        en, _, zh = head.rpartition(" ")
        table.add_column(words.pick(options.lang, en, zh))
    for one in found:
        table.add_row(*cells(one, options.lang))
    Console().print(table)


def cells(one: Found, lang: words.Lang) -> list[str]:
    def day(t: float) -> str:
        return f"{datetime.fromtimestamp(t):%Y-%m-%d %H:%M}"

    state = words.pick(lang, "deleted", "已删除") if one.deleted_at is not None else one.state
    until = "" if one.keep_until is None else day(one.keep_until)
    if one.held_at is not None:
        until = words.pick(lang, "held: ", "保全：") + (one.held_why or "")
    seconds = "" if one.seconds is None else f"{one.seconds:.1f}"
    who = one.caller or one.entry or ""
    return [one.recording, day(one.began_at), seconds, one.queue or "", one.agent or "", who, state, until]


# ---- the actions


def find(index: Index, audit: AuditLog, options: argparse.Namespace) -> int:
    found = [one for wanted in wishes(options) for one in index.find(wanted, limit=LISTED_MAX)]
    found = sorted({one.recording: one for one in found}.values(), key=lambda one: one.revision)[:LISTED_MAX]
    asked = {name: str(getattr(options, name)) for name in FILTERS if getattr(options, name) and name != "number"}
    told(audit, "list", details={**asked, "found": len(found)})
    show(found, options)
    return 0


def wishes(options: argparse.Namespace) -> list[Wanted]:
    """What is looked for. A number may be the caller's, in clear or as a subject, or the one that was called."""
    from cordboard.campaigns.book import listed
    from cordboard.live.privacy import KeyStore, read_master
    from cordboard.live.tenants import keys_path, master_path
    from cordboard.recordings.index import Wanted

    plain: dict[str, Any] = {name: getattr(options, name) for name in FILTERS if name != "number"}
    plain |= {name: moment(plain[name], f"--{name}") for name in ("since", "until")}
    plain |= {"held": True if options.held else None, "deleted": None if options.deleted else False}
    if options.number is None:
        return [Wanted(**plain)]
    who: list[dict[str, Any]] = [{"person": options.number}, {"number": options.number}]
    path = keys_path(options.data, options.tenant)
    if path.exists():
        master = read_master(master_path(options.data, options.master))
        with closing(KeyStore(path, master, tenant=options.tenant)) as store:
            subject = store.known(options.number)
        if subject is not None:
            who.append({"person": subject, "entries": listed(options.data / options.tenant, subject)})
    return [Wanted(**plain, **one) for one in who]


@contextmanager
def opened(index: Index, audit: AuditLog, options: argparse.Namespace) -> Iterator[Reading]:
    """The recording that is asked for; it is in the audit log first."""
    from cordboard.recordings.container import Reading, read_identities
    from cordboard.recordings.index import path_of

    found = index.get(options.recording)
    told(audit, options.action, target=found.recording)
    reading = Reading(path_of(found, options.folder), read_identities(options.identity))
    if reading.name != found.recording:
        raise InputError(f'it holds recording "{reading.name}"', Where(str(reading.path)), "Somebody has moved files")
    yield reading
    if reading.state != "whole":
        en = {"cut": "it ends without its end: what was recorded up to there", "damaged": "changed from here on"}
        zh = {"cut": "录音未正常结束，以上为已录内容", "damaged": "此后内容已被改动"}
        print(words.pick(options.lang, en[reading.state], zh[reading.state]), file=sys.stderr)


def play(index: Index, audit: AuditLog, options: argparse.Namespace) -> int:
    from cordboard.recordings.container import wav_stream

    with opened(index, audit, options) as reading:
        try:
            player = subprocess.Popen(options.player.split(), stdin=subprocess.PIPE)
        except OSError as error:
            what = f"{options.player} does not start: {error.strerror}"
            raise InputError(what, Where(key="--player"), "Give --player, or export it") from None
        assert player.stdin is not None
        try:
            for part in wav_stream(reading):
                player.stdin.write(part)
            player.stdin.close()
        except BrokenPipeError:  # whoever listens has heard enough
            reading.state = "whole"
        player.wait()
    return 0 if reading.state == "whole" else 1


def export(index: Index, audit: AuditLog, options: argparse.Namespace) -> int:
    from cordboard.recordings.container import write_opus, write_wav

    opus = options.to.suffix in (".opus", ".ogg")
    if not opus and options.to.suffix != ".wav":
        what = f"{options.to.name!r} is no kind of file that is known"
        raise InputError(what, Where(key="--to"), "End it in .wav or .opus")
    with opened(index, audit, options) as reading:
        try:
            with open(options.to, "xb") as target:
                (write_opus if opus else write_wav)(reading, target)
        except OSError as error:
            raise InputError(f"can't be written: {error.strerror}", Where(str(options.to)), "Check the path") from error
    facts = {"file": str(options.to), "seconds": reading.seconds, "state": reading.state}
    facts["missing"] = reading.missing / reading.rate
    print(json.dumps(facts) if options.json else f"{options.to}: {reading.seconds:.1f} s, {reading.state}")
    return 0 if reading.state == "whole" else 1


def verify(index: Index, audit: AuditLog, options: argparse.Namespace) -> int:
    """Every file that should be in this folder is read to its end."""
    from cordboard.recordings.container import read_identities
    from cordboard.recordings.index import Wanted

    told(audit, "verify", target=options.recording or "")
    identities, after, bad = read_identities(options.identity), (0, ""), 0
    while page := index.find(Wanted(recording=options.recording, deleted=False), after=after):
        for one in page:
            if one.state in ("recording", "refused"):
                continue
            state, seconds = examined(one, options.folder, identities)
            # A node that died leaves a file without its end: that is as it should be.
            good = state == "whole" or (one.state == "lost" and state == "cut")
            bad += not good
            fact = {"recording": one.recording, "state": state, "seconds": seconds, "good": good}
            line = f"{'ok ' if good else 'BAD'} {one.recording} {state} {seconds:.1f} s"
            print(json.dumps(fact) if options.json else line)
        after = (page[-1].revision, page[-1].recording)
    return 1 if bad else 0


def examined(one: Found, folder: Path, identities: list[str]) -> tuple[str, float]:
    from cordboard.recordings.container import Reading
    from cordboard.recordings.index import path_of

    try:
        reading = Reading(path_of(one, folder), identities)
    except CordboardError as error:
        return str(error), 0.0
    for _ in reading:
        pass
    if reading.name != one.recording:
        return f'it holds recording "{reading.name}"', reading.seconds
    if reading.state == "whole" and one.seconds is not None and abs(reading.seconds - one.seconds) > 0.001:
        return f"its length is not that of the journal, {one.seconds:.1f} s", reading.seconds
    return reading.state, reading.seconds


def hold(index: Index, audit: AuditLog, options: argparse.Namespace) -> int:
    told(audit, "hold", target=options.recording, details={"why": options.why})
    show([index.hold(options.recording, getpass.getuser(), options.why)], options)
    return 0


def release(index: Index, audit: AuditLog, options: argparse.Namespace) -> int:
    told(audit, "release", target=options.recording)
    show([index.release(options.recording)], options)
    return 0


def purge(index: Index, audit: AuditLog, options: argparse.Namespace) -> int:
    if getattr(options, "try"):
        show([one for one in index.due() if one.held_at is None], options)
        return 0
    deleted, kept = 0, 0
    swept = index.sweep(options.folder)
    for one in index.due():
        if one.held_at is not None:
            kept += 1
            continue
        told(audit, "purge", target=one.recording)
        deleted += index.delete(one, options.folder, getpass.getuser())
    facts = {"deleted": deleted + swept, "held": kept}
    text = words.pick(options.lang, "Deleted: {deleted}; held: {held}", "已删除：{deleted}；保全中：{held}")
    print(json.dumps(facts) if options.json else text.format(**facts))
    return 0


ACTIONS = {
    "list": find, "play": play, "export": export, "verify": verify, "hold": hold, "release": release, "purge": purge,
}  # fmt: skip
