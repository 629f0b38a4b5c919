"""Looks at a Docker host from inside, until all is well or the time is up. Runs there, as root, Python 3.12 or later.

Usage: inside.py CONTAINER PORT NAME SECONDS

CONTAINER publishes PORT; NAME is what it asks the resolver for. Prints one line of JSON:
{check: {"ok": bool, "detail": text}}.
"""

import json
import os
import re
import socket
import struct
import subprocess
import sys
import time

TRY_SECONDS = 2.0
PERIOD_SECONDS = 0.1
COMMAND_SECONDS = 20


def run(*argv):
    """A command's output, both streams; its failure is told in the output."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{argv[0]}: {error}"
    return (done.stdout + done.stderr).strip()


def docker_active():
    state = run("systemctl", "is-active", "docker.service")
    return state == "active", f"docker.service is {state}"


def resolver():
    """The first resolver that is not this host itself: something beyond the host that answers."""
    for path in ("/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"):
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                for address in re.findall(r"^nameserver\s+(\d+\.\d+\.\d+\.\d+)\s*$", file.read(), re.MULTILINE):
                    if not address.startswith("127."):
                        return address
    return None


def socket_in(pid):
    """A UDP socket in the network namespace of process `pid`: it stays there when this thread goes home."""
    with open("/proc/self/ns/net", "rb") as home, open(f"/proc/{pid}/ns/net", "rb") as there:
        os.setns(there.fileno(), os.CLONE_NEWNET)
        try:
            return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        finally:
            os.setns(home.fileno(), os.CLONE_NEWNET)


def container_reaches_out(container, name):
    """A question to the host's resolver, asked from the container's network. Any answer to it will do."""
    pid = run("docker", "inspect", "--format", "{{.State.Pid}}", container)
    if not pid.isdigit() or pid == "0":
        return False, f"container {container} does not run ({pid})"
    server = resolver()
    if server is None:
        return False, "the host has no resolver outside itself, so there is nothing to reach"
    number = os.urandom(2)
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = number + struct.pack("!5H", 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)
    way = f"from container {container} to resolver {server}"
    try:
        with socket_in(pid) as asking:
            asking.settimeout(TRY_SECONDS)
            asking.connect((server, 53))
            asking.send(question)
            answer = asking.recv(4096)
    except OSError as error:
        return False, f"{way}: {error}"
    return answer[:2] == number, f"{way}: an answer of {len(answer)} bytes"


def port_is_forwarded(port):
    """Whether Docker's DNAT rule for the port has seen packets.

    Where the rule is gone, docker-proxy may answer in its place, and hide that nothing is forwarded."""
    rules = run("iptables", "-t", "nat", "-nvxL", "DOCKER")
    found = re.search(rf"^\s*(\d+)\s+\d+\s+DNAT\s.*\bdpt:{port}\b.*$", rules, re.MULTILINE)
    if not found:
        return False, f"Docker has no DNAT rule for port {port}, so only docker-proxy could answer"
    return int(found[1]) > 0, f"{found[1]} packets through the DNAT rule for port {port}"


def forward_chain_accepts():
    """Whether the text of the firewall's forward chain lets anything through. A hint, not a proof: a rule may be there
    and never match."""
    chain = run("nft", "list", "chain", "inet", "filter", "forward")
    text = " ".join(chain.split())
    if "No such file or directory" in text:
        return True, "there is no chain inet filter forward"
    return "policy accept" in text or " accept " in text, text


def no_failed_units():
    failed = run("systemctl", "list-units", "--failed", "--plain", "--no-legend", "--no-pager")
    return not failed, f"failed: {' '.join(line.split()[0] for line in failed.splitlines())}" if failed else "none"


def main(container, port, name, seconds):
    todo = {
        "docker_active": docker_active,
        "container_reaches_out": lambda: container_reaches_out(container, name),
        "port_is_forwarded": lambda: port_is_forwarded(port),
        "forward_chain_accepts": forward_chain_accepts,
        "no_failed_units": no_failed_units,
    }
    seen = {}
    end = time.monotonic() + float(seconds)
    while True:
        for check in [check for check in todo if not seen.get(check, (False,))[0]]:
            seen[check] = todo[check]()
        if all(ok for ok, _ in seen.values()) or time.monotonic() >= end:
            break
        time.sleep(PERIOD_SECONDS)
    print(json.dumps({check: {"ok": ok, "detail": detail} for check, (ok, detail) in seen.items()}))


main(*sys.argv[1:])
