#!/usr/bin/env bash
# The production build of the media layer: PJSIP in build/pjsip, and the extension that is linked with it, bindings/pjsip/sip.*.so.
#
#   bindings/pjsip/make/build.sh [TARBALL]
#
# TARBALL: PJSIP 2.17 or newer; its checksum stands in `checksums`, or is given as PJSIP_SHA256. Without it, Debian's
# source package of Asterisk brings PJSIP, fetched by apt from the mirror that this machine uses already, and checked by apt.
# The result is under PJSIP's licence, GPL 2 or later; see bindings/README.md.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
out=$root/build/pjsip
python=${PYTHON:-$root/.venv/bin/python}
jobs=${JOBS:-2}
fixes="stale-session armed-sockets dtls-clock" # PATCH.patch beside this file; one that the source holds already is left out
packages="libopus-dev libsrtp2-dev libspeex-dev libspeexdsp-dev libssl-dev uuid-dev"

fail() { printf '%s\n' "$@" >&2; exit 1; }

missing() {
    local name
    for name in opus:opus/opus.h srtp2:srtp2/srtp.h speex:speex/speex.h speexdsp:speex/speex_resampler.h ssl:openssl/ssl.h; do
        echo "#include <${name#*:}>" | cc -E -x c - >/dev/null 2>&1 || echo "lib${name%:*}-dev"
    done
    echo '#include <uuid/uuid.h>' | cc -E -x c - >/dev/null 2>&1 || echo uuid-dev
    for name in xz:xz-utils patch:patch make:make; do
        command -v "${name%:*}" >/dev/null || echo "${name#*:}"
    done
}

install_packages() {
    local wanted
    wanted=$(missing | tr '\n' ' ')
    [ -n "$wanted" ] || return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        fail "The production build needs headers and tools that are missing: $wanted" \
            "On Debian or Ubuntu: sudo apt-get install $packages xz-utils patch make"
    fi
    echo "Installing $wanted"
    apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $wanted >/dev/null
}

# Debian's source package, through an apt of its own whose lists and settings lie in build/pjsip/apt.
fetch_from_debian() {
    local apt=$out/apt mirror key=/usr/share/keyrings/debian-archive-keyring.gpg
    mirror=$(apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 2>/dev/null | sed -n 's|^Debian \(.*/debian/\)$|\1|p' | sort -u | sed -n 1p)
    if [ -z "$mirror" ] || [ ! -e "$key" ]; then
        fail "This machine's apt has no Debian mirror to take PJSIP's source from." \
            "Give a tarball of PJSIP 2.17 or newer: make media PJSIP=/path/to/pjproject.tar.gz"
    fi
    mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial"
    echo "deb-src [signed-by=$key] $mirror sid main" >"$apt/sources.list"
    printf 'Dir::Etc::sourcelist "%s";\nDir::Etc::sourceparts "-";\nDir::State "%s";\nDir::Cache "%s";\nAPT::Sandbox::User "";\n' \
        "$apt/sources.list" "$apt/state" "$apt/cache" >"$apt/apt.conf"
    (cd "$apt" && APT_CONFIG=$apt/apt.conf apt-get update -qq && APT_CONFIG=$apt/apt.conf apt-get source -qq --download-only asterisk)
    tarball=$(ls "$apt"/asterisk_*.orig-Xpjproject.tar.* | tail -n 1)
    rm -rf "$apt/state" "$apt/cache"
    # apt has checked Debian's signature; ours tells whether it is the release that was tested.
    listed "$tarball" || echo "This is another release of PJSIP than the one that was tested: ${tarball##*/}" >&2
}

listed() { grep -q "^$(sha256sum "$1" | cut -d ' ' -f 1) " "$here/checksums"; }

check_given() {
    [ -f "$tarball" ] || fail "There is no file $tarball."
    if [ -n "${PJSIP_SHA256:-}" ]; then
        echo "$PJSIP_SHA256  $tarball" | sha256sum --check --quiet || fail "$tarball is not what PJSIP_SHA256 says."
    else
        listed "$tarball" || fail "$tarball has a checksum that bindings/pjsip/make/checksums does not list." \
            "If you trust it: PJSIP_SHA256=$(sha256sum "$tarball" | cut -d ' ' -f 1) make media PJSIP=$tarball"
    fi
}

unpack() {
    rm -rf "$out/src"
    mkdir -p "$out/src"
    tar -xf "$tarball" -C "$out/src" --strip-components=1
    cd "$out/src"
    cp "$here/config_site.h" pjlib/include/pj/config_site.h
    local fix
    for fix in $fixes; do
        if patch -p1 --dry-run --quiet --reverse --force <"$here/$fix.patch" >/dev/null; then
            echo "This PJSIP holds $fix.patch already"
        else
            patch -p1 --quiet <"$here/$fix.patch"
        fi
    done
    if [ ! -e pjmedia/src/pjmedia/bdimad_dev.c ] && [ ! -e pjmedia/src/pjmedia-audiodev/bdimad_dev.c ]; then
        sed -i 's/ bdimad_dev\.o//' pjmedia/build/Makefile # Debian leaves that file out, its licence is not free
    fi
    find . -name '*.depend' -delete # they name headers of another machine
}

compile() {
    local flags="-O3 -g1 -fPIC -fno-omit-frame-pointer -DNDEBUG"
    [ "$(uname -m)" != x86_64 ] || flags="$flags -march=x86-64-v2"
    cd "$out/src"
    ./configure --enable-epoll --disable-video --disable-sound --disable-sdl --disable-ffmpeg --disable-v4l2 \
        --disable-openh264 --disable-vpx --disable-upnp --disable-libyuv --disable-libwebrtc --disable-speex-aec \
        --disable-speex-codec --disable-gsm-codec --disable-ilbc-codec --disable-g7221-codec --disable-opencore-amr \
        --disable-silk --disable-bcg729 --disable-lyra --enable-speex-resample --with-external-speex --with-external-srtp \
        CFLAGS="$flags" CXXFLAGS="$flags" LIBS=-lspeexdsp >"$out/configure.log" 2>&1 ||
        fail "PJSIP's configure failed:" "$(tail -n 20 "$out/configure.log")"
    make -j"$jobs" lib >"$out/make.log" 2>&1 || fail "PJSIP does not compile:" "$(tail -n 30 "$out/make.log")"
}

install_packages
recipe=$(cat "$here/build.sh" "$here/config_site.h" "$here"/*.patch "$here/checksums" | sha256sum)
if [ "$(cat "$out/recipe" 2>/dev/null)" != "$recipe ${1:-}" ]; then
    tarball=${1:-}
    mkdir -p "$out"
    if [ -n "$tarball" ]; then check_given; else fetch_from_debian; fi
    echo "Compiling PJSIP; about two minutes on two cores"
    unpack
    compile
    echo "$recipe ${1:-}" >"$out/recipe"
fi
cd "$root"
"$python" bindings/pjsip/make/extension.py -q build_ext --inplace
