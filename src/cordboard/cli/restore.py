"""``cordboard restore``: unpack a backup, or try out whether it can be restored."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from cordboard import words
from cordboard.cli.backup import lines_of, passphrase_of

if TYPE_CHECKING:
    from cordboard.live import backup


def add_arguments(parser: argparse.ArgumentParser) -> None:
    lang = parser.get_default("lang")
    pick = words.pick
    parser.add_argument("backup", metavar="FILE", help=pick(lang, "the backup", "备份文件"))
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--to", metavar="DIR", help=pick(lang, "a new data folder", "新的数据目录"))
    database = pick(lang, "PostgreSQL that has none of its tenants", "不含这些租户的 PostgreSQL")
    what.add_argument("--to-database", metavar="URL", help=database)
    verify = pick(lang, "a drill: restore it elsewhere, replay, compare with the manifest", "演练：恢复、回放并比对")
    what.add_argument("--verify", action="store_true", help=verify)
    identity = pick(lang, "file with age identities (AGE-SECRET-KEY-1...)", "age 私钥文件")
    parser.add_argument("--identity", metavar="FILE", help=identity)
    parser.add_argument("--passphrase-file", metavar="FILE", help=pick(lang, "its passphrase", "口令文件"))


def run(options: argparse.Namespace) -> int:
    from cordboard.live import backup
    from cordboard.live.backup_file import Opener

    opener = Opener(tuple(lines_of(options.identity)), passphrase_of(options.passphrase_file))
    file = Path(options.backup)
    if options.verify:
        return verified(backup.drill(file, opener), options)
    if options.to is not None:
        manifest = backup.restore(file, opener, Path(options.to))
    else:
        manifest = backup.restore_database(file, opener, options.to_database)
    revisions = {name: told["revision"] for name, told in manifest["tenants"].items()}
    if options.json:
        print(json.dumps({"restored": revisions}, ensure_ascii=False))
    else:
        for name, revision in revisions.items():
            print(words.pick(options.lang, f"{name}: up to revision {revision}", f"{name}：至修订 {revision}"))
    return 0


def verified(drill: backup.Drill, options: argparse.Namespace) -> int:
    """What a drill found; status 1 if the backup is not good."""
    back = drill.unpack_s + drill.recover_s
    if options.json:
        record = {"good": not drill.differences, "differences": drill.differences, "rto_s": round(back, 3)}
        record |= {"unpack_s": round(drill.unpack_s, 3), "recover_s": round(drill.recover_s, 3)}
        record |= {"replay_s": round(drill.replay_s, 3), "tenants": drill.manifest["tenants"]}
        print(json.dumps(record, ensure_ascii=False))
        return int(bool(drill.differences))
    for difference in drill.differences:
        print(difference)
    for name, told in drill.manifest["tenants"].items():
        text = f"{name}: revision {told['revision']}", f"{name}：修订 {told['revision']}"
        print(words.pick(options.lang, *text))
    verdict = ("not good", "不可用") if drill.differences else ("good", "可用")
    text = (
        f"The backup is {verdict[0]}. Back at work after {back:.1f} s; replayed in {drill.replay_s:.1f} s",
        f"备份{verdict[1]}。恢复用时 {back:.1f} 秒；从头回放用时 {drill.replay_s:.1f} 秒",
    )
    print(words.pick(options.lang, *text))
    return int(bool(drill.differences))
