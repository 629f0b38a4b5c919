//! The manual pages, one for each command, from what the commands are.
//!
//! `clap_mangen` fills all text into paragraphs, and examples are lines: so the end of each page is written here.

use super::args::Cli;
use camino::Utf8Path;
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use host::failure::{Exit, Failure};

/// What the heading of a block of examples is, in the help.
const EXAMPLES: &str = "Examples:";
/// What a paragraph about exit codes begins with, in the help.
const EXIT_CODES: &str = "Exit codes: ";

/// What no option of the command line says.
const ENVIRONMENT: &str = r#".SH ENVIRONMENT
.TP
\fBBOMA_STATE\fR
Where running VMs and networks are kept; \fI/var/lib/boma\-qemu\fR for root, else \fI~/.local/state/boma\-qemu\fR.
.TP
\fBBOMA_IT_CACHE\fR
Where golden images are kept; \fI/var/lib/boma\-integration\fR if it can be written, else \fI~/.cache/boma\-integration\fR.
.TP
\fBBOMA_RUNS\fR
Where the evidence is kept, one folder per run; \fI~/integration\-runs\fR.
.TP
\fBBOMA_PROMISES\fR
Where the memory is written down that VMs will take; \fI/run/lock/boma\-qemu\fR, else \fIpromises\fR in the state folder.
.TP
\fBBOMA_ROOT\fR, \fBBOMA_REPO\fR
What \fB\-\-root\fR and \fB\-\-repo\fR say.
.TP
\fBNO_COLOR\fR
No colours.
"#;

/// Write them into a folder, which is made if it is not there.
pub(super) fn write(dir: &Utf8Path) -> Result<u8, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Usage, format!("cannot write manual pages into {dir}: {error}"))
            .next("name a folder that this user can write into: `boma-qemu man DIR`")
    };
    std::fs::create_dir_all(dir).map_err(failed)?;
    for (name, text) in all().map_err(failed)? {
        std::fs::write(dir.join(name), text).map_err(failed)?;
    }
    Ok(0)
}

/// Every page, by the name of its file.
fn all() -> std::io::Result<Vec<(String, Vec<u8>)>> {
    fn add(command: &Command, above: Option<&str>, pages: &mut Vec<(String, Vec<u8>)>) -> std::io::Result<()> {
        let page = Man::new(command.clone())
            .source(concat!("boma-qemu ", env!("CARGO_PKG_VERSION")))
            .manual("boma-qemu's manual");
        pages.push((page.get_filename(), text(command, &page, above)?));
        let name = command.get_display_name().unwrap_or_else(|| command.get_name());
        command.get_subcommands().filter(|sub| !sub.is_hide_set()).try_for_each(|sub| add(sub, Some(name), pages))
    }
    // `help` says nothing that the pages do not say.
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let mut pages = Vec::new();
    add(&program, None, &mut pages)?;
    Ok(pages)
}

/// One page; `above` is the command that it is part of.
fn text(command: &Command, page: &Man, above: Option<&str>) -> std::io::Result<Vec<u8>> {
    let shown = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let (examples, others): (Vec<&str>, Vec<&str>) = shown.split("\n\n").partition(|block| block.starts_with(EXAMPLES));
    let (codes, remarks): (Vec<&str>, Vec<&str>) = others.into_iter().partition(|block| block.starts_with(EXIT_CODES));
    let mut out = Vec::new();
    page.render_title(&mut out)?;
    page.render_name_section(&mut out)?;
    page.render_synopsis_section(&mut out)?;
    page.render_description_section(&mut out)?;
    for remark in remarks.iter().filter(|remark| !remark.is_empty()) {
        out.extend(format!(".PP\n{}\n", shielded(remark)).bytes());
    }
    page.render_options_section(&mut out)?;
    if command.get_subcommands().any(|sub| !sub.is_hide_set()) {
        page.render_subcommands_section(&mut out)?;
    }
    for block in codes {
        out.extend(format!(".SH \"EXIT STATUS\"\n{}\n", listed(block)).bytes());
    }
    if above.is_none() {
        out.extend(ENVIRONMENT.bytes());
    }
    for block in examples {
        let lines = block.trim_start_matches(EXAMPLES).trim_matches('\n');
        out.extend(format!(".SH EXAMPLES\n.nf\n{}\n.fi\n", shielded(lines)).bytes());
    }
    if let Some(above) = above {
        out.extend(format!(".SH \"SEE ALSO\"\n.BR {} (1)\n", shielded(above)).bytes());
    }
    Ok(out)
}

