//! Everything in a store, and whether it belongs together.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde_json::Value;
use unicode_normalization::UnicodeNormalization as _;

use crate::support::programs::wait_for;

/// Records by key, indexes by name, and the lines of the trail of changes.
#[derive(Debug, Default, PartialEq)]
pub struct Contents {
    records: BTreeMap<String, Value>,
    indexes: BTreeMap<String, BTreeSet<String>>,
    events: Vec<Value>,
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

impl Contents {
    /// Of an embedded store, whether it is in use or not.
    pub fn of_embedded(directory: &Path) -> Self {
        let database = rusqlite::Connection::open(directory.join("keygate.db")).unwrap();
        let mut contents = Self::default();
        let pairs = |sql: &str| -> Vec<(String, String)> {
            let mut statement = database.prepare(sql).unwrap();
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            rows.map(Result::unwrap).collect()
        };
        contents.records = pairs("SELECT key, json FROM record").into_iter().map(|(key, text)| (key, json(&text))).collect();
        for (index, member) in pairs("SELECT idx, member FROM member") {
            contents.indexes.entry(index).or_default().insert(member);
        }
        contents.events = pairs("SELECT trail, json FROM entry WHERE trail = 'changes' ORDER BY millis, count")
            .into_iter()
            .map(|(_, text)| json(&text))
            .collect();
        contents
    }

    /// Of a Redis that holds nothing else, once nothing changes any more: what was on its way when somebody was killed may
    /// still arrive while it is read, key by key.
    pub fn of_redis(url: &str) -> Self {
        let mut before = Self::read_redis(url);
        wait_for("Redis to be at rest", || {
            let contents = Self::read_redis(url);
            let is_at_rest = contents == before;
            before = contents;
            is_at_rest.then_some(())
        });
        before
    }

    fn read_redis(url: &str) -> Self {
        let mut redis = redis::Client::open(url).unwrap().get_connection().unwrap();
        let mut contents = Self::default();
        let keys: Vec<String> = redis::cmd("KEYS").arg("kg:*").query(&mut redis).unwrap();
        for key in keys {
            // Of sessions, each under the tag of its own.
            if let Some((_, name)) = key.strip_prefix("kg:r:{").and_then(|rest| rest.split_once("}:")) {
                let text: String = redis::cmd("GET").arg(&key).query(&mut redis).unwrap();
                contents.records.insert(name.to_owned(), json(&text));
            } else if let Some(name) = key.strip_prefix("kg:i:{d}:") {
                let members = redis::cmd("ZRANGE").arg(&key).arg(0).arg(-1).query(&mut redis).unwrap();
                contents.indexes.insert(name.to_owned(), members);
            }
        }
        let lines: Vec<(String, BTreeMap<String, String>)> =
            redis::cmd("XRANGE").arg("kg:a:{d}:changes").arg("-").arg("+").query(&mut redis).unwrap();
        contents.events = lines.into_iter().flat_map(|(_, fields)| fields.into_values()).map(|text| json(&text)).collect();
        contents
    }

    fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.records.iter().filter_map(move |(key, record)| Some((key.strip_prefix(kind)?.strip_prefix(':')?, record)))
    }

    fn is_in(&self, index: &str, member: &str) -> bool {
        self.indexes.get(index).is_some_and(|members| members.contains(member))
    }

    fn has(&self, key: &str) -> bool {
        self.records.contains_key(key)
    }

    pub fn count(&self, kind: &str) -> usize {
        self.of_kind(kind).count()
    }

    /// What does not belong to anything, or lacks what belongs to it.
    pub fn dangling(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut check = |holds: bool, what: String| {
            if !holds {
                wrong.push(what);
            }
        };
        self.check_accounts(&mut check);
        self.check_sites(&mut check);
        self.check_tokens(&mut check);
        self.check_sessions(&mut check);
        self.check_indexes(&mut check);
        self.check_events(&mut check);
        wrong
    }

