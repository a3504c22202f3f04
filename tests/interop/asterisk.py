"""Asterisk 22 as a process in its chroot, build/debian/asterisk (see .ci/asterisk): people and queues at its extensions."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
import uuid
from pathlib import Path

import numpy as np
import pytest

from tests.interop.peers import FOLDER
from tests.sipp import free_port

ROOT = FOLDER.parent / "asterisk"
PROGRAM = "/usr/sbin/asterisk"
CODECS = ("ulaw", "alaw", "g722", "opus")
PATIENCE_S = 60.0
GENERAL = """[directories]
astetcdir => {home}
astmoddir => {modules}
astvarlibdir => {home}
astdbdir => {home}
astkeydir => {home}
astdatadir => /usr/share/asterisk
astagidir => {home}
astspooldir => {home}
astrundir => {home}
astlogdir => {home}
[options]
languageprefix = yes
"""
# 9 and a frequency is a person who says that tone; what comes is written to a file of the person's name.
EXTENSIONS = """[general]
[people]
exten => _9XXX.,1,Answer()
 same => n,MixMonitor({home}/mixed-${{EXTEN}}.wav,r({home}/heard-${{EXTEN}}.wav))
 same => n,Playtones(${{EXTEN:1}})
 same => n,Wait(600)
exten => echo,1,Answer()
 same => n,Echo()
exten => early,1,Progress()
 same => n,Playtones(1100)
 same => n,Wait(2)
 same => n,Answer()
 same => n,Echo()
exten => keys,1,Answer()
 same => n,Read(PRESSED,,4,,1,20)
 same => n,SendDTMF(${{PRESSED}},250,120)
 same => n,Wait(600)
exten => refer,1,Answer()
 same => n,Transfer(PJSIP/nobody)
 same => n,Log(NOTICE,transfer ${{TRANSFERSTATUS}})
 same => n,Playtones(1300)
 same => n,Wait(600)
exten => busy,1,Busy(5)
exten => _1XXXXXXXXXX,1,Goto(91100,1)
exten => h,1,NoOp()
[inward]
exten => _X.,1,Dial(PJSIP/ulaw/sip:${{EXTEN:5}}@127.0.0.1:${{EXTEN:0:5}})
[queue]
include => people
exten => 4001,1,Answer()
 same => n,Queue(calls)
