"""The command ``cordboard``. One module a command in this folder; each is loaded only when it is called.

A command module has ``add_arguments(parser)`` and ``run(options) -> int`` (the exit status).
``options`` always has ``lang`` and ``json``. Errors that cordboard raises on purpose end with status 2 and one line.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from cordboard import words
from cordboard.errors import CordboardError, MissingExtraError

COMMANDS: dict[str, tuple[str, str]] = {
    "replay": ("feed a journal to a center, write its effects", "把流水日志送入中心，输出结果"),
    "explain": ("why a contact got its agent, or nobody", "解释某个联系为何分给某座席，或为何无人接"),
    "check": ("check a center file", "检查中心配置文件"),
    "simulate": ("simulate a center", "仿真一个中心"),
    "compare": ("compare two centers on the same contacts", "用同一批联系比较两个中心"),
    "staff": ("how many agents a load needs", "计算所需座席数"),
    "pace": ("study the pacing of a campaign", "研究外呼节奏"),
    "learn": ("train and judge an answer model", "训练并评估接听模型"),
    "import": ("make a center and a journal of other systems' records", "从其他系统的记录生成中心和日志"),
    "journal": ("show and export the journal of a live center", "查看、导出运行中心的日志"),
    "audit": ("check the audit log, and read it", "校验并查看审计日志"),
    "certs": ("certificates for TLS, of an authority of one's own", "自建机构的 TLS 证书"),
    "privacy": ("export and erase persons, care for their keys", "导出、删除个人资料，管理密钥"),
    "token": ("keys, and the tokens that callers show", "密钥与调用者令牌"),
    "records": ("rebuild, show and export the records of a journal", "重建、显示、导出记录"),
    "recordings": ("find, play, verify, hold and delete recordings", "查找、播放、校验、保全与删除录音"),
    "campaign": ("outbound campaigns: lists, start, pause, figures", "外呼活动：名单、开始、暂停、指标"),
    "media": ("a media node, which places and answers calls", "媒体节点：拨打和接听电话"),
    "ivr": ("check, test and speak flows (IVR)", "检查、测试流程（IVR），合成提示音"),
    "serve": ("a center at work, with its gRPC services", "运行中心及其 gRPC 服务"),
    "backup": ("back up a running server into one sealed file", "备份运行中的服务器"),
    "restore": ("restore a backup, or try out whether it can be", "恢复备份，或演练恢复"),
    "webhooks": ("how webhooks are, and their dead letters", "Webhook 状态与死信"),
    "demo": ("a center at work for one simulated day", "演示：一个中心的一天"),
}


def build_parser(lang: words.Lang, chosen: str | None) -> argparse.ArgumentParser:
    """The parser, with the arguments of the chosen command alone: the others' modules are not loaded."""
    parser = argparse.ArgumentParser(
        prog="cordboard", description=words.pick(lang, "A contact-center engine.", "联络中心引擎。")
    )
    parser.add_argument("--version", action="store_true", help=words.pick(lang, "print the version", "显示版本"))
    parser.add_argument("--lang", choices=words.LANGS, default=lang, help=words.pick(lang, "language", "语言"))
    sub = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, (en, zh) in COMMANDS.items():
        text = words.pick(lang, en, zh)
        one = sub.add_parser(name, help=text, description=text)
        one.add_argument("--lang", choices=words.LANGS, default=lang, help=words.pick(lang, "language", "语言"))
        one.add_argument("--json", action="store_true", help=words.pick(lang, "print JSON", "以 JSON 输出"))
        if name == chosen:
            command_module(name).add_arguments(one)
    return parser


# Commands that live above the library, by name alone: (module, the extra that it needs).
ABOVE: dict[str, tuple[str, str]] = {
    "campaign": ("cordboard.services.cli.campaign", "serve"),
    "media": ("cordboard.services.cli.media", "serve"),
    "serve": ("cordboard.services.cli.serve", "serve"),
}


def command_module(name: str):  # type: ignore[no-untyped-def]
    """The module of a command (``import`` is a keyword, so its module is ``import_``). MissingExtraError where it needs
    a library that is not installed."""
    if name not in ABOVE:
        return importlib.import_module(f"cordboard.cli.{'import_' if name == 'import' else name}")
    module, extra = ABOVE[name]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), extra) from None


def asked_lang(argv: Sequence[str]) -> words.Lang:
    """The language, which the help texts need before the arguments are parsed."""
    for i, arg in enumerate(argv):
        value = arg.removeprefix("--lang=") if arg.startswith("--lang=") else ""
        if arg == "--lang" and i + 1 < len(argv):
            value = argv[i + 1]
        if value in words.LANGS:
            return "zh" if value == "zh" else "en"
    return words.default_lang()


def discard_output() -> None:
    """What is still to be written goes nowhere, so that the end of the process does not try again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the entry point of the console script."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if sys.stderr is None:  # closed by the caller; what is said there must not end up among the output
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  (for as long as the process runs)
    lang = asked_lang(argv)
    chosen = next((arg for arg in argv if arg in COMMANDS), None)
    try:
        parser = build_parser(lang, chosen)
    except MissingExtraError as error:
        print(f"cordboard: {error}", file=sys.stderr)
        return 2
    options = parser.parse_args(argv)
    if options.version:
        from cordboard import __version__

        print(f"cordboard {__version__}")
        return 0
    if options.command is None:
        parser.print_help()
        return 0
    try:
        status = int(command_module(options.command).run(options))
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where a full disk can still be told
        return status
    except CordboardError as error:
        print(f"cordboard: {error.text(lang)}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output went away, e.g. `| head`
        discard_output()
        return 1
    except OSError as error:  # a disk that is full, a file that can't be read on
        file = f"{error.filename}: " if error.filename else ""
        text = error.strerror or str(error)
        failed = words.pick(
            lang,
            f"reading or writing failed: {text}. What is written is not whole",
            f"读取或写入失败：{text}。已写出的内容不完整",
        )
        print(f"cordboard: {file}{failed}", file=sys.stderr)
        discard_output()
        return 2
    except KeyboardInterrupt:
        return 130