    fn check_accounts(&self, check: &mut impl FnMut(bool, String)) {
        for (id, account) in self.of_kind("account") {
            for name in [&account["login"], &account["email"]].into_iter().filter_map(Value::as_str) {
                let claim = self.records.get(&format!("name:{}", fold(name)));
                check(claim.is_some_and(|claim| claim["account"] == id), format!("{name} is claimed for {id}"));
            }
            check(self.is_in("accounts", &fold(text(&account["login"]))), format!("{id} is listed"));
            let places = self.indexes.get("accounts-by-creation").into_iter().flatten().filter(|place| id_at(place) == id).count();
            check(places == 1, format!("{id} is listed by its making"));
            check(
                self.is_in("superusers", id) == (account["superuser"] == true),
                format!("{id} is among the superusers if it is one"),
            );
            check(account["superuser"] != true || !self.has(&format!("access:{id}")), format!("the superuser {id} has no rows"));
        }
        for (id, account) in self.of_kind("account") {
            let has = self.records.get(&format!("factors:{id}"));
            check((account["second_factor"] == true) == has.is_some(), format!("{id} has a second factor if it says so"));
            let some =
                |factors: &Value| factors["account"] == id && factors["factors"].as_array().is_some_and(|all| !all.is_empty());
            check(has.is_none_or(some), format!("the factors of {id} are its own, and some"));
        }
        for (id, _) in self.of_kind("factors") {
            check(self.has(&format!("account:{id}")), format!("the factors {id} are of an account"));
        }
        for (name, claim) in self.of_kind("name") {
            let account = self.records.get(&format!("account:{}", text(&claim["account"])));
            let is_his = |account: &Value| {
                [&account["login"], &account["email"]].into_iter().filter_map(Value::as_str).any(|own| fold(own) == name)
            };
            check(account.is_some_and(is_his), format!("the claim on {name} is of an account"));
        }
        let anybody = self.of_kind("account").any(|(_, account)| account["superuser"] == true && account["disabled"] == false);
        check(anybody, "there is a superuser".to_owned());
    }

    fn check_sites(&self, check: &mut impl FnMut(bool, String)) {
        for (name, site) in self.of_kind("site") {
            check(self.is_in("sites", name), format!("the site {name} is listed"));
            for host in site["hosts"].as_array().into_iter().flatten().map(text) {
                let claim = self.records.get(&format!("host:{host}"));
                check(claim.is_some_and(|claim| claim["site"] == name), format!("{host} is claimed for {name}"));
            }
        }
        for (host, claim) in self.of_kind("host") {
            let site = self.records.get(&format!("site:{}", text(&claim["site"])));
            let lists = |site: &Value| site["hosts"].as_array().is_some_and(|hosts| hosts.iter().any(|own| own == host));
            check(site.is_some_and(lists), format!("the claim on {host} is of a site"));
        }
        for (account, access) in self.of_kind("access") {
            check(self.has(&format!("account:{account}")), format!("the rows of {account} are of an account"));
            for (site, row) in access["rows"].as_object().into_iter().flatten() {
                // Rows of a site that has gone are of nobody, under an id that never comes again.
                if self.site_of_id(site) == Some(text(&row["site"])) {
                    check(self.is_in(&format!("access-on:{site}"), account), format!("the row of {account} on {site} is listed"));
                }
            }
        }
    }

    fn check_tokens(&self, check: &mut impl FnMut(bool, String)) {
        for (id, token) in self.of_kind("token") {
            let owner = text(&token["account"]);
            check(self.has(&format!("account:{owner}")), format!("the token {id} is of an account"));
            for index in ["tokens", "tokens-by-name", "tokens-by-end"] {
                let places = self.indexes.get(index).into_iter().flatten().filter(|place| id_at(place) == id).count();
                check(places == 1, format!("the token {id} is {places} times in {index}"));
            }
            check(self.is_in(&format!("tokens-of:{owner}"), id), format!("the token {id} is listed with {owner}"));
            for minter in token["minted_with"].as_array().into_iter().flatten().map(text) {
                let listed = self.is_in(&format!("minted-by:{minter}"), id);
                check(listed || !self.has(&format!("token:{minter}")), format!("the token {id} is listed with {minter}"));
            }
            if let Some(successor) = token["superseded"]["by"].as_str() {
                let is_successor = |successor: &Value| successor["rotated_from"] == id;
                // One whose account is being deleted in parts may go before its predecessor.
                let going = self.records.get(&format!("account:{owner}")).is_some_and(|account| account["disabled"] == true);
                let successor = self.records.get(&format!("token:{successor}"));
                check(successor.is_some_and(is_successor) || (going && successor.is_none()), format!("{id} has its successor"));
            }
        }
    }

    fn check_sessions(&self, check: &mut impl FnMut(bool, String)) {
        for (id, session) in self.of_kind("session") {
            let listed = self.is_in("sessions", &format!("{} {id}", text(&session["account"])));
            check(listed, format!("the session {id} is listed"));
        }
        for (id, _) in self.of_kind("check").filter_map(|(name, record)| Some((name.split_once(':')?.0, record))) {
            check(self.has(&format!("session:{id}")), format!("the session {id}, which is open at a host, is one"));
        }
    }

