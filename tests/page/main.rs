//! report.html in a real browser: it loads nothing, complains of nothing, fits a telephone and can be read in
//! light and dark.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says so best by failing")]

mod browser;

use browser::Browser;
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;
use std::process::Command;

/// The evidence of a real run, written to a page by the program.
fn page_of(fixture: &str) -> (tempfile::TempDir, Utf8PathBuf) {
    let keep = tempfile::tempdir().unwrap();
    let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
    let run = Utf8PathBuf::from_path_buf(keep.path().join("run")).unwrap();
    let copied =
        Command::new("cp").args(["-r", root.join("tests/fixtures").join(fixture).as_str(), run.as_str()]).status();
    assert!(copied.unwrap().success());
    let made = Command::new(env!("CARGO_BIN_EXE_boma-qemu")).args(["report", run.as_str()]).current_dir(root).output();
    let made = made.unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (keep, run.join("report.html"))
}

/// What stands out to the right of the page, and is not in a box that scrolls.
const OUTSIDE: &str = "(() => {
    const page = document.documentElement;
    const out = [...document.querySelectorAll('body *')].filter(e =>
        e.getBoundingClientRect().right > page.clientWidth + 1 && !e.closest('.scroll') && !e.closest('svg'));
    return {wide: page.scrollWidth - page.clientWidth, out: out.slice(0, 5).map(e => e.outerHTML.slice(0, 120))};
})()";

/// Texts whose contrast to what is behind them is below 4.5 (WCAG 2.2, 1.4.3).
const FAINT: &str = "(() => {
    const rgb = text => (text.match(/[\\d.]+/g) || []).map(Number);
    const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const paint = document.createElement('div'); document.body.append(paint);
    const solid = css => { paint.style.color = css; return rgb(getComputedStyle(paint).color); };
    const behind = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
        if (c.length && c[3] !== 0) return c; } return [255, 255, 255]; };
    const faint = [];
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const e = walk.currentNode.parentElement, style = getComputedStyle(e);
        if (!walk.currentNode.data.trim() || e.closest('style, .hidden') || style.display === 'none') continue;
        const drawn = e.closest('svg');
        const front = rgb(drawn ? style.fill : style.color).slice(0, 3);
        const on = e.classList.contains('in') ? solid(style.getPropertyValue('--c')) : behind(drawn ? drawn.parentElement : e);
        const [a, b] = [light(front), light(on.slice(0, 3))].sort((x, y) => y - x);
        if ((a + 0.05) / (b + 0.05) < 4.5) faint.push(walk.currentNode.data.trim().slice(0, 40) + ' ' + front + ' on ' + on);
    }
    paint.remove();
    return [...new Set(faint)];
})()";

fn fits_and_can_be_read(fixture: &str) {
    let (_keep, page) = page_of(fixture);
    let mut browser = Browser::start();
    for (width, scheme) in [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")] {
        browser.open(page.as_str(), width, scheme);
        let headings = browser.value("document.querySelectorAll('h1').length");
        assert_eq!(headings, 1, "the page was not drawn at all");
        // What is folded away must fit, too.
        browser.value("document.querySelectorAll('details').forEach(d => { d.open = true })");
        let outside = browser.value(OUTSIDE);
        assert_eq!(outside["wide"], 0, "{width} {scheme}: {outside}");
        assert_eq!(outside["out"], serde_json::json!([]), "{width} {scheme}");
        let faint = browser.value(FAINT);
        assert_eq!(faint, serde_json::json!([]), "{width} {scheme}");
        let said = |event: &&Value| {
            let method = event["method"].as_str().unwrap_or_default();
            let other = event["params"]["request"]["url"].as_str().is_some_and(|url| !url.ends_with(page.as_str()));
            matches!(method, "Runtime.consoleAPICalled" | "Runtime.exceptionThrown" | "Log.entryAdded") || other
        };
        let complaints: Vec<_> = browser.events.iter().filter(said).collect();
        assert!(complaints.is_empty(), "{width} {scheme}: {complaints:?}");
    }
}

#[test]
fn the_page_of_a_run_fits_a_telephone_can_be_read_and_loads_nothing() {
    fits_and_can_be_read("run");
}

#[test]
fn the_page_of_an_audit_fits_a_telephone_can_be_read_and_loads_nothing() {
    fits_and_can_be_read("audit");
}
