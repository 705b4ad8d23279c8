//! The landing page: the state at a glance and where to look further. Plain HTML, no scripts.

use std::fmt::{self, Display, Write};

use crate::view::status::{PauseView, Status, TargetView};

const STYLE: &str = "body{font:15px/1.5 sans-serif;margin:2em auto;max-width:70em;padding:0 1em}\
table{border-collapse:collapse}th,td{text-align:left;padding:.2em 1.2em .2em 0;border-bottom:1px solid #ddd}\
.bad{color:#b00020;font-weight:bold}";

/// The page.
pub(super) fn page(status: &Status) -> String {
    let mut html = String::new();
    // Writing to a String cannot fail.
    write(&mut html, status).ok();
    html
}

fn write(html: &mut String, status: &Status) -> fmt::Result {
    let Status { version, mode, started, reloaded, .. } = status;
    writeln!(
        html,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>reaperd</title><style>{STYLE}</style>\
         </head><body>\n<h1>reaperd {}</h1>",
        Escaped(version)
    )?;
    writeln!(
        html,
        "<p>Mode <b>{}</b>, {}, started {}, config of {}.</p>",
        Escaped(mode),
        if status.ready { "ready" } else { "<span class=\"bad\">not ready</span>" },
        Escaped(started),
        Escaped(reloaded)
    )?;
    if let Some(error) = &status.reload_error {
        writeln!(html, "<p class=\"bad\">The last reload failed, the config before it is in force:</p>")?;
        writeln!(html, "<pre>{}</pre>", Escaped(error))?;
    }
    for pause in &status.pauses {
        writeln!(html, "<p class=\"bad\">{}</p>", Escaped(&pause_line(pause)))?;
    }
    writeln!(
        html,
        "<p>{} active alerts, {} open intents.</p>\n<h2>Targets</h2>",
        status.alerts_active, status.open_intents
    )?;
    targets(html, &status.targets)?;
    writeln!(html, "<h2>More</h2>\n<ul>")?;
    for (path, what) in [
        ("/metrics", "metrics for Prometheus"),
        ("/api/v1/status", "state as JSON"),
        ("/api/v1/targets", "targets"),
        ("/api/v1/rules", "rules"),
        ("/api/v1/journal", "journal"),
        ("/-/healthy", "health"),
        ("/-/ready", "readiness"),
    ] {
        writeln!(html, "<li><a href=\"{path}\">{path}</a> {what}</li>")?;
    }
    writeln!(html, "</ul>\n</body></html>")
}

fn targets(html: &mut String, targets: &[TargetView]) -> fmt::Result {
    if targets.is_empty() {
        return writeln!(html, "<p>There are none in the config.</p>");
    }
    writeln!(
        html,
        "<table><tr><th>target</th><th>provider</th><th>mode</th><th>nodes up</th><th>sessions</th><th>rules</th>\
         <th>candidates</th><th></th></tr>"
    )?;
    for target in targets {
        let up = target.nodes.iter().filter(|node| node.up == Some(true)).count();
        let sessions: u64 = target.nodes.iter().filter_map(|node| node.sessions).sum();
        let candidates: u64 = target.rules.iter().map(|rule| rule.candidates).sum();
        writeln!(
            html,
            "<tr><td><a href=\"/api/v1/targets/{}/sessions\">{}</a></td><td>{}</td><td>{}</td>\
             <td{}>{up}/{}</td><td>{sessions}</td><td>{}</td><td>{candidates}</td><td class=\"bad\">{}</td></tr>",
            PathSegment(&target.name),
            Escaped(&target.name),
            Escaped(&target.provider),
            Escaped(&target.mode),
            if up < target.nodes.len() { " class=\"bad\"" } else { "" },
            target.nodes.len(),
            target.rules.len(),
            if target.paused { "paused" } else { "" },
        )?;
    }
    writeln!(html, "</table>")
}

fn pause_line(pause: &PauseView) -> String {
    let what = pause.target.as_deref().map_or("Everything is paused".to_owned(), |name| format!("{name} is paused"));
    let until = pause.until.as_deref().map_or(String::new(), |until| format!(" until {until}"));
    format!("{what}{until}: {}", pause.reason)
}

/// Text as HTML shows it literally, in elements and in quoted attributes.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|char| match char {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            other => f.write_char(other),
        })
    }
}

/// Text as one segment of a path.
struct PathSegment<'a>(&'a str);

impl Display for PathSegment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.bytes().try_for_each(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => f.write_char(char::from(byte)),
            other => write!(f, "%{other:02X}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::status::{NodeView, TargetRuleView};

    fn hostile() -> Status {
        let evil = "<script>alert(\"1\")</script>&'".to_owned();
        let rule = TargetRuleView {
            rule: evil.clone(),
            mode: evil.clone(),
            active: true,
            candidates: 7,
            not_applicable: Some(evil.clone()),
            verdicts: [(evil.clone(), 3)].into(),
        };
        let node =
            |up| NodeView { node: evil.clone(), up, sessions: Some(20), listed: None, error: Some(evil.clone()) };
        let target = TargetView {
            name: format!("a/b?{evil}"),
            provider: evil.clone(),
            labels: [(evil.clone(), evil.clone())].into(),
            mode: evil.clone(),
            poll_interval: 10.0,
            paused: true,
            nodes: vec![node(Some(true)), node(Some(false)), node(None)],
            rules: vec![rule],
        };
        Status {
            version: evil.clone(),
            started: evil.clone(),
            ready: false,
            mode: evil.clone(),
            reload_successful: false,
            reloaded: evil.clone(),
            reload_error: Some(evil.clone()),
            pauses: vec![PauseView {
                target: Some(evil.clone()),
                reason: evil.clone(),
                until: Some(evil),
                by_file: false,
            }],
            budgets: Vec::new(),
            alerts_active: 2,
            open_intents: 5,
            targets: vec![target],
        }
    }

    #[test]
    fn the_page_escapes_everything_and_tells_the_counts() {
        let html = page(&hostile());
        assert!(!html.contains("<script"), "{html}");
        assert!(!html.contains("alert(\"") && !html.contains("&'"), "{html}");
        for part in [
            "<td class=\"bad\">1/3</td><td>60</td><td>1</td><td>7</td><td class=\"bad\">paused</td>",
            "href=\"/api/v1/targets/a%2Fb%3F%3Cscript",
            "href=\"/metrics\"",
            "2 active alerts, 5 open intents",
            "not ready",
        ] {
            assert!(html.contains(part), "{part}\n{html}");
        }
    }
}