/// A paragraph about exit codes as a list, one code an entry.
fn listed(block: &str) -> String {
    let text = block.trim_start_matches(EXIT_CODES).replace('\n', " ");
    let entries = text.trim_end_matches('.').split(", ").map(|entry| {
        let (code, meaning) = entry.split_once(' ').unwrap_or((entry, ""));
        format!(".TP\n\\fB{}\\fR\n{}", shielded(code), shielded(meaning))
    });
    entries.collect::<Vec<_>>().join("\n")
}

/// Text in which roff(7) finds nothing of its own: it is shown, and copied, as it stands.
fn shielded(text: &str) -> String {
    let line = |line: &str| {
        // The backslash first: the others bring one.
        let line = line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq").replace('`', "\\(ga");
        let line = line.replace('~', "\\(ti").replace('^', "\\(ha");
        if line.starts_with('.') { format!("\\&{line}") } else { line }
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn pages() -> BTreeMap<String, String> {
        all().unwrap().into_iter().map(|(name, text)| (name, String::from_utf8(text).unwrap())).collect()
    }

    #[test]
    fn each_command_has_a_page_on_which_its_examples_are_lines() {
        fn expect(command: &Command, name: &str, pages: &BTreeMap<String, String>) -> usize {
            let page = pages.get(&format!("{name}.1")).unwrap_or_else(|| panic!("{name} has no page"));
            let (_, examples) = page.split_once(".SH EXAMPLES\n.nf\n").unwrap_or_else(|| panic!("{name}: {page}"));
            let called = format!("  {} ", command.get_bin_name().unwrap_or(name)).replace('-', "\\-");
            assert!(
                examples.lines().all(|line| !line.starts_with("  ") || line.starts_with("  boma\\-qemu")),
                "{page}"
            );
            let bare = called.trim_end();
            assert!(examples.lines().any(|line| line.starts_with(&called) || line == bare), "{called:?}: {page}");
            assert!(!page.contains("SH EXTRA"), "{page}");
            let subs = command.get_subcommands().filter(|sub| sub.get_name() != "help" && !sub.is_hide_set());
            1 + subs.map(|sub| expect(sub, &format!("{name}-{}", sub.get_name()), pages)).sum::<usize>()
        }
        let pages = pages();
        let mut program = Cli::command();
        program.build();
        assert_eq!(expect(&program, "boma-qemu", &pages), pages.len(), "and there is no page of anything else");
    }

    #[test]
    fn the_programs_page_lists_every_exit_code_and_the_variables() {
        let page = &pages()["boma-qemu.1"];
        for code in ["0\\fR\npassed", "9\\fR\nharness not faithful", "130\\fR\ninterrupted"] {
            assert!(page.contains(&format!(".TP\n\\fB{code}\n")), "{code:?}: {page}");
        }
        for variable in ["BOMA_STATE", "BOMA_IT_CACHE", "BOMA_RUNS", "BOMA_PROMISES", "BOMA_ROOT", "BOMA_REPO"] {
            assert!(page.contains(&format!("\\fB{variable}\\fR")), "{variable}");
        }
    }

    #[test]
    fn what_roff_would_take_for_its_own_is_shown_as_it_stands() {
        assert_eq!(shielded(".so x\n'ssh -F a\\b' ~/c `d`"), "\\&.so x\n\\(aqssh \\-F a\\eb\\(aq \\(ti/c \\(gad\\(ga");
    }
}
