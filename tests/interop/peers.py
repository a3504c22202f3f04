"""baresip and Kamailio as processes, from build/debian/interop (see .ci/interop)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "build" / "debian" / "interop"
LIBRARIES = next(iter(FOLDER.glob("usr/lib/*-linux-gnu")), FOLDER)
BARESIP, KAMAILIO = FOLDER / "usr/bin/baresip", FOLDER / "usr/sbin/kamailio"
MODULES = ("stdio", "g711", "ausine", "aubridge", "srtp", "dtls_srtp", "uuid", "account", "menu", "ctrl_tcp")


def needs(program: Path) -> None:
    if not program.exists():
        pytest.skip(f"{program.name} is not there: .ci/interop says why")


def environment() -> dict[str, str]:
    paths = f"{LIBRARIES}:{LIBRARIES / 'kamailio'}:{FOLDER / 'lib' / LIBRARIES.name}"
    return dict(os.environ) | {"LD_LIBRARY_PATH": paths}


class Process:
    """One that writes to a log, and is killed at the end."""

    def __init__(self, folder: Path, command: list[str]) -> None:
        self.log = folder / f"{Path(command[0]).name}.log"
        with self.log.open("w") as output:
            self.process = subprocess.Popen(
                command, env=environment(), stdout=output, stderr=subprocess.STDOUT, cwd=folder
            )

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


class Baresip(Process):
    """``account``: as its file of accounts has it, after the address. It plays a tone, and is told what to do by TCP."""

    def __init__(self, folder: Path, account: str, sip_port: int, control_port: int, tls: str = "") -> None:
        needs(BARESIP)
        (folder / "accounts").write_text(account + "\n")
        (folder / "config").write_text(
            f"sip_listen 127.0.0.1:{sip_port}\n{tls}audio_source ausine,440\naudio_player aubridge,none\naudio_alert aubridge,none\n"
            f"net_interface 127.0.0.1\nausrc_srate 48000\nauplay_srate 48000\nausrc_channels 2\nauplay_channels 1\nctrl_tcp_listen 127.0.0.1:{control_port}\n"
            f"rtp_ports 20000-29999\nmodule_path {LIBRARIES.parent / 'baresip/modules'}\n"
            + "".join(f"module{'_app' if name in MODULES[-3:] else ''} {name}.so\n" for name in MODULES)
        )
        super().__init__(folder, [str(BARESIP), "-f", str(folder), "-v"])
        for _ in range(100):
            try:
                self.control = socket.create_connection(("127.0.0.1", control_port), 0.2)
                break
            except OSError:
                assert self.process.poll() is None, self.log.read_text()[-2000:]
                time.sleep(0.1)

    def do(self, command: str, parameter: str = "") -> None:
        text = json.dumps({"command": command, "params": parameter})
        self.control.sendall(f"{len(text)}:{text},".encode())

    def close(self) -> None:
        self.control.close()
        super().close()


class Kamailio(Process):
    """A proxy between a node and whoever else: what comes from the node goes to the peer, all else to the node."""

    def __init__(self, folder: Path, port: int, node: int, peer: int) -> None:
        needs(KAMAILIO)
        modules = "".join(
            f'loadmodule "{name}.so"\n' for name in ("sl", "tm", "rr", "pv", "maxfwd", "siputils", "textops")
        )
        (folder / "kamailio.cfg").write_text(
            f"""#!KAMAILIO
debug=1
log_stderror=yes
fork=no
children=1
disable_tcp=yes
listen=udp:127.0.0.1:{port}
mpath="{LIBRARIES}/kamailio/modules"
{modules}
request_route {{
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (has_totag()) {{
        if (loose_route()) {{ t_relay(); exit; }}
        if ($sp != {node}) {{ $du = "sip:127.0.0.1:{node}"; t_relay(); }}
        exit;
    }}
    if (is_method("CANCEL")) {{
        if (t_check_trans()) {{ t_relay(); }}
        exit;
    }}
    record_route();
    if ($sp == {node}) {{ $du = "sip:127.0.0.1:{peer}"; }} else {{ $du = "sip:127.0.0.1:{node}"; }}
    t_relay();
}}
"""
        )
        super().__init__(
            folder, [str(KAMAILIO), "-f", str(folder / "kamailio.cfg"), "-m", "32", "-M", "8", "-Y", str(folder)]
        )
        for _ in range(100):
            assert self.process.poll() is None, self.log.read_text()[-2000:]
            if f":{port:04X} " in Path("/proc/net/udp").read_text():
                break
            time.sleep(0.1)
