#!/usr/bin/python3
"""QEMU, as far as its monitor sees it, gone wrong."""
import json, os, re, socket, struct, sys, threading, time

ROUNDS = 1
SECONDS = 0

args = " ".join(sys.argv)


def channel(pattern):
    return socket.socket(fileno=int(re.search(pattern, args).group(1)))


qmp = channel(r"socket,id=qmp0,fd=(\d+)")
console = channel(r"socket,id=serial0,fd=(\d+)")
drive = channel(r"server\.type=fd,server\.str=(\d+)")


def line(value):
    return json.dumps(value).encode() + b"\n"


def until_it_runs():
    """The greeting and an answer to each command, until the machine is let go."""
    qmp.sendall(line({"QMP": {"version": {}, "capabilities": []}}))
    for text in qmp.makefile():
        command = json.loads(text)
        qmp.sendall(line({"return": {}, "id": command["id"]}))
        if command["execute"] == "cont":
            return


def event(name, data):
    return line({"event": name, "data": data, "timestamp": {"seconds": 1, "microseconds": 2}})


def rounds():
    """So many, and more until the time is over."""
    began, n = time.monotonic(), 0
    while n < ROUNDS or time.monotonic() - began < SECONDS:
        yield n
        n += 1


def flood_stderr():
    """Words that nobody asked for."""
    for _ in rounds():
        for _ in range(40):
            os.write(2, b"qemu: warning: w\n" * 60_000)


def flood_qmp():
    """Events small and large, lines that mean nothing, lines that do not end. Nothing is ever read."""
    small = event("STOP", {}) * 500 + event("RESET", {"guest": True, "reason": "guest-reset"}) * 20
    large = event("BIG", [0] * 5000) * 10
    larger = event("BIGGER", [[]] * 400_000)
    garbage = b"\xff\x00{[\n" * 2000
    endless = b"x" * (4 << 20) + b"\n"
    deep = b"[" * 500_000 + b"\n"
    for _ in rounds():
        for _ in range(6):
            for piece in (small, large, larger, garbage, endless, deep):
                qmp.sendall(piece)


def flood_console():
    """Lines long and short, kernels that begin and panic, escape sequences that do not end."""
    words = b"Kernel panic - not syncing: x\r\n[    0.000000] Linux version 6.12 (x)\r\nYou are in emergency mode\r\n"
    piece = words * 300 + b"y" * 200_000 + b"\x1b]0;" + b"z" * 200_000 + b"\xff\x80\r\n"
    for _ in rounds():
        for _ in range(90):
            console.sendall(piece)


def flood_drive():
    """All of it zeroed, zeroes in ever new places, parts of blocks, and more data than the cache holds."""
    drive.sendall(struct.pack(">I8sII", 3, b"IHAVEOPT", 7, 0))
    replies = threading.Thread(target=lambda: all(iter(lambda: drive.recv(1 << 20), b"")))
    replies.start()

    def ask(command, offset, length, data=b""):
        drive.sendall(struct.pack(">IHHQQI", 0x25609513, 0, command, 1, offset, length) + data)

    for n in rounds():
        # A file has no place above 16 TiB.
        n %= 4
        for gib in range(0, 1 << 14, 4):
            ask(6, gib << 30, 0xFFFF_F000)
        for place in range(80_000):
            ask(4, (n << 40) + place * 8192, 4096)
        for place in range(5_000):
            ask(6, (n << 40) + (1 << 36) + place * 8192, 100)
        for place in range(10):
            ask(1, (n << 40) + (2 << 36) + (place << 25), 32 << 20, bytes(32 << 20))
            ask(0, place << 30, 64 << 20)
        ask(3, 0, 0)
    ask(2, 0, 0)
    replies.join()


until_it_runs()
floods = [threading.Thread(target=flood) for flood in (flood_qmp, flood_console, flood_drive, flood_stderr)]
for thread in floods:
    thread.start()
for thread in floods:
    thread.join()
os._exit(0)
