//! The playbooks' recaps, and the tasks that failed.

use super::super::text::{Told, seconds};
use crate::playbook::events::Recap;
use crate::record::Playbook;
use maud::{Markup, html};

pub(super) fn shown(playbooks: &[Playbook]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Recap of the playbooks" {
            table {
                thead { tr { th scope="col" { "playbook" } th.num scope="col" { "took" } th scope="col" { "recap" } } }
                tbody { @for playbook in playbooks { tr {
                    th scope="row" {
                        (Told(playbook.playbook.file_name().unwrap_or(playbook.playbook.as_str())))
                        @if !playbook.ok { " " span.tag.bad { span aria-hidden="true" { "✗ " } "failed" } }
                    }
                    td.num { (seconds(playbook.seconds)) }
                    td {
                        @for (n, (word, tasks)) in recap(&playbook.recap).into_iter().filter(|(_, tasks)| *tasks > 0).enumerate() {
                            @if n > 0 { ", " }
                            span.nowrap { (word) " " b { (tasks) } }
                        }
                    }
                } } }
            }
        }
        @for playbook in playbooks { @for task in &playbook.failed {
            div.entry {
                p {
                    @if task.went_on { span.tag.warn { span aria-hidden="true" { "△ " } "failed, and the playbook went on" } }
                    @else { span.tag.bad { span aria-hidden="true" { "✗ " } "failed" } }
                    " " b { (Told(&task.task)) } " " span."soft small" { (Told(&task.place)) }
                }
                pre.console { (Told(&task.message)) }
            }
        } }
        // A failure that the playbook caught or ignored is among the failed tasks already.
        @for playbook in playbooks { @for report in playbook.reports.iter().filter(|report| !report.kind.is_a_failure()) {
            div.entry {
                p {
                    span.tag.warn { span aria-hidden="true" { "△ " } (Told(&report.kind.to_string())) }
                    " " b { (Told(&report.task)) } " " span."soft small" { (Told(&report.place)) }
                }
                pre.console { (Told(&report.message)) }
            }
        } }
    }
}

/// Ansible's recap, in its order.
fn recap(recap: &Recap) -> [(&'static str, u32); 7] {
    let Recap { ok, changed, unreachable, failures, skipped, rescued, ignored } = *recap;
    [
        ("ok", ok),
        ("changed", changed),
        ("unreachable", unreachable),
        ("failed", failures),
        ("skipped", skipped),
        ("rescued", rescued),
        ("ignored", ignored),
    ]
}
