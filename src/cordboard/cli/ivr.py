"""``cordboard ivr``: flows are checked and tested, and their prompts spoken."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from cordboard import words
from cordboard.calls.flow import Flow
from cordboard.calls.flow_check import check_flow
from cordboard.calls.flow_reader import flow_text, parse_flow
from cordboard.center import Center, load_center
from cordboard.cli.check import error_record
from cordboard.errors import CallsError, Where

PROMPTS = Path("prompts")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    lang = parser.get_default("lang")
    todo = words.pick(
        lang,
        "check: what is wrong; test: run the [[tests]]; speak: make missing prompts with espeak-ng",
        "check：查错；test：运行 [[tests]]；speak：用 espeak-ng 合成缺少的提示音",
    )
    parser.add_argument("action", choices=("check", "test", "speak"), help=todo)
    parser.add_argument("flows", nargs="+", metavar="FLOW.toml", help=words.pick(lang, "files of flows", "流程文件"))
    center = words.pick(lang, "the center, whose queues must be there", "中心配置文件，其中须有所用队列")
    parser.add_argument("--center", metavar="CENTER.toml", help=center)
    prompts = words.pick(lang, "folder of the prompts (speak: prompts)", "提示音文件夹（speak 默认 prompts）")
    parser.add_argument("--prompts", metavar="DIR", type=Path, help=prompts)
    espeak = words.pick(lang, "the program that speaks (espeak-ng)", "语音合成程序（espeak-ng）")
    parser.add_argument("--espeak", metavar="PROGRAM", default="espeak-ng", help=espeak)


def run(options: argparse.Namespace) -> int:
    """Status 0: nothing found, all tests passed, all prompts there; 1: something found or failed; 2: a file can't be
    used."""
    center = None if options.center is None else load_center(options.center)
    read: list[tuple[str, str, Flow]] = []
    errors: list[CallsError] = []
    for file in options.flows:
        try:
            text = flow_text(file)
            read.append((file, text, parse_flow(text, file, center)))
        except OSError as error:
            errors.append(CallsError(f"can't be read: {error.strerror}", Where(file), "Check the path"))
        except UnicodeDecodeError:
            errors.append(CallsError("not valid UTF-8", Where(file), "Save the file as UTF-8"))
        except CallsError as error:
            errors += [one for one in error.errors or (error,) if isinstance(one, CallsError)]
    if errors:
        if options.json:
            told = [error_record(error, options.lang) for error in errors]
            print(json.dumps({"ok": False, "errors": told}, ensure_ascii=False))
        else:
            print("\n".join(error.text(options.lang) for error in errors), file=sys.stderr)
        return 2
    action = {"check": _check, "test": _test, "speak": _speak}[options.action]
    return action(options, read, center)


def _check(options: argparse.Namespace, read: list[tuple[str, str, Flow]], center: Center | None) -> int:
    lang = options.lang
    findings = [finding for file, text, flow in read for finding in check_flow(flow, text, file, options.prompts)]
    if options.json:
        told = [error_record(finding, lang) for finding in findings]
        print(json.dumps({"ok": not findings, "findings": told}, ensure_ascii=False))
        return 1 if findings else 0
    for finding in findings:
        print(finding.text(lang))
    steps, flows, n = sum(len(flow.steps) for _, _, flow in read), len(read), len(findings)
    if findings:
        print(words.pick(lang, f"{n} found in {steps} steps", f"{steps} 个步骤中发现 {n} 处"))
    else:
        en, zh = f"nothing found: {flows} flows, {steps} steps", f"未发现问题：{flows} 个流程，{steps} 个步骤"
        print(words.pick(lang, en, zh))
    return 1 if findings else 0


def _test(options: argparse.Namespace, read: list[tuple[str, str, Flow]], center: Center | None) -> int:
    from cordboard.calls.flow_test import run_tests  # the compiled core, only when something is tested

    lang = options.lang
    outcomes = [(file, outcome) for file, _, flow in read for outcome in run_tests(flow, center)]
    failed = [(file, outcome) for file, outcome in outcomes if outcome.wrong]
    if options.json:
        rows = [{"file": f, "test": o.name, "ok": not o.wrong, "got": o.got, "expected": o.wrong} for f, o in outcomes]
        print(json.dumps({"ok": bool(outcomes) and not failed, "tests": rows}, ensure_ascii=False))
        return 0 if outcomes and not failed else 1
    for file, outcome in failed:
        for key, expected in outcome.wrong.items():
            got = outcome.got.get(key)
            print(
                words.pick(
                    lang,
                    f'{file}: test "{outcome.name}": {key} is {_shown(got)}, expected {_shown(expected)}',
                    f"{file}：测试“{outcome.name}”：{key} 为 {_shown(got)}，应为 {_shown(expected)}",
                )
            )
    done, n = len(outcomes), len(failed)
    if not outcomes:
        print(words.pick(lang, "there are no tests: write [[tests]]", "没有测试：请写 [[tests]]"))
    else:
        print(words.pick(lang, f"{done} tests, {n} failed", f"{done} 个测试，{n} 个未通过"))
    return 0 if outcomes and not failed else 1


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=list)


def _speak(options: argparse.Namespace, read: list[tuple[str, str, Flow]], center: Center | None) -> int:
    from cordboard.calls import speaking  # numpy, only when something is spoken

    folder = options.prompts or PROMPTS
    made: list[str] = []
    for _, _, flow in read:
        for language, name, text in list(speaking.missing(flow, folder)):
            speaking.write_wav(folder / language / f"{name}.wav", speaking.speak(text, language, options.espeak))
            made.append(f"{language}/{name}.wav")
    lacking = [found for file, text, flow in read for found in check_flow(flow, text, file, folder) if _lacks(found)]
    if options.json:
        told = [error_record(one, options.lang) for one in lacking]
        print(json.dumps({"ok": not lacking, "made": made, "missing": told}, ensure_ascii=False))
    else:
        for one in lacking:
            print(one.text(options.lang), file=sys.stderr)
        en, zh = f"{len(made)} prompts spoken to {folder}", f"已合成 {len(made)} 条提示音到 {folder}"
        print(words.pick(options.lang, en, zh))
    return 1 if lacking else 0


def _lacks(found: CallsError) -> bool:
    return found.what.startswith("the folder of prompts has no")