    /// Tokens that live although one has been revoked that they were minted with, or that succeeded them.
    pub fn outliving(&self) -> Vec<&str> {
        let is_dead = |id: &str| self.records.get(&format!("token:{id}")).is_some_and(|token| token["revoked"].is_object());
        // What is of a disabled account, or of a generation that has ended, is dead anyway.
        let ended_with_account = |token: &Value| {
            let account = self.records.get(&format!("account:{}", text(&token["account"])));
            account.is_some_and(|account| account["disabled"] == true || account["generation"] != token["generation"])
        };
        let outlives = |token: &Value| {
            let minted_with = token["minted_with"].as_array().into_iter().flatten().map(text);
            !token["revoked"].is_object()
                && !ended_with_account(token)
                && minted_with.chain(token["superseded"]["by"].as_str()).any(is_dead)
        };
        self.of_kind("token").filter(|(_, token)| outlives(token)).map(|(id, _)| id).collect()
    }

    fn check_indexes(&self, check: &mut impl FnMut(bool, String)) {
        for (index, members) in &self.indexes {
            let (kind, of) = index.split_once(':').unwrap_or((index, ""));
            if kind == "minted-by" {
                check(self.has(&format!("token:{of}")), format!("the list {index} is of a token"));
            }
            for member in members {
                let holds = match kind {
                    "accounts" => self.has(&format!("name:{member}")),
                    "superusers" => self.has(&format!("account:{member}")),
                    "sites" => self.has(&format!("site:{member}")),
                    "tokens" | "tokens-by-name" | "tokens-by-end" | "tokens-unused" => {
                        self.has(&format!("token:{}", id_at(member)))
                    }
                    "accounts-by-creation" => self.has(&format!("account:{}", id_at(member))),
                    "tokens-of" => self.records.get(&format!("token:{member}")).is_some_and(|token| token["account"] == of),
                    // What was minted stays in the list, also when it has gone.
                    "minted-by" => self.records.get(&format!("token:{member}")).is_none_or(|token| token["account"].is_string()),
                    "access-on" => {
                        self.records.get(&format!("access:{member}")).is_some_and(|access| access["rows"][of].is_object())
                    }
                    // One may outlive its session, until it is swept out.
                    "sessions" => member.split_once(' ').is_some_and(|(_, id)| {
                        self.records
                            .get(&format!("session:{id}"))
                            .is_none_or(|session| member.starts_with(text(&session["account"])))
                    }),
                    "idempotency" => self.has(&format!("idempotency:{}", member.split_once(':').unwrap().1)),
                    _ => panic!("{index}"),
                };
                check(holds, format!("{member} in {index}"));
            }
        }
        let listed = |index: &str| self.indexes.get(index).map_or(0, BTreeSet::len);
        check(listed("idempotency") == self.count("idempotency"), "each idempotency note is listed".to_owned());
    }

    /// Each record has the event that made it, and each change one event.
    fn check_events(&self, check: &mut impl FnMut(bool, String)) {
        let told = |action: &str, target: &str| {
            self.events.iter().filter(|e| e["action"] == action && e["target"]["id"] == target).count()
        };
        for (id, token) in self.of_kind("token") {
            let made = match token["rotated_from"].as_str() {
                Some(predecessor) => told("token.rotate", predecessor),
                None => told("token.create", id),
            };
            check(made == 1, format!("the making of {id} was told {made} times"));
            let revoked = usize::from(token["revoked"].is_object());
            check(told("token.revoke", id) == revoked, format!("the revocation of {id} was told as often as it happened"));
        }
        for (id, _) in self.of_kind("session") {
            check(told("session.sign_in", id) == 1, format!("the beginning of the session {id} was told"));
            let ended = told("session.sign_out", id) + told("session.end", id);
            check(ended == 0, format!("the end of the session {id} was told, and it goes on"));
        }
        for (name, site) in self.of_kind("site") {
            check(told("site.create", name) > 0, format!("the making of {name} was told"));
            let versions = told("site.create", name) + told("site.update", name);
            check(site["version"] == versions, format!("{name} has version {} after {versions} changes", site["version"]));
        }
    }

    fn site_of_id(&self, id: &str) -> Option<&str> {
        self.of_kind("site").find(|(_, site)| site["id"] == id).map(|(name, _)| name)
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value}"))
}

/// The id at the end of a place in a sorted list.
fn id_at(place: &str) -> &str {
    place.rsplit([' ', '\u{1}']).next().unwrap()
}

/// As logins are compared; those of these tests are ASCII.
fn fold(name: &str) -> String {
    name.nfkc().collect::<String>().to_lowercase()
}
