//! The playbooks' recaps, and the tasks that failed.

use super::super::text::{Told, seconds};
use super::Playbook;
use maud::{Markup, html};

pub(super) fn shown(playbooks: &[Playbook]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Recap of the playbooks" {
            table {
                thead { tr { th scope="col" { "playbook" } th.num scope="col" { "took" } th scope="col" { "recap" } } }
                tbody { @for playbook in playbooks { tr {
                    th scope="row" {
                        (Told(&playbook.name))
                        @if !playbook.ok { " " span.tag.bad { span aria-hidden="true" { "✗ " } "failed" } }
                    }
                    td.num { (seconds(playbook.seconds)) }
                    td {
                        @for (n, (word, tasks)) in playbook.recap.iter().filter(|(_, tasks)| *tasks > 0).enumerate() {
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
        @for playbook in playbooks { @for report in &playbook.reports {
            div.entry {
                p {
                    span.tag.warn { span aria-hidden="true" { "△ " } (Told(&report.kind)) }
                    " " b { (Told(&report.task)) } " " span."soft small" { (Told(&report.place)) }
                }
                pre.console { (Told(&report.message)) }
            }
        } }
    }
}
