"""``cordboard campaign``: lists, start and pause, figures and results of the outbound campaigns of a running server."""

from __future__ import annotations

import argparse
import csv
import json
import sys
import uuid
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import grpc
from rich.console import Console
from rich.table import Table

from cordboard import words
from cordboard.campaigns.listing import ROWS_MAX, Row, read_rows
from cordboard.cli.actions import Action, Actions
from cordboard.client import Client, Tls
from cordboard.client.connection import call_error, metadata
from cordboard.errors import InputError, Where
from cordboard.services.names import resource
from cordboard.v1 import campaign_service_pb2 as pb

SERVER = "127.0.0.1:7443"
CALL_S = 60.0
FIELDS = (
    "entry", "number", "about", "state", "attempts", "outcome", "dialed", "answered", "ended", "agent",
)  # fmt: skip
HEADS = (
    ("campaign", "活动"), ("", ""), ("to dial", "待拨"), ("calling", "呼叫中"), ("done", "已完成"), ("dials", "拨号"),
    ("connected", "接通率"), ("dropped", "弃呼率"), ("why", "原因"),
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = Actions(parser)

    def placed(action: Action) -> Action:
        action.value("--server", "HOST:PORT", f"the server ({SERVER})", f"服务器（{SERVER}）", default=SERVER)
        action.value("--tenant", "NAME", "the tenant (default)", "租户（default）", default="default")
        action.value("--token", "FILE", "file of a token", "令牌文件", type=Path)
        action.value("--authority", "FILE", "PEM of who vouches for the server", "服务器证书机构（PEM）", type=Path)
        return action

    def named(name: str, en: str, zh: str) -> Action:
        action = placed(actions.add(name, en, zh))
        action.value("campaign", "CAMPAIGN", "the campaign", "外呼活动")
        return action

    named("start", "let a campaign dial", "开始拨号")
    named("pause", "dial nothing new", "暂停拨号")
    placed(actions.add("status", "all campaigns: lists, outcomes, rates, why", "全部活动：名单、结果、比率与原因"))
    given = named("import", "put the numbers of a CSV file into a list", "把 CSV 文件中的号码加入名单")
    given.value("list", "LIST.csv", "a head, one row a number", "CSV 文件（含表头）")
    block = placed(actions.add("block", "numbers that are never called", "禁止呼叫的号码"))
    block.value("list", "LIST.csv", "a head, one row a number", "CSV 文件（含表头）")
    for action in (given, block):
        action.value("--number", "COLUMN", "the column of numbers (number, phone)", "号码所在列", default="")
    given.value("--time-zone", "COLUMN", "the column of time zones (time_zone)", "时区所在列", default="")
    named("export", "every entry with what came of it, as CSV", "以 CSV 导出每条名单及其结果")

    taken = placed(actions.add("reload", "take over the server's file of calls as it is now", "采用修改后的呼叫文件"))
    taken.switch("--check", "say what would change, and change nothing", "只检查并列出差异")

    def person(name: str, en: str, zh: str) -> Action:
        action = placed(actions.add(name, en, zh))
        action.value("agent", "AGENT", "the agent", "座席")
        return action

    person("lead", "the lead that an agent is offered", "座席当前的线索")
    person("accept", "dial an agent's lead", "接受线索并拨号")
    skip = person("skip", "dial no lead for now", "跳过线索")
    skip.value("--reason", "TEXT", "why; nothing about the person", "原因（勿写个人信息）", default="")
    dial = person("dial", "dial a number for an agent", "为座席拨打号码")
    dial.value("number", "NUMBER", "the number", "号码")


def run(options: argparse.Namespace) -> int:
    """Status 0; 1 if rows of a list were left out."""
    token = options.token.read_text().strip() if options.token else None
    tls = Tls(options.authority, None, None) if options.authority else None
    with Client(options.server, tenant=options.tenant, token=token, tls=tls) as client:
        try:
            if options.action in DESK:
                return DESK[options.action](client, options)
            return ACTIONS[options.action](client.stubs.campaigns, options, metadata(token))
        except grpc.RpcError as error:
            raise call_error(error) from None


def _start(stub: Any, options: argparse.Namespace, meta: Any) -> int:
    name, request = resource(options.tenant, "campaigns", options.campaign), uuid.uuid4().hex
    if options.action == "start":
        done = stub.StartCampaign(pb.StartCampaignRequest(name=name, request_id=request), timeout=CALL_S, metadata=meta)
    else:
        done = stub.PauseCampaign(pb.PauseCampaignRequest(name=name, request_id=request), timeout=CALL_S, metadata=meta)
    if options.json:
        print(json.dumps({"campaign": options.campaign, "revision": done.applied.revision}))
    return 0


def _status(stub: Any, options: argparse.Namespace, meta: Any) -> int:
    parent = pb.ListCampaignsRequest(parent=f"tenants/{options.tenant}")
    found = list(stub.ListCampaigns(parent, timeout=CALL_S, metadata=meta).campaigns)
    if options.json:
        print(json.dumps([_record(one) for one in found], ensure_ascii=False))
        return 0
    table = Table()
    for en, zh in HEADS:
        table.add_column(words.pick(options.lang, en, zh))
    for one in found:
        state = ("running", "运行") if one.running else ("paused", "暂停")
        table.add_row(
            one.name.rpartition("/")[2], words.pick(options.lang, *state), str(one.ready_count), str(one.calling_count),
            str(one.done_count), str(sum(one.outcomes.values())), _percent(one, "connect_rate"),
            _percent(one, "drop_rate"), words.pick(options.lang, one.english_text, one.chinese_text),
        )  # fmt: skip
    Console().print(table)
    return 0


def _record(one: pb.Campaign) -> dict[str, Any]:
    rates = {key: getattr(one, key) if one.HasField(key) else None for key in ("connect_rate", "drop_rate")}
    windows = [
        {"rule": w.rule, "cap": w.cap, "dropped": w.dropped, "base": w.base, "budget": w.budget} for w in one.windows
    ]
    return {
        "campaign": one.name.rpartition("/")[2], "running": one.running, "asked": one.asked_mode, "mode": one.mode,
        "en": one.english_text, "zh": one.chinese_text, "ready": one.ready_count, "calling": one.calling_count,
        "done": one.done_count, "outcomes": dict(one.outcomes), **rates, "windows": windows,
    }  # fmt: skip


def _percent(one: pb.Campaign, key: Any) -> str:
    return f"{100 * getattr(one, key):.2f} %" if one.HasField(key) else "–"


def _import(stub: Any, options: argparse.Namespace, meta: Any) -> int:
    """In parts; what is wrong is told by line."""
    added, problems = 0, []
    for rows in _parts(options):
        messages = [
            pb.ListRow(line=row.line, number=row.number, time_zone=row.time_zone, about=row.about) for row in rows
        ]
        request = uuid.uuid4().hex
        if options.action == "import":
            name = resource(options.tenant, "campaigns", options.campaign)
            asked = pb.ImportEntriesRequest(request_id=request, name=name, rows=messages)
            done = stub.ImportEntries(asked, timeout=CALL_S, metadata=meta)
        else:
            block = pb.BlockNumbersRequest(request_id=request, parent=f"tenants/{options.tenant}", rows=messages)
            done = stub.BlockNumbers(block, timeout=CALL_S, metadata=meta)
        added += done.added_count
        problems += list(done.problems)
    if options.json:
        told = [{"line": one.line, "reason": one.reason} for one in problems]
        print(json.dumps({"added": added, "problems": told}))
    else:
        for one in problems:
            text = words.pick(options.lang, one.english_text, one.chinese_text)
            print(f"{options.list}:{one.line}: {text}", file=sys.stderr)
        en = f"{added} numbers added, {len(problems)} rows left out"
        print(words.pick(options.lang, en, f"新增 {added} 个号码，略过 {len(problems)} 行"))
    return 1 if problems else 0


def _parts(options: argparse.Namespace) -> Iterator[list[Row]]:
    zone = options.time_zone if options.action == "import" else ""
    try:
        with open(options.list, encoding="utf-8-sig", newline="") as stream:
            rows = read_rows(stream, options.list, options.number, zone)
            while part := list(islice(rows, ROWS_MAX)):
                yield part
    except UnicodeDecodeError as error:
        raise InputError("not valid UTF-8", Where(options.list), "Save the file as UTF-8") from error


def _export(stub: Any, options: argparse.Namespace, meta: Any) -> int:
    name = resource(options.tenant, "campaigns", options.campaign)
    writer = csv.writer(sys.stdout)
    if not options.json:
        writer.writerow(FIELDS)
    for response in stub.ExportEntries(pb.ExportEntriesRequest(name=name), metadata=meta):
        for one in response.entries:
            times = [
                getattr(one, key).ToJsonString() if one.HasField(key) else ""
                for key in ("dial_time", "answer_time", "end_time")
            ]
            row = (one.entry, one.number, one.about, one.state, one.attempt_count, one.outcome, *times, one.agent)
            if options.json:
                print(json.dumps(dict(zip(FIELDS, row, strict=True)), ensure_ascii=False))
            else:
                writer.writerow(row)
    return 0


def _lead(client: Client, options: argparse.Namespace) -> int:
    lead = client.lead(options.agent)
    campaign = lead.campaign.rpartition("/")[2]
    if options.json:
        record = {"campaign": campaign, "entry": lead.entry, "attempt": lead.attempt, "number": lead.number,
                  "about": lead.about, "time_zone": lead.time_zone,
                  "expires": lead.expire_time.ToJsonString()}  # fmt: skip
        print(json.dumps(record, ensure_ascii=False))
        return 0
    en = f"{campaign} {lead.entry}: {lead.number} ({lead.time_zone}), attempt {lead.attempt}. {lead.about}"
    zh = f"{campaign} {lead.entry}：{lead.number}（{lead.time_zone}），第 {lead.attempt} 次。{lead.about}"
    print(words.pick(options.lang, en, zh))
    return 0


def _decide(client: Client, options: argparse.Namespace) -> int:
    lead = client.lead(options.agent)
    campaign = lead.campaign.rpartition("/")[2]
    if options.action == "accept":
        client.accept_lead(options.agent, campaign, lead.entry)
    else:
        client.skip_lead(options.agent, campaign, lead.entry, options.reason)
    return 0


def _dial(client: Client, options: argparse.Namespace) -> int:
    done = client.dial_number(options.agent, options.number)
    if options.json:
        print(json.dumps({"campaign": done.campaign, "entry": done.entry}))
    return 0


def _reload(client: Client, options: argparse.Namespace) -> int:
    """What changes is told first; the change is made only if nobody else has changed anything since."""
    found = client.check_calls()
    etag = found.etag
    if not found.errors and not options.check:
        etag = client.reload_calls(etag=found.etag).etag
    zh = options.lang == "zh"
    changes = [one.chinese_text if zh else one.english_text for one in found.changes]
    warnings = [*(found.chinese_warnings if zh else found.warnings)]
    errors = [
        f"{one.line} [{one.key}]: " + (f"{one.chinese_what}。{one.chinese_hint}" if zh else f"{one.what}. {one.hint}")
        for one in found.errors
    ]
    if options.json:
        record = {"errors": errors, "warnings": warnings, "changes": changes, "etag": etag}
        print(json.dumps(record, ensure_ascii=False))
    else:
        for line in (*errors, *warnings):
            print(line, file=sys.stderr)
        for line in changes:
            print(line)
    return 1 if errors else 0


DESK = {"reload": _reload, "lead": _lead, "accept": _decide, "skip": _decide, "dial": _dial}
ACTIONS = {
    "start": _start,
    "pause": _start,
    "status": _status,
    "import": _import,
    "block": _import,
    "export": _export,
}
