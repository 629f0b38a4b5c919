//! The serial console of a guest that is busy talking: what is asked there gets its answer, whole.

use crate::applied::{applied, until};
use host::deadline::Deadline;
use serde_json::json;
use std::time::Duration;
use vm::access::root_shell;
use vm::machine::VmDir;
use vm::monitor::Client;
use vm::serial::Serial;

async fn sh(shell: &mut Serial, command: &str) -> (i32, String) {
    let ran = shell.run(command, Duration::from_secs(300)).await.unwrap();
    assert!(!ran.truncated, "{command}");
    (ran.code, ran.output)
}

/// printk in the middle of everything, more than the line can carry.
const FLOOD: &str = "dmesg -n 8
(i=0; while [ $i -lt 3000 ]; do echo \"<4>flood $i\"; i=$((i+1)); done >/dev/kmsg) &
echo t >/proc/sysrq-trigger; seq 1 2000; exit 5";

#[test]
fn a_flood_of_kernel_messages_spoils_no_answer_and_what_a_rule_knows_is_an_event() {
    let vm = applied();
    let (since, dir) = (vm.last_event(), VmDir::at(vm.folder()));
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let length = async || Client::new(&dir).status().await.unwrap().console;
        let before = length().await;
        let mut shell = root_shell(&dir, &Deadline::after(Duration::from_secs(120))).await.unwrap();
        assert_eq!(sh(&mut shell, "id -un; exit 3").await, (3, "root\n".into()));
        let expected: String = (1..=2000).map(|n| format!("{n}\n")).collect();
        assert_eq!(sh(&mut shell, FLOOD).await, (5, expected));
        assert!(length().await - before > 100_000, "it was a flood");
        sh(&mut shell, "echo '<0>BUG: soft lockup - CPU#0 stuck (a test)' >/dev/kmsg").await;
        shell.end().await.unwrap();
    });
    // The kernel prints its records by whichever processor has the console, and that can be after the command's answer;
    // so long a flood can make it complain of a stall as well, and rightly.
    until(Duration::from_secs(60), || {
        let events = vm.events(since);
        let rules: Vec<_> = events.iter().filter(|event| event["kind"] == "console-rule").collect();
        let Some(rule) = rules.iter().find(|rule| rule["data"]["id"] == "soft-lockup") else {
            return Err(format!("no soft-lockup among {rules:?}"));
        };
        assert_eq!(rule["data"]["fatal"], json!(false));
        Ok(())
    });
    // The journal is whole: no number is left out, and its clock never goes back.
    let all = vm.events(0);
    assert!(all.iter().zip(1..).all(|(event, n)| event["seq"] == n), "a gap");
    let times: Vec<_> = all.iter().map(|event| event["mono"].as_f64().unwrap()).collect();
    assert!(times.is_sorted(), "time went back");
}
