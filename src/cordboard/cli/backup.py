"""``cordboard backup``: everything that was acknowledged, of a running server, sealed in one file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from cordboard import words
from cordboard.errors import InputError, Where

SECRET_BYTES_MAX = 64 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    lang = parser.get_default("lang")
    pick = words.pick
    parser.add_argument("data", metavar="DATA_DIR", help=pick(lang, "the data folder of the server", "服务器数据目录"))
    parser.add_argument("--to", required=True, metavar="FILE", help=pick(lang, "the file to write", "备份文件"))
    database = pick(lang, "journals are in PostgreSQL there", "日志所在的 PostgreSQL 数据库")
    parser.add_argument("--database", metavar="URL", default="", help=database)
    records = pick(lang, "where records are, if the server was told", "记录所在处（若服务器另有指定）")
    parser.add_argument("--records", metavar="PLACE", default="", help=records)
    recipient = pick(lang, "seal it for this age recipient; may be given more than once", "age 接收者，可多次给出")
    parser.add_argument("--recipient", metavar="age1...", action="append", default=[], help=recipient)
    recipients = pick(lang, "recipients, one a line", "接收者列表文件")
    parser.add_argument("--recipients-file", metavar="FILE", help=recipients)
    parser.add_argument("--passphrase-file", metavar="FILE", help=pick(lang, "seal it with this", "口令文件"))
    parser.add_argument("--plain", action="store_true", help=pick(lang, "do not seal it", "不加密"))
    quick = pick(lang, "count no records: a drill then compares the states alone", "不统计记录数")
    parser.add_argument("--quick", action="store_true", help=quick)


def run(options: argparse.Namespace) -> int:
    from cordboard.live.backup import take
    from cordboard.live.backup_file import Seal
    from cordboard.live.settings import Settings

    recipients = [*options.recipient, *lines_of(options.recipients_file)]
    seal = Seal(tuple(recipients), passphrase_of(options.passphrase_file), options.plain)
    settings = Settings(data=options.data, database=options.database)
    taken = take(settings, Path(options.to), seal, replay=not options.quick, records_at=options.records)
    tenants = taken.manifest["tenants"]
    if options.json:
        record = {"file": options.to, "bytes": taken.bytes, "seconds": round(taken.seconds, 3)}
        print(json.dumps({**record, "copied_s": round(taken.copied_s, 3), "tenants": tenants}, ensure_ascii=False))
        return 0
    for name, told in tenants.items():
        text = f"{name}: up to revision {told['revision']}", f"{name}：至修订 {told['revision']}"
        print(words.pick(options.lang, *text))
    text = (
        f"{options.to}: {taken.bytes} bytes in {taken.seconds:.1f} s. Try it out: cordboard restore --verify",
        f"{options.to}：{taken.bytes} 字节，用时 {taken.seconds:.1f} 秒。请演练：cordboard restore --verify",
    )
    print(words.pick(options.lang, *text))
    return 0


def text_of(path: str) -> str:
    """A small text file."""
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read(SECRET_BYTES_MAX)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"can't be read: {error}", Where(path), "Check the path") from error


def lines_of(path: str | None) -> list[str]:
    """The lines of a file of keys, without comments."""
    lines = [] if path is None else [line.strip() for line in text_of(path).splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def passphrase_of(path: str | None) -> str:
    """The first line of a file."""
    if path is None:
        return ""
    found = text_of(path).partition("\n")[0].rstrip("\r")
    if not found:
        raise InputError("there is no passphrase", Where(path), "Write it into the first line")
    return found
