# What is asked of a guest, in one go, as root: with `whole` everything, without it only what can move by itself (a look
# that confirms another takes the rest from that one). It changes nothing: nothing is started by being asked. Processes are
# dear where the CPU is emulated, so files are read by one grep and links by one find; and what waits for Docker or systemd is
# asked beside the rest.
absent() { printf '\036%s\n\n\037absent %s\n' "$1" "$2"; }
# ask_of PROGRAM NAME COMMAND…: absent where there is no such program.
ask_of() {
  program=$1
  shift
  if command -v "$program" >/dev/null; then ask "$@"; else absent "$1" "no $program program"; fi
}

containers() {
  ids=$(timeout 40 $1 ps -aq --no-trunc) || return
  [ -z "$ids" ] || timeout 40 $1 inspect --type container --format '{"name":{{json .Name}},"image":{{json .Config.Image}},"state":{{json .State.Status}},"health":{{if .State.Health}}{{json .State.Health.Status}}{{else}}""{{end}},"restart":{{json .HostConfig.RestartPolicy.Name}},"restarts":{{.RestartCount}},"error":{{json .State.Error}},"pid":{{.State.Pid}},"mounts":{{json .Mounts}},"networks":{{json .NetworkSettings.Networks}},"ports":{{json .HostConfig.PortBindings}}}' $ids
}
# What a container finds at the places of its mounts: a folder that was mounted over later is another one for it.
container_mounts() {
  for pid in $(sed -n 's/.*"pid":\([1-9][0-9]*\),.*/\1/p' "$d/containers"); do set -- "$@" /proc/$pid/mountinfo; done
  [ $# = 0 ] || any grep -s '' /dev/null "$@"
}
# A stopped Docker must stay stopped: its socket would start it.
docker_runs() { read -r pid </run/docker.pid; kill -0 "$pid"; } 2>/dev/null
ask_docker() {
  err=$d/docker.err
  if ! command -v docker >/dev/null; then why='no docker program'
  elif ! docker_runs; then why='docker is not running'
  else
    ask containers containers docker >"$d/containers"
    cat "$d/containers"
    ask container-mounts container_mounts
    ask docker-networks timeout 40 docker network ls --no-trunc --format '{{json .}}'
    ask docker-volumes timeout 40 docker volume ls --format '{{json .}}'
    return
  fi
  for name in containers container-mounts docker-networks docker-volumes; do absent $name "$why"; done
}
# Where podman was never used, asking it would make its folders.
ask_podman() {
  err=$d/podman.err
  if ! command -v podman >/dev/null; then absent podman 'no podman program'
  elif [ ! -e /var/lib/containers/storage/db.sql ] && [ ! -e /var/lib/containers/storage/libpod ]; then absent podman 'podman was never used'
  else ask podman containers podman
  fi
  ask conmons conmons
}
# The containers that run for users: their own podman would begin a session if it were asked.
conmons() {
  for process in $(any grep -lsx conmon /proc/[0-9]*/comm); do
    process=${process%/comm}
    echo "user $(stat -c %U "$process")" && tr '\0' '\n' <"$process/cmdline"
  done
  :
}
ask_systemd() {
  err=$d/systemd.err
  ask units timeout 40 systemctl list-units --all --plain --no-legend --no-pager --full
  ask services services
  # Of a unit that was stopped systemd itself may have forgotten all. This is the id of "Stopped …" (systemd.journal-fields(7)).
  ask stopped said_of_units 9d1aaa27d60140bd96365438aad20286
  ask user-units user_units
  ask environment systemctl show-environment
}
what_moves() {
  err=$d/err
  # Drop-ins and files that hold until the reboot only.
  ask runtime any grep -ars '' /run/systemd/system.control /run/systemd/system /run/systemd/network /run/udev/rules.d /run/sysctl.d /run/modprobe.d
  # Where units come from, and links whose target says something.
  ask links links
  ask_of ss sockets ss -Htulnp
  # Processes that a login has left behind: of its session, and children of the first process.
  ask processes any grep -asE '^[0-9]+ \(.*\) [A-Z] 1 |/session-[^/]*\.scope' /proc/[0-9]*/stat /proc/[0-9]*/cgroup
  ask_of ss unix-sockets ss -Hxlnp
  ask_of nft nft nft -s list ruleset
  ask legacy legacy
  ask_of ip addresses ip -j -d address
  ask_of ip routes both 'route show table all'
  ask_of ip ip-rules both rule
  ask_of ip neighbours ip -j neighbour show nud permanent
  ask_of tc qdiscs tc qdisc show
  # Asking for what was never used would load its module.
  loaded wireguard wg wireguard wireguard
  loaded ip_set ipset ipsets ipset save
  ask permissions permissions
  ask_of getfacl acls any getfacl -spR /run /dev
  ask etc any find /etc /root/.ssh /home /var/spool/cron -xdev \( -path '/home/*/*' ! -path '/home/*/.ssh*' \) -prune -o -type f -size -1000k \( -path '/etc/*' -o -path '*/.ssh/authorized_keys*' -o -path '/var/spool/*' \) -exec cksum {} +
  ask sys any grep -as '' /sys/kernel/mm/transparent_hugepage/* /sys/kernel/mm/transparent_hugepage/khugepaged/defrag /sys/kernel/mm/hugepages/*/nr_hugepages /sys/kernel/mm/ksm/run /sys/devices/system/cpu/smt/control /sys/devices/system/cpu/cpu*/online /sys/devices/system/cpu/cpufreq/policy*/scaling_governor /sys/block/*/queue/scheduler /sys/block/*/queue/read_ahead_kb /sys/block/*/queue/nr_requests /sys/block/*/queue/rq_affinity /sys/block/*/queue/wbt_lat_usec /sys/block/*/dm/name /sys/block/loop*/loop/backing_file /sys/block/*/md/level /sys/class/net/*/queues/rx-*/rps_cpus /sys/class/net/*/queues/tx-*/xps_cpus /sys/module/*/parameters/* /sys/kernel/security/apparmor/profiles
  ask cron cron_jobs
  ask cron-log cron_log
  ask files any grep -as '' /etc/resolv.conf /run/systemd/resolve/resolv.conf /proc/1/mountinfo /proc/swaps /proc/modules /proc/cmdline /proc/sys/kernel/osrelease /proc/sys/kernel/random/boot_id /proc/sys/kernel/hostname /etc/hostname /etc/machine-id /etc/passwd /etc/group /etc/hosts /etc/fstab /etc/nftables.conf /etc/nftables.d/*.nft /etc/nftables/*.nft /etc/modules /etc/modules-load.d/*.conf /run/modules-load.d/*.conf /usr/lib/modules-load.d/*.conf /etc/sysctl.conf /etc/sysctl.d/*.conf /run/sysctl.d/*.conf /usr/lib/sysctl.d/*.conf /etc/tmpfiles.d/*.conf /run/tmpfiles.d/*.conf
  ask_of chronyc chrony chronyc -n tracking
  # A socket by which a program waits for an answer is gone by now.
  ask_of ss sockets-again ss -Hulnp
}
# What changes only with a unit, an interface or a file that the others show.
what_stays() {
  ask installable any grep -rls '^\[Install\]' --include='*.service' /etc/systemd/system /run/systemd/system /run/systemd/generator /run/systemd/generator.early /run/systemd/generator.late /usr/local/lib/systemd/system /usr/lib/systemd/system
  ask bus-names any grep -hs ^SystemdService= /usr/share/dbus-1/system-services/* /usr/local/share/dbus-1/system-services/* /etc/dbus-1/system-services/*
  ask_of ethtool offloads offloads
  ask peers any grep -his '^ *PublicKey *=' /etc/wireguard/*.conf
  # Below /sys only what the kernel does not make so.
  ask sys-permissions any find /sys -xdev ! -type l \( -perm /002 -o ! -user root -o ! -group root \) -printf '%y %m %u:%g %p\n'
  ask binfmt binfmt
  ask_of quotaon quotas any quotaon -pa
  # What the last boot cannot have read, for it was written since.
  ask written written
  # Of a password only whether there is one is told.
  ask passwords sed -E 's/^([^:]*):[!*][^:]*:.*/\1:locked/; t; s/^([^:]*)::.*/\1:empty/; t; s/^([^:]*):[^:]*:.*/\1:set/' /etc/shadow
  # Looking into binfmt_misc would mount it.
  ask sysctl sysctls
}
# The ids of units about which systemd has said this in this boot.
said_of_units() { journalctl -b -q --no-pager -o cat --output-fields=UNIT _PID=1 "MESSAGE_ID=$1"; }
# What systemd knows of the services and timers that do something, and of those that it has started again (the id is that of
# "Scheduled restart job"). It answers with all that it knows of a unit, which takes a tenth of a second for each where the
# CPU is emulated.
services() {
  again=$(said_of_units 5eb03494b6584870a536b337290809b2) || return
  timeout 40 systemctl show -p Id,ActiveState,NRestarts,MainPID,WantedBy,RequiredBy,UpheldBy,BoundBy,TriggeredBy,TimersMonotonic,TimersCalendar --state=running,waiting,activating,deactivating,reloading,failed '*.service' '*.timer' $(printf '%s\n' "$again" | sort -u)
}
permissions() {
  # An empty file there is a lock, or a mark that a program left while it ran.
  any find /run /dev -xdev \( -path /run/systemd -o -path /run/udev -o -path /run/log -o -path "$d" \) -prune -o ! -type l ! \( -type f -empty \) -printf '%y %m %u:%g %p\n'
}
links() {
  find /etc/systemd/system /run/systemd/system /run/systemd/generator* -type l -printf '%p %l\n'
  find /usr/lib/systemd/system -type l \( -path '*.wants/*' -o -path '*.requires/*' -o -path '*.upholds/*' -o -name 'dbus-*.service' \) -printf '%p %l\n'
  any find /dev/disk -type l -printf '%p %l\n'
  find /etc/resolv.conf /etc/localtime /run/systemd/timesync/synchronized -maxdepth 0 -printf '%p %l\n'
  :
}
# The old iptables keep tables of their own, which nft does not show. Where they were never used they are not asked: that
# would load them.
legacy() {
  for v in '' 6; do
    read -r _ 2>/dev/null </proc/net/ip${v}_tables_names || continue
    echo "family ip$v"
    ip${v}tables-legacy-save || return
  done
}
# The journal's first line has the boot's time as the clock had it then: the kernel's own (btime) moves with the clock, and
# a machine that was brought back from a snapshot has had its clock set.
written() {
  at=$(journalctl -b -q --no-pager -o short-unix | { read -r at _ && echo "$at"; })
  [ -n "$at" ] || return
  any find /etc/sysctl.d /etc/nftables.conf /etc/nftables.d /etc/nftables /usr/lib/sysctl.d /etc/fstab /etc/crontab /etc/cron.d /var/spool/cron -newermt "@$at"
}
# loaded MODULE PROGRAM NAME COMMAND…: nothing where the kernel has no such module in use.
loaded() {
  if [ -d /sys/module/$1 ]; then shift; ask_of "$@"; else ask "$3" :; fi
}
# Never a key: neither a private nor a preshared one.
wireguard() {
  for what in allowed-ips persistent-keepalive fwmark; do
    echo "$what"
    wg show all $what || return
  done
}
offloads() {
  for device in /sys/class/net/*/device; do
    [ -e "$device" ] || continue
    device=${device%/device} && device=${device##*/}
    ethtool -k "$device" || return
    # Not every driver has these.
    for what in -g -l -c -a; do any ethtool $what "$device"; done
  done
}
# `ask` runs a function in this shell, so the next question knows of `jobs`.
cron_jobs() {
  jobs=$(any grep -asE '^[[:blank:]]*@reboot' /etc/crontab /etc/cron.d/* /var/spool/cron/* /var/spool/cron/crontabs/*)
  printf '%s\n' "$jobs"
}
# What cron has run in this boot, where a job is for the boot.
cron_log() { [ -z "$jobs" ] || timeout 40 journalctl -b -q --no-pager -o cat -t CRON -t CROND; }
# Where binfmt_misc is not mounted, looking would mount it.
binfmt() { ! grep -qs ' - binfmt_misc ' /proc/1/mountinfo || any grep -s '' /proc/sys/fs/binfmt_misc/*; }
# The units of users whose manager runs without a login (linger), and of those that are logged in, but for who asks.
user_units() {
  for manager in /run/user/*/systemd/private; do
    uid=${manager#/run/user/} && uid=${uid%%/*}
    [ -S "$manager" ] || continue
    user=$(id -nu "$uid") || continue
    [ "$uid" != "$SUDO_UID" ] || [ -e "/var/lib/systemd/linger/$user" ] || continue
    echo "user $user"
    timeout 20 setpriv --reuid "$uid" --regid "$(id -g "$uid")" --init-groups env XDG_RUNTIME_DIR="/run/user/$uid" systemctl --user list-units --all --plain --no-legend --no-pager --full && continue
    # One that has ended meanwhile has no units.
    ! systemctl -q is-active "user@$uid.service" || return 1
  done
}
# A kernel whose IPv6 is off has no rules and no routes of it.
both() { ip -j -4 $1 && { [ ! -d /proc/sys/net/ipv6 ] || ip -j -6 $1; }; }
# The kernel makes a buffer of the size that is read, and clears it: small reads take half the time of grep's. What cannot be
# read is left out.
sysctls() {
  cd /proc/sys || return
  if command -v perl >/dev/null; then
    find . \( -name binfmt_misc -o -name random \) -prune -o -type f -print0 |
      perl -0ne 'chomp; open my $file, "<", $_ or next;
        my ($all, $part) = "";
        $all .= $part while sysread $file, $part, 4096;
        $all .= "\n" if $all =~ /[^\n]\z/;
        $all =~ s/^/$_:/mg, print $all if length $all'
  else grep -ars '' --exclude-dir=binfmt_misc --exclude-dir=random . || [ $? -lt 3 ]
  fi
}

{
  { ask_docker; ask_podman; } >"$d/docker" &
  ask_systemd >"$d/systemd" &
  what_moves
  [ -z "$whole" ] || what_stays
  wait
  cat "$d/docker" "$d/systemd"
} | head -c MOST
