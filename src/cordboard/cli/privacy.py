"""``cordboard privacy``: export and erase a person, keep to a rule of retention, care for the keys.

Every use is audited, in a log of its own beside the server's (``audit-commands``), since a server may be at work.
"""

from __future__ import annotations

import argparse
import getpass
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cordboard import words
from cordboard.cli.actions import Action, Actions
from cordboard.errors import InputError, Where

if TYPE_CHECKING:
    from cordboard.recordings.index import Index

ANSWERS = {
    "export": ("", ""),
    "erase": (
        "Erased: {subject}, recordings: {recordings}; {held} are held and stay",
        "已删除：{subject}，录音 {recordings} 个；另有 {held} 个保全中",
    ),
    "retain": ("Erased: {erased} subjects", "已删除 {erased} 人"),
    "rotate": ("Wrapped anew: {subjects} subjects", "已重新封装 {subjects} 人的密钥"),
    "backup": ("Written: {written}; dropped: {dropped}", "已写入：{written}；已删除：{dropped}"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = Actions(parser)
    key = actions.add("key", "make a master key", "生成主密钥")
    key.value("file", "FILE", "where it is to be", "输出文件", type=Path)

    def placed(action: Action) -> Action:
        action.value("--data", "FOLDER", "the server's data folder", "服务器数据目录", type=Path, required=True)
        action.value("--tenant", "NAME", "the tenant (default)", "租户（default）", default="default")
        action.value("--master", "FILE", "master key (FOLDER/master.key)", "主密钥（FOLDER/master.key）", type=Path)
        action.value("--audit-keys", "KEYS.jwks", "signs the audit log", "审计日志签名密钥", type=Path)
        return action

    export = placed(actions.add("export", "all that is kept about a customer, as JSON", "以 JSON 导出某客户的全部资料"))
    erase = placed(actions.add("erase", "erase a customer, for ever", "永久删除某客户"))
    retain = placed(actions.add("retain", "erase who was not seen for long", "删除久未出现的客户"))
    for action in (export, erase, retain):
        action.value("--database", "URL", "journals are in PostgreSQL there", "日志所在数据库", default="")
        action.value("--recordings", "FOLDER", "where recordings are, if here", "本机录音目录", type=Path)
    for action in (export, erase):
        action.value("--customer", "TEXT", "the customer", "客户", required=True)
    retain.value("--days", "N", "how many days are long", "天数", type=float, required=True)
    rotate = placed(actions.add("rotate", "change the master key of a stopped server", "更换主密钥（须先停服）"))
    rotate.value("new", "FILE", "the new key; made if it is not there", "新主密钥文件（不存在则生成）", type=Path)
    backup = placed(actions.add("backup", "copy the keys, drop old copies", "备份密钥并删除旧备份"))
    backup.value("folder", "FOLDER", "where the copies are, apart from others", "备份目录", type=Path)
    backup.value("--keep", "DAYS", "how long a copy is kept (7)", "保留天数（7）", type=float, default=7.0)


def run(options: argparse.Namespace) -> int:
    """Status 0; 1 if there is no such customer."""
    from cordboard.live.audit import AuditLog
    from cordboard.live.privacy import KeyStore, new_master, read_master
    from cordboard.live.settings import checked_tenant
    from cordboard.live.tenants import audit_key, keys_path, master_path

    if options.action == "key":
        new_master(options.file)
        print(json.dumps({"key": str(options.file)}) if options.json else str(options.file))
        return 0
    checked_tenant(options.tenant)
    path = keys_path(options.data, options.tenant)
    if not path.exists():
        raise InputError("there is no key store", Where(str(path)), "Is it the data folder of a server with privacy?")
    store = KeyStore(path, read_master(master_path(options.data, options.master)), tenant=options.tenant)
    try:
        key = audit_key(options.data, options.audit_keys)
        audit = AuditLog(options.data / options.tenant / "audit-commands", key, tenant=options.tenant)
        try:
            found = do(store, options, lambda **fields: told(audit, options.action, **fields))
        finally:
            audit.close()
    finally:
        store.close()
    if found is None:
        print(json.dumps({}) if options.json else words.pick(options.lang, "no such customer", "无此客户"))
        return 1
    en, zh = ANSWERS[options.action]
    text = words.pick(options.lang, en, zh).format(**found) if en and not options.json else ""
    print(text or json.dumps(found, ensure_ascii=False, indent=None if options.json else 2))
    return 0


def told(audit: Any, action: str, **fields: Any) -> None:
    """Record what is done, and be sure of it: without a record nothing is handed out."""
    audit.record(f"privacy {action}", actor=getpass.getuser(), by="command", wait=True, **fields).result()


def do(store: Any, options: argparse.Namespace, tell: Callable[..., None]) -> dict[str, Any] | None:
    """What the action gives; None for a customer who is not there."""
    from cordboard.campaigns.book import listed
    from cordboard.live.privacy import Cipher, new_master, read_master

    if options.action == "retain":
        erased = store.erase_unseen(time.time() - options.days * 86400).result()
        with recordings(options) as index:
            for subject in erased:
                if index is not None:
                    entries = listed(options.data / options.tenant, subject)
                    index.erase(subject, options.recordings, getpass.getuser(), entries)
        tell(details={"erased": len(erased), "days": options.days})
        return {"erased": len(erased)}
    if options.action == "rotate":
        fresh: Cipher = read_master(options.new) if options.new.exists() else new_master(options.new)
        tell()
        return {"subjects": store.rewrap(fresh)}
    if options.action == "backup":
        written, dropped = store.backup(options.folder, options.keep)
        tell(details={"dropped": len(dropped)})
        return {"written": str(written), "dropped": len(dropped)}
    subject = store.known(options.customer)
    tell(target=subject or "", outcome="OK" if subject else "NOT_FOUND")
    if subject is None:
        return None
    with recordings(options) as index:
        if options.action == "export":
            found = [] if index is None else index.of(subject, listed(options.data / options.tenant, subject))
            return exported(store, options, subject) | {"recordings": [asdict(one) for one in found]}
        # First, so that who is interrupted can begin again: the customer is known until the end.
        who = getpass.getuser()
        gone = index and index.erase(subject, options.recordings, who, listed(options.data / options.tenant, subject))
        deleted, held = gone or (0, 0)
        store.erase(subject).result()
    return {"subject": subject, "recordings": deleted, "held": held}


@contextmanager
def recordings(options: argparse.Namespace) -> Iterator[Index | None]:
    """The index of recordings; None where no records are kept."""
    from cordboard.live import Settings
    from cordboard.live.beside import records_place

    place, schema = records_place(Settings(data=options.data, database=options.database), options.tenant)
    if not options.database and not Path(place).exists():
        yield None
        return
    from cordboard.recordings.index import Index
    from cordboard.records import Records

    with Records(place, schema) as records:
        yield Index(records)


def exported(store: Any, options: argparse.Namespace, subject: str) -> dict[str, Any]:
    """All that is kept about a subject."""
    from cordboard.live import Settings
    from cordboard.live.core import event_of
    from cordboard.live.privacy import about_subject, opened_event
    from cordboard.live.store import make_store

    journal = make_store(Settings(data=options.data, database=options.database), options.tenant, read_only=True)
    journal.open()
    try:
        events = about_subject((event_of(row) | {"revision": row.revision} for row in journal.rows()), subject)
    finally:
        journal.close()
    created, seen = store.seen(subject)
    facts = {"tenant": options.tenant, "customer": store.customer(subject), "subject": subject}
    return facts | {"created": created, "seen": seen, "events": [opened_event(event, store) for event in events]}
