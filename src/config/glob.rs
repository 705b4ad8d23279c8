//! The patterns of `rule_files`: `*` and `?` in any part of a path, as in a shell without its extras.

use std::io;
use std::path::{Component, Path, PathBuf};

use regex::Regex;

/// Every path that the pattern names, sorted. A pattern without wildcards names itself, whether it is there or not.
///
/// # Errors
/// When a folder cannot be read.
pub(super) fn expand(pattern: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let name = component.as_os_str().to_string_lossy();
        if !matches!(component, Component::Normal(_)) || !name.contains(['*', '?']) {
            found.iter_mut().for_each(|path| path.push(component));
            continue;
        }
        let mut next = Vec::new();
        for folder in found {
            next.extend(entries(&folder, &name)?);
        }
        found = next;
    }
    // What came by a wildcard in a folder's name may lack what follows it.
    if pattern.to_string_lossy().contains(['*', '?']) {
        found.retain(|path| path.exists());
    }
    found.sort();
    Ok(found)
}

/// The entries of a folder whose names match; hidden ones only when the pattern says so.
fn entries(folder: &Path, pattern: &str) -> io::Result<Vec<PathBuf>> {
    let expression = format!("^{}$", regex::escape(pattern).replace(r"\*", ".*").replace(r"\?", "."));
    let expression = Regex::new(&expression).map_err(io::Error::other)?;
    let place = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if !place.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(place)? {
        let name = entry?.file_name();
        let shown = name.to_string_lossy();
        if expression.is_match(&shown) && (pattern.starts_with('.') || !shown.starts_with('.')) {
            found.push(folder.join(&name));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_what_a_shell_would() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.yml", "a.yml", "a.yaml", ".hidden.yml", "team-1/x.yml", "team-2/y.yml", "team-2/z+.yml"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let named = |pattern: &str| -> Vec<String> {
            let found = expand(&folder.path().join(pattern)).unwrap();
            found.iter().map(|path| path.strip_prefix(folder.path()).unwrap().display().to_string()).collect()
        };
        assert_eq!(named("*.yml"), ["a.yml", "b.yml"]);
        assert_eq!(named("?.y*ml"), ["a.yaml", "a.yml", "b.yml"]);
        assert_eq!(named("team-*/*.yml"), ["team-1/x.yml", "team-2/y.yml", "team-2/z+.yml"]);
        assert_eq!(named("*/z+.yml"), ["team-2/z+.yml"]);
        assert_eq!(named(".*.yml"), [".hidden.yml"]);
        assert_eq!(named("none/*.yml"), [""; 0]);
        assert_eq!(named("missing.yml"), ["missing.yml"]);
    }
}
