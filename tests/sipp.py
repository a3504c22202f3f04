"""sipp as the other end: scenarios written for what a test wants, and a process that runs one."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

SIPP = shutil.which("sipp")

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE scenario SYSTEM "sipp.dtd">\n<scenario name="{name}">\n'
_SDP = """Content-Type: application/sdp
Content-Length: [len]

v=0
o=sipp 1 1 IN IP4 127.0.0.1
s=-
c=IN IP4 127.0.0.1
t=0 0
m=audio [{port}] RTP/AVP 0 101
a=rtpmap:0 PCMU/8000
a=rtpmap:101 telephone-event/8000
"""
_ANSWER = """[last_Via:]
[last_From:]
[last_To:];tag=[pid]SIPp[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port];transport=[transport]>
"""
_SAME = """[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0
"""


def _send(text: str, options: str = "") -> str:
    return f"<send {options}><![CDATA[\n\n{text}\n]]></send>\n"


def answerer(
    status: str = "200 OK", *, rings: bool = True, early: bool = False, after_ms: int = 0, hangs_up_ms: int | None = None, cancelled: bool = False
) -> str:
    """Answers what comes with ``status``; then hangs up after a while, or waits for the BYE. ``cancelled``: rings until
    it is cancelled. ``early``: it has audio before it answers."""
    text = _HEAD.format(name="answerer") + '<recv request="INVITE"/>\n'
    if rings:
        text += _send("SIP/2.0 180 Ringing\n" + _ANSWER + "Content-Length: 0\n")
    if early:
        text += _send("SIP/2.0 183 Session Progress\n" + _ANSWER + _SDP.format(port="media_port"))
    if cancelled:
        text += '<recv request="CANCEL"/>\n' + _send("SIP/2.0 200 OK\n" + _SAME)
        ended = _SAME.replace("[last_CSeq:]", "CSeq: [cseq] INVITE").replace("[last_To:]", "[last_To:];tag=[pid]SIPp[call_number]")
        return text + _send("SIP/2.0 487 Request Terminated\n" + ended) + '<recv request="ACK"/>\n</scenario>\n'
    if after_ms:
        text += f'<pause milliseconds="{after_ms}"/>\n'
    if not status.startswith("2"):
        return text + _send(f"SIP/2.0 {status}\n{_ANSWER}Content-Length: 0\n", 'retrans="500"') + '<recv request="ACK"/>\n</scenario>\n'
    text += _send(f"SIP/2.0 {status}\n{_ANSWER}{_SDP.format(port='media_port')}", 'retrans="500"') + '<recv request="ACK" crlf="true"/>\n'
    if hangs_up_ms is None:
        return text + '<recv request="BYE"/>\n' + _send("SIP/2.0 200 OK\n" + _SAME) + "</scenario>\n"
    text = text.replace('<recv request="INVITE"/>', _REMEMBER)
    bye = """BYE [$target] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:peer@[local_ip]:[local_port]>;tag=[pid]SIPp[call_number]
To: [$from]
Call-ID: [call_id]
CSeq: 1 BYE
Max-Forwards: 70
Content-Length: 0
"""
    return text + f'<pause milliseconds="{hangs_up_ms}"/>\n' + _send(bye, 'retrans="500"') + '<recv response="200"/>\n</scenario>\n'


def _older(headers: str, messages: int) -> str:
    return headers.replace("[branch]", f"[branch-{messages}]")


_REMEMBER = """<recv request="INVITE"><action>
<ereg regexp="&lt;sip.*" search_in="hdr" header="From:" assign_to="from"/>
<ereg regexp="sip:[^>;]*" search_in="hdr" header="Contact:" assign_to="target"/>
</action></recv>"""


def caller(
    *, expects: int = 200, talks_ms: int = 300, rings: bool = False, plays: str = "", infos: str = "", gives_up_ms: int | None = None, extra: str = ""
) -> str:
    """Calls, and expects a final answer; then hangs up, or is hung up if ``talks_ms`` is negative. The branch of a
    CANCEL, and of the ACK of a refusal, is that of the INVITE, so many messages before. ``plays``: a file of
    mu-law samples; ``infos``: keys that it sends by INFO; ``gives_up_ms``: it cancels after this."""
    common = """Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:13800000001@[local_ip]:[local_port]>;tag=[pid]SIPp[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>{to}
Call-ID: [call_id]
CSeq: {cseq}
Contact: <sip:13800000001@[local_ip]:[local_port];transport=[transport]>
Max-Forwards: 70
"""
    port = "rtpstream_audio_port" if plays else "media_port"
    line = "{method} sip:[service]@[remote_ip]:[remote_port] SIP/2.0\n"
    text = _HEAD.format(name="caller")
    text += _send(line.format(method="INVITE") + common.format(to="", cseq="1 INVITE") + extra + _SDP.format(port=port), 'retrans="500"')
    text += '<recv response="100" optional="true"/>\n'
    text += '<recv response="180"/>\n' if rings or gives_up_ms is not None else '<recv response="180" optional="true"/>\n'
    if gives_up_ms is not None:
        text += f'<pause milliseconds="{gives_up_ms}"/>\n'
        text += _send(line.format(method="CANCEL") + _older(common, 4).format(to="", cseq="1 CANCEL") + "Content-Length: 0\n", 'retrans="500"')
        text += '<recv response="200"/>\n'
        expects = 487
    text += f'<recv response="{expects}"/>\n'
    common_ack = common if expects == 200 else _older(common, 4 if gives_up_ms is None else 7)
    ack = line.format(method="ACK") + common_ack.format(to="[peer_tag_param]", cseq="1 ACK") + "Content-Length: 0\n"
    text += _send(ack)
    if expects != 200:
        return text + "</scenario>\n"
    if plays:
        text += f'<nop><action><exec rtp_stream="{plays},-1,0,PCMU/8000"/></action></nop>\n'
    for i, key in enumerate(infos):
        info = line.format(method="INFO") + common.format(to="[peer_tag_param]", cseq=f"{i + 2} INFO")
        info += f"Content-Type: application/dtmf-relay\nContent-Length: [len]\n\nSignal={key}\nDuration=160\n"
        text += _send(info, 'retrans="500"') + '<recv response="200"/>\n'
    if talks_ms < 0:
        return text + '<recv request="BYE"/>\n' + _send("SIP/2.0 200 OK\n" + _SAME) + "</scenario>\n"
    bye = line.format(method="BYE") + common.format(to="[peer_tag_param]", cseq="90 BYE") + "Content-Length: 0\n"
    return text + f'<pause milliseconds="{talks_ms}"/>\n' + _send(bye, 'retrans="500"') + '<recv response="200"/>\n</scenario>\n'


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class Sipp:
    """A process that runs one scenario ``calls`` times; ``to``: who is called, host:port."""

    def __init__(
        self,
        folder: Path,
        scenario: str,
        *,
        to: str = "",
        calls: int = 1,
        rate: float = 50,
        port: int = 0,
        more: tuple[str, ...] = (),
        echo: bool = True,  # send back the audio that comes
    ) -> None:
        self.port = port or free_port()
        file = folder / f"sipp{self.port}.xml"
        file.write_text(scenario)
        self.command = [SIPP or "sipp", *([to] if to else []), "-sf", str(file), "-i", "127.0.0.1", "-p", str(self.port), "-m", str(calls)]
        self.command += ["-r", str(rate), "-nostdin", "-timeout", "60s", "-timeout_error", "-mp", str(free_port()), *more]
        self.command += ["-rtp_echo"] if echo and "rtp_stream" not in scenario else []  # who plays would send what it gets, too
        self.output = (folder / f"sipp{self.port}.log").open("w+")
        self.process = subprocess.Popen(self.command, cwd=folder, stdout=self.output, stderr=subprocess.STDOUT)
        for _ in range(200):  # what is sent before it listens comes again later, and twice counts as two calls
            if f":{self.port:04X} " in Path("/proc/net/tcp" if "t1" in more else "/proc/net/udp").read_text() or self.process.poll() is not None:
                break
            time.sleep(0.05)

    def address(self, user: str = "peer") -> str:
        return f"sip:{user}@127.0.0.1:{self.port}"

    def done(self) -> None:
        """It ended, and every call of it went as its scenario says."""
        status = self.process.wait(30)
        self.output.seek(0)
        assert status == 0, f"sipp ended with {status}\n{self.output.read()[-3000:]}"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.output.close()
