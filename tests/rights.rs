//! Who may change what: the table in `tests/data/rights.txt`, asked of the use cases row by row, and of the management API
//! in samples. A refusal changes nothing, and is in the trail.

mod rest;
mod use_cases;

use std::collections::BTreeMap;

use crate::support::cases_to_run;

/// An action of the table: its verb, what it is done to, and the words after that.
#[derive(Clone, Debug)]
pub struct Ask {
    pub verb: String,
    pub target: String,
    options: Vec<String>,
}

impl Ask {
    fn parse(text: &str) -> Self {
        let mut words = text.split_whitespace().map(str::to_owned);
        Self { verb: words.next().unwrap(), target: words.next().unwrap_or_default(), options: words.collect() }
    }

    /// The value in `name=value`.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find_map(|option| option.strip_prefix(name)?.strip_prefix('='))
    }

    /// The values in `name=value,value`.
    pub fn options(&self, name: &str) -> Vec<&str> {
        self.option(name).into_iter().flat_map(|values| values.split(',')).collect()
    }

    pub fn word(&self, word: &str) -> bool {
        self.options.iter().any(|option| option == word)
    }

    /// The words that are no `name=value`, in their order.
    pub fn words(&self) -> Vec<&str> {
        self.options.iter().map(String::as_str).filter(|option| !option.contains('=')).collect()
    }

    /// The levels in `levels=SITE:LEVEL,…`.
    pub fn levels(&self) -> Option<BTreeMap<&str, &str>> {
        self.option("levels").map(|levels| levels.split(',').filter_map(|one| one.split_once(':')).collect())
    }
}

/// Who asks: the name of a token or session of the house, and the address he comes from.
#[derive(Clone, Debug)]
pub struct Asker {
    pub name: String,
    pub address: String,
}

impl Asker {
    fn parse(text: &str) -> Self {
        let (name, address) = text.split_once('@').unwrap_or((text, "192.0.2.9"));
        Self { name: name.to_owned(), address: address.to_owned() }
    }

    fn control() -> Self {
        Self::parse("control")
    }
}

/// A way in which a house can be asked.
pub trait Way {
    /// `ok`, the items of a list, or the code of the refusal.
    async fn ask(&mut self, asker: &Asker, ask: &Ask) -> String;
}

struct Row {
    line: usize,
    asker: Asker,
    ask: Ask,
    outcome: String,
}

/// The steps that build the house, and the rules.
fn table() -> (Vec<Ask>, Vec<Row>) {
    let text = include_str!("data/rights.txt");
    let (mut house, mut rules) = (Vec::new(), Vec::new());
    let mut part = "";
    for (index, line) in text.lines().enumerate() {
        match line.strip_prefix("## ") {
            Some(name) => part = name,
            None if line.is_empty() || line.starts_with('#') => {}
            None if part == "house" => house.push(Ask::parse(line)),
            None => {
                let (rest, outcome) = line.rsplit_once(' ').unwrap();
                let (asker, ask) = rest.trim().split_once(' ').unwrap();
                let (asker, ask) = (Asker::parse(asker), Ask::parse(ask));
                rules.push(Row { line: index + 1, asker, ask, outcome: outcome.to_owned() });
            }
        }
    }
    assert!(house.len() > 50 && rules.len() > 150, "{} {}", house.len(), rules.len());
    (house, rules)
}

async fn build(way: &mut impl Way, house: &[Ask]) {
    for step in house {
        assert_eq!(way.ask(&Asker::control(), step).await, "ok", "{step:?}");
    }
}

/// These look at one thing.
const LOOKS: [&str; 5] = ["show", "audit", "account-show", "blocked", "factors"];

/// What changes something has a house of its own; what is refused, or only looks, shares one.
fn changes(row: &Row) -> bool {
    row.outcome == "ok" && !LOOKS.contains(&row.ask.verb.as_str())
}

/// Over the API nobody signs in, so what sessions may is asked of the use cases; `sessions.rs` has samples for the API.
fn has_sessions(row: &Row) -> bool {
    let in_session = ["in-", "out-", "stale-"].iter().any(|begin| row.asker.name.starts_with(begin));
    in_session || row.ask.verb == "end" || row.ask.target == "sessions"
}

#[tokio::test]
async fn the_table_of_rights_holds_for_the_use_cases() {
    let (house, rules) = table();
    let mut shared = use_cases::UseCases::new().await;
    build(&mut shared, &house).await;
    let untouched = shared.contents().await;
    let mut wrong = Vec::new();
    for row in &rules {
        let refused_before = shared.refusals().await;
        let outcome = if changes(row) {
            let mut own = use_cases::UseCases::new().await;
            build(&mut own, &house).await;
            own.ask(&row.asker, &row.ask).await
        } else {
            shared.ask(&row.asker, &row.ask).await
        };
        if outcome != row.outcome {
            wrong.push(format!("line {}: {} {:?}: {outcome}, not {}", row.line, row.asker.name, row.ask, row.outcome));
        }
        let attempt = !changes(row) && row.ask.verb != "list" && !LOOKS.contains(&row.ask.verb.as_str());
        // Who presents nothing has not got as far as a use case.
        if attempt && row.asker.name != "nobody" {
            assert_eq!(shared.refusals().await, refused_before + 1, "line {}: the trail tells of the attempt", row.line);
        }
        assert_eq!(shared.contents().await, untouched, "line {}: a refusal changes nothing", row.line);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn the_table_of_rights_holds_over_the_api() {
    let (house, rules) = table();
    let house: Vec<_> = house.into_iter().filter(|step| !["session", "wait", "end"].contains(&step.verb.as_str())).collect();
    let every = cases_to_run(9, 1);
    let mut shared = rest::Rest::new();
    build(&mut shared, &house).await;
    let mut wrong = Vec::new();
    let asked = rules.iter().filter(|row| !has_sessions(row));
    for row in asked.filter(|row| !changes(row) || row.line.is_multiple_of(every as usize)) {
        let outcome = if changes(row) {
            let mut own = rest::Rest::new();
            build(&mut own, &house).await;
            own.ask(&row.asker, &row.ask).await
        } else {
            shared.ask(&row.asker, &row.ask).await
        };
        if outcome != row.outcome {
            wrong.push(format!("line {}: {} {:?}: {outcome}, not {}", row.line, row.asker.name, row.ask, row.outcome));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
