"""Asks a host's published HTTPS port, from where this runs, until it answers or the time is up.

Usage: https_answers.py ADDRESS PORT NAME SECONDS

Connects to ADDRESS (not to what NAME resolves to: the answer must be this host's), with NAME in the TLS handshake
and in the request. Who signed the certificate is not judged. Prints one line of JSON: {"ok": bool, "looked": bool,
"detail": text}; what this side does not let out has not looked.
"""

import errno
import json
import socket
import ssl
import sys
import time

TRY_SECONDS = 5.0
PERIOD_SECONDS = 0.1
# Errors of this side, before a packet leaves it: they say nothing about the other.
OWN_ERRORS = {errno.EPERM, errno.EACCES, errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL}


def any_certificate():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def ask(context, address, port, name):
    """One request; returns the status line's code, raises OSError where there is no answer."""
    with socket.create_connection((address, port), timeout=TRY_SECONDS) as plain:
        with context.wrap_socket(plain, server_hostname=name) as secure:
            secure.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
            words = secure.makefile("rb").readline(1024).split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise OSError(f"not an HTTP answer: {b' '.join(words)!r}")
    return int(words[1])


def main(address, port, name, seconds):
    context = any_certificate()
    start = time.monotonic()
    tries = 0
    while True:
        tries += 1
        try:
            status = ask(context, address, int(port), name)
            ok, looked, seen = status < 400, True, f"HTTP {status}"
        except OSError as error:
            looked = error.errno not in OWN_ERRORS
            ok, seen = False, "timed out" if isinstance(error, TimeoutError) else str(error)
        passed = time.monotonic() - start
        if ok or passed >= float(seconds):
            break
        time.sleep(PERIOD_SECONDS)
    detail = f"{address}:{port} as {name}: {seen} (try {tries}, {passed:.1f} s)"
    print(json.dumps({"ok": ok, "looked": looked, "detail": detail}))


main(*sys.argv[1:])
