"""Builds ``cordboard.bindings.pjsip.sip`` against the PJSIP in build/pjsip: the last step of ``make media``.

It is an extension of its own, in no wheel of cordboard: what is linked with PJSIP is under PJSIP's licence.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parents[3]
PJSIP = ROOT / "build" / "pjsip" / "src"
PARTS = ("pjlib", "pjlib-util", "pjnath", "pjmedia", "pjsip")
# In the order in which each needs the next.
LIBRARIES = ["pjsua", "pjsip-ua", "pjsip-simple", "pjsip", "pjmedia-codec", "pjmedia", "pjmedia-audiodev", "pjsdp"]
LIBRARIES += ["pjnath", "pjlib-util", "pj"]
SYSTEM = ["srtp2", "opus", "speexdsp", "ssl", "crypto", "uuid", "m", "pthread"]
OURS = ["pjmedia_event_subscribe", "pjmedia_event_unsubscribe"]  # see subscriptions.c

SANITIZE = ["-fsanitize=address,undefined"] if os.environ.get("CORDBOARD_SANITIZE") == "1" else []


def archive(name: str) -> str:
    found = [file for part in PARTS for file in (PJSIP / part / "lib").glob(f"lib{name}-{platform.machine()}-*.a")]
    if len(found) != 1:
        raise SystemExit(f"build/pjsip holds {len(found)} libraries of the name {name}: run `make media`")
    return str(found[0])


def main() -> None:
    os.chdir(ROOT)
    extension = Extension(
        "cordboard.bindings.pjsip.sip",
        ["bindings/pjsip/sip.pyx", *sorted(map(str, Path("bindings/pjsip").glob("*.c")))],
        include_dirs=["bindings/pjsip", "src/_core", *(str(PJSIP / part / "include") for part in PARTS)],
        define_macros=[("PJ_AUTOCONF", "1"), ("PJ_IS_BIG_ENDIAN", "0"), ("PJ_IS_LITTLE_ENDIAN", "1")],
        extra_compile_args=["-O2", "-g1", "-Wall", "-Wno-unused-function", *SANITIZE],
        extra_objects=[archive(name) for name in LIBRARIES],
        libraries=SYSTEM,
        extra_link_args=["-Wl,-Bsymbolic", *(f"-Wl,--wrap={name}" for name in OURS), *SANITIZE],
    )
    setup(
        name="cordboard-pjsip",
        packages=[],
        package_dir={"cordboard.bindings.pjsip": "bindings/pjsip"},
        ext_modules=cythonize(  # type: ignore[no-untyped-call]
            [extension], build_dir="build/pjsip/cython", include_path=["build/tree"], language_level=3
        ),
    )


main()
