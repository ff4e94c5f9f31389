//! axe-core in the page that a browser shows: what of it is in the way of people who use it by other means than eyes and a
//! mouse (npm package `axe-core`, in `target/axe`).

use std::{fs, path::Path, sync::LazyLock};

use serde_json::Value;

use super::browser::Browser;

static AXE: LazyLock<String> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/axe/node_modules/axe-core/axe.min.js");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}: npm package axe-core, run tests/run", path.display()))
});

/// Every violation of every rule that it has, each with the elements and what is to be done.
pub fn violations(browser: &Browser) -> Vec<String> {
    let told = browser.run(&format!(
        "{}; const told = await axe.run(document, {{ resultTypes: ['violations'] }}); \
         return told.violations.map(found => found.id + ': ' + found.help + '\\n' + \
         found.nodes.map(node => node.html + '\\n' + node.failureSummary).join('\\n'));",
        *AXE
    ));
    let Value::Array(found) = told else { panic!("axe-core did not run: {told}") };
    found.into_iter().map(|found| found.as_str().unwrap_or_default().to_owned()).collect()
}
