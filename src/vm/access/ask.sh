# What stands between a login over ssh and this guest. Each answer begins with a line that is its name.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 SYSTEMD_COLORS=0 SYSTEMD_PAGER=
export PATH LC_ALL SYSTEMD_COLORS SYSTEMD_PAGER
a() { printf '\036%s\n' "$1"; shift; timeout -k 1 8 "$@" 2>&1 </dev/null | head -c 3000; }
p='-p LoadState,ActiveState,SubState,Result,UnitFileState'
for u in ssh.service sshd.service ssh.socket; do a "unit $u" systemctl show $p "$u"; done
a words journalctl -q -b -u ssh.service -u ssh.socket -n 12 -o cat --no-pager
a listen sh -c 'ss -Hltnp | grep -E "\"(sshd|dropbear)\"|\"systemd\",pid=1," | cut -c1-200'
a addresses sh -c 'ip -br -4 address | grep -v "^lo "; ip -br link | grep -v "^lo "'
# It wants its unit's runtime directory, which goes when the unit fails.
made=; [ -e /run/sshd ] || { mkdir -m 755 /run/sshd 2>/dev/null && made=1; }
a sshd-test sshd -t
t=$(timeout -k 1 8 sshd -T -C user=USER,host=client,addr=CLIENT,laddr=ADDRESS,lport=PORT 2>/dev/null)
[ -z "$made" ] || rmdir /run/sshd
a sshd printf '%s\n' "$t"
a hostkeys sh -c 'cut -d" " -f1,2 /etc/ssh/ssh_host_*_key.pub'
a user sh -c 'getent passwd USER; id -Gn USER'
printf '\036keys\n'
h=$(getent passwd USER | cut -d: -f6)
for f in $(printf '%s\n' "$t" | sed -n 's/^authorizedkeysfile //Ip'); do
  f=$(printf %s "$f" | sed "s|%h|$h|g; s|%u|USER|g; s|%%|%|g")
  case $f in /*) ;; *) f=$h/$f ;; esac
  if [ -e "$f" ]; then echo "$f $(grep -cF 'KEY' "$f")"; else echo "$f none"; fi
done
a nologin sh -c 'cat /run/nologin /etc/nologin 2>/dev/null'
a full sh -c 'df -P / /var /run /tmp | tail -n +2 | sort -u'
a filter sh -c 'nft list chains | grep -E "table|chain|hook input"'
printf '\036end\n'
