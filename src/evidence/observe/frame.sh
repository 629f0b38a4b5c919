# What a look at a guest begins with, as root. What is written goes to a folder of its own in memory and is removed.
# Each answer is framed: RS name LF, what the tool printed, LF US exit-code SP the first line of its complaint LF.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 SYSTEMD_COLORS=0
d=/run/boma-look.$$
mkdir -m 700 "$d" || exit 71
trap 'rm -rf "$d"' EXIT
trap 'exit 75' HUP TERM

# ask NAME COMMAND ARGUMENTS…: its complaints go to the file $err, which is not shared with a job beside it.
ask() {
  printf '\036%s\n' "$1"
  said=''
  shift
  "$@" 2>"$err" </dev/null
  code=$?
  read -r said <"$err"
  printf '\n\037%s %s\n' "$code" "$said"
}
# What finds nothing has not failed.
any() { "$@"; :; }

