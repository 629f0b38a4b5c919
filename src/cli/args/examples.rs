//! What the help of each command shows at its end: how it is called.

macro_rules! examples {
    ($($name:ident = $($line:literal)+;)*) => {
        $(pub(super) const $name: &str = concat!("Examples:", $("\n  boma-qemu ", $line),+);)*
    };
}

examples! {
    DOCTOR = "doctor" "doctor --net host --repo ~/ansible";
    INIT = "init web1 --repo ~/ansible" "init web1 --root ~/reboots --repo ~/ansible --inventory inventories/prod"
        "init web1 --from-live web1.live    what `observe --script` printed on the real web1";
    LINT = "lint askari" "lint pre-nixos";
    PLAN = "plan askari" "plan askari --egress none --json | jq .plan.net";
    UP = "up askari" "up askari --net host --ttl 90m" "up askari --image ./debian.qcow2 --certs internal";
    APPLY = "apply askari" "apply askari -e @overrides/askari.red.yml --idempotence"
        "apply askari --only playbooks/site.yml --tags base,web   a part: nothing is proved until a whole one";
    RESET = "reset askari                       after `apply`: back to the state that it left" "reset askari --to ports-open";
    SNAPSHOT = "snapshot askari ports-open" "snapshot askari --drop ports-open";
    SNAPSHOTS = "snapshots askari" "snapshots askari --json | jq -r .snapshot.name";
    REBOOT = "reboot askari" "reboot askari --via power-loss --timeout 900";
    OBSERVE =
        "observe askari > before.json" "observe askari --against before.json" "observe askari --foretell         before a reboot"
        "observe --script | ssh web1 sudo sh > web1.live";
    SCHEMA = "schema > schemas/host.json";
    CHECKS = "checks suggest askari";
    CHECKS_SUGGEST = "checks suggest askari" "checks suggest web1 --from-live web1.live --json | jq .verify";
    ASSERT = "assert askari" "assert askari --findings report";
    CYCLE =
        "cycle askari" "cycle askari --from origin/main --both" "cycle askari --via kexec --watch 60s --keep" "cycle askari -e @overrides/askari.red.yml --json > run.json"
        "cycle askari,web1,db1 --jobs 2";
    MATRIX = "matrix --hosts askari,web1 --via guest,power-loss --jobs 2"
        "matrix --hosts askari --image debian-12-docker,debian-13-docker -- --strict --egress none";
    AUDIT_INIT = "audit init result/iso/nixos.iso" "audit init disk.qcow2 --name cloud -o -";
    AUDIT_LINT = "audit lint pre-nixos" "audit lint ./profiles/pre-nixos.json";
    PROVE = "prove askari" "prove askari --keep -e verify__seconds=25" "prove askari --scenario forward-drop --template"
        "prove askari --all";
    DOWN = "down askari";
    PRUNE = "prune                              what is dead or has failed" "prune --all                        everything";
    STATUS = "status" "status --json | jq -r '.vms[].host'";
    REPORT = "report" "report ~/integration-runs/2026-11-21T215925Z-askari";
    SSH = "ssh askari" "ssh askari -- systemctl --failed";
    EXEC = "exec askari -- curl -k https://askari.example.net/" "exec askari -- nmap -p- 10.213.77.10";
    FORWARD =
        "forward askari 8443:443" "forward askari --socket /tmp/web.sock 443" "forward askari --stop 8443" "forward askari                     list them";
    CONNECT = "connect askari 443" "connect askari 22 < /dev/null";
    SSH_CONFIG = "ssh-config askari > ~/.ssh/config.d/askari" "ssh-config askari > cfg && rsync -e 'ssh -F cfg' askari:/etc/hostname .";
    INVENTORY = "inventory --list" "inventory askari --list > vm.json";
    CONSOLE = "console askari --follow" "console askari --check" "console askari --attach           Ctrl-] leaves";
    CHECK_CONSOLE = "check-console console.log --profile askari" "check-console --rules" "check-console - < /var/log/serial.log";
    QMP = "qmp askari query-status" "qmp askari device_del '{\"id\": \"net0\"}'";
    WAIT =
        "wait askari settled" "wait askari event=RESET,reason=guest-reset --since 12" "wait askari 'console=Reached target' --timeout 120";
    FAULT = "fault askari link=down" "fault askari disk=slow" "fault askari clock=+3600";
    EVENTS = "events askari" "events askari --follow --since 40";
    IMAGE = "image list" "image build debian-13";
    IMAGE_FETCH = "image fetch debian-13";
    IMAGE_BUILD = "image build debian-13";
    IMAGE_VERIFY = "image verify";
    IMAGE_LIST = "image list --json";
    TEMPLATES = "templates --json";
    NET = "net show" "net down";
    NET_DOWN = "net down";
    NET_SHOW = "net show --json";
    COMPLETIONS = "completions bash > /etc/bash_completion.d/boma-qemu";
    MAN = "man /usr/local/share/man/man1";
}