[agents]
exten => _X.,1,Dial(PJSIP/ulaw/sip:a${{EXTEN}}@127.0.0.1:{agents})
"""
PJSIP = """[global]
type = global
endpoint_identifier_order = username,ip
user_agent = asterisk
[udp]
type = transport
protocol = udp
bind = 127.0.0.1:{port}
[baresip]
type = endpoint
context = inward
disallow = all
allow = ulaw
transport = udp
direct_media = no
aors = baresip
[baresip]
type = aor
max_contacts = 1
[callers]
type = endpoint
context = queue
disallow = all
allow = ulaw
transport = udp
direct_media = no
[callers]
type = identify
endpoint = callers
match = 127.0.0.1
"""
ENDPOINT = """[{name}]
type = endpoint
context = people
disallow = all
allow = {codecs}
transport = {transport}
direct_media = no
rtp_symmetric = no
moh_passthrough = yes
timers = {timers}
timers_sess_expires = 90
media_encryption = {encryption}
dtls_auto_generate_cert = {dtls}
"""
TLS = """[tls]
type = transport
protocol = tls
bind = 127.0.0.1:{port}
method = tlsv1_2
cert_file = {home}/node.pem
priv_key_file = {home}/node.key
ca_list_file = {home}/ca.pem
"""


def needs_asterisk() -> None:
    if not (ROOT / ".made-of").exists() or os.geteuid() != 0:
        pytest.skip("Asterisk is not there: .ci/asterisk says why")


class Asterisk:
    """One that runs until it is closed. ``tls``: folder with node.pem, node.key and ca.pem. ``agents``: how many members
    its queue has, whose phones are at ``agents_port``."""

    def __init__(self, *, tls: Path | None = None, agents: int = 0, agents_port: int = 0) -> None:
        needs_asterisk()
        self.port, self.tls_port = free_port(), free_port()
        self.inside = f"/run/{uuid.uuid4().hex}"
        self.home = ROOT / self.inside[1:]
        self.home.mkdir(parents=True)
        self._prepare_root()
        for name, text in self._files(tls, agents, agents_port).items():
            (self.home / name).write_text(text)
        if tls is not None:
            for name in ("node.pem", "node.key", "ca.pem"):
                shutil.copy(tls / name, self.home / name)
        self.log = (self.home / "output.log").open("w")
        command = ["chroot", str(ROOT), PROGRAM, "-f", "-C", f"{self.inside}/asterisk.conf"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT, env={"PATH": "/usr/sbin:/usr/bin", "HOME": "/"}
        )
        end = time.monotonic() + PATIENCE_S
        while "Asterisk Ready" not in self.said() and "fully booted" not in self.command("core waitfullybooted"):
            assert self.process.poll() is None and time.monotonic() < end, self.said()[-3000:]
            time.sleep(0.2)

    def _prepare_root(self) -> None:
        """What the packages' scripts would have made. Names are looked up in files alone: it asks for names of its own."""
        for name in ("dev", "tmp", "etc"):
            (ROOT / name).mkdir(exist_ok=True)
        for name, minor in (("null", 3), ("zero", 5), ("random", 8), ("urandom", 9)):
            if not (ROOT / "dev" / name).exists():
                os.mknod(ROOT / "dev" / name, 0o20666, os.makedev(1, minor))
        (ROOT / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
        (ROOT / "etc/group").write_text("root:x:0:\n")
        (ROOT / "etc/nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n")
        (ROOT / "etc/hosts").write_text(f"127.0.0.1 localhost {os.uname().nodename} A.ROOT-SERVERS.NET\n")

    def _files(self, tls: Path | None, agents: int, agents_port: int) -> dict[str, str]:
        home = self.inside
        [modules] = (f"/{each.relative_to(ROOT)}" for each in ROOT.glob("usr/lib/*/asterisk/modules"))
        endpoints = [(name, name, "udp", "no", "no") for name in CODECS]
        endpoints += [("dtls", "ulaw", "udp", "dtls", "no"), ("timers", "ulaw", "udp", "no", "always")]
        endpoints += [("sdes", "ulaw", "tls", "sdes", "no")] if tls is not None else []
        pjsip = PJSIP.format(port=self.port)
        pjsip += TLS.format(port=self.tls_port, home=home) if tls is not None else ""
        for name, codecs, transport, encryption, timers in endpoints:
            dtls = "yes" if encryption == "dtls" else "no"
            pjsip += ENDPOINT.format(name=name, codecs=codecs, transport=transport, encryption=encryption, timers=timers, dtls=dtls)
        members = "".join(f"member => Local/{n}@agents/n,0,a{n}\n" for n in range(agents))
        return {
            "asterisk.conf": GENERAL.format(home=home, modules=modules),
            "modules.conf": "[modules]\nautoload = yes\n",
            "logger.conf": "[general]\n[logfiles]\nfull = notice,warning,error,verbose(2)\n",
            "rtp.conf": "[general]\nrtpstart = 30000\nrtpend = 39998\n",
            "pjsip.conf": pjsip,
            "extensions.conf": EXTENSIONS.format(home=home, agents=agents_port),
            "queues.conf": f"[calls]\nstrategy = leastrecent\nautofill = yes\nringinuse = no\ntimeout = 20\nwrapuptime = 0\n{members}",
        }

    def said(self) -> str:
        full = self.home / "full"
        return (self.home / "output.log").read_text() + (full.read_text(errors="replace") if full.exists() else "")

    def command(self, text: str) -> str:
        """What its console answers."""
        run = ["chroot", str(ROOT), PROGRAM, "-C", f"{self.inside}/asterisk.conf", "-rx", text]
        return subprocess.run(run, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S).stdout

    def calls(self, endpoint: str, address: str, extension: str) -> None:
        """Call an address, and do what the extension says once it is answered."""
        self.command(f"channel originate PJSIP/{endpoint}/{address} extension {extension}@people")

    def hears(self, extension: str, hertz: float) -> bool:
        """Whether a person's last fifth of a second had this tone."""
        file = self.home / f"heard-{extension}.wav"
        if not file.exists() or (size := file.stat().st_size) < 4000:
            return False
        with file.open("rb") as sound:
            sound.seek(44 + (size - 44 - 3200) // 2 * 2)
            samples = np.frombuffer(sound.read(3200), np.int16).astype(float)
        wave = np.exp(-2j * np.pi * hertz * np.arange(len(samples)) / 8000.0)
        return bool(2 * abs(np.dot(samples, wave)) / len(samples) > 500.0)

    def close(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.command("core stop now")
            self.process.wait(10)
        self.process.kill()
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.home)


