# What a guest says itself about what is not as it was, as root. Framed as the answers to the first questions are.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 SYSTEMD_COLORS=0
# ask NAME COMMAND ARGUMENTS…
ask() {
  printf '\036%s\n' "$1"
  shift
  "$@" 2>/dev/null </dev/null
  printf '\n\037%s \n' "$?"
}
journal() { timeout 40 journalctl -b -q --no-pager "$@" | tail -n 300; }
# They are found where the boot begins: before there is a journal, systemd speaks through the kernel's log.
cycles() { timeout 40 journalctl -b -q --no-pager -o cat SYSLOG_IDENTIFIER=systemd | grep -E 'ordering cycle|Found dependency on' | head -n 100; }
# When each unit began to start, and when it had started: these are the ids of "Starting …" and of "Started …", "Finished …".
runs() {
  timeout 40 journalctl -b -q --no-pager -o json --output-fields=UNIT,MESSAGE_ID _PID=1 \
    MESSAGE_ID=7d4958e842da4a758f6c1cdc7b36dcc5 MESSAGE_ID=39f53479d3a045ac8e11786248231fbf
}
units() {
  [ $# = 0 ] || {
    ask units timeout 40 systemctl show -p Id,LoadState,ActiveState,Result,ConditionResult,ConditionTimestampMonotonic,WantedBy,RequiredBy,TimersMonotonic,TimersCalendar -- "$@"
    ask targets timeout 40 systemctl list-units --type=target --plain --no-legend --no-pager --full
    ask cycles cycles
    for unit in "$@"; do set -- "$@" "UNIT=$unit" && shift; done
    ask journal journal -o json --output-fields=UNIT,MESSAGE _PID=1 "$@"
  }
}
cloud_init() { grep -F 'Writing to /etc/' /var/log/cloud-init.log | tail -n 100; }
files() {
  [ $# = 0 ] || {
    ask files stat -c '%.6Y %n' -- "$@"
    ask cloud-init cloud_init
    ask runs runs
    ask boot cat /proc/stat
  }
}
