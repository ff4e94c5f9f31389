//! `keygate quickstart`: a working external-auth server on a bare machine, and lines to paste that show it.

use std::fmt::Write as _;

use rand::{rand_core::UnwrapErr, rngs::SysRng};
use serde_json::{Value, json};

use super::{Failure, GlobalOptions, output, serve};
use crate::{
    app::App,
    config::Loaded,
    directory::{Actor, DirectoryError, NewAccount, NewSite, NewToken},
    domain::{
        access::Level,
        account::AccountKind,
        decision::CredentialKinds,
        id::random_base62,
        password::Password,
        policy::{Demand, Matcher, Otherwise, Policy, Rule, SiteSource},
        site::SiteName,
        text::{Invalid, Label, Login},
        token::PlainToken,
    },
    telemetry,
};

const ACTOR: Actor = Actor::system("quickstart");
const DEMO: &str = "demo";
const ADMIN: &str = "admin";

/// What was made, and is shown this once.
struct Made {
    password: String,
    token: PlainToken,
}

pub(super) fn run(global: &GlobalOptions) -> Result<(), Failure> {
    if global.config.is_some() {
        let sentence = "quickstart takes no configuration file; use `keygate serve --config FILE`";
        return Err(Failure::Usage(sentence.to_owned()));
    }
    let Loaded { settings, .. } = serve::load(&serve::sources(global))?;
    let logging = telemetry::init(settings.log);
    serve::in_runtime(async {
        let data_dir = settings.data_dir.display().to_string();
        let app = App::build(settings, demo_policy()).await.map_err(|error| serve::failure(&error))?;
        let made =
            fill_if_empty(&app).await.map_err(|error| Failure::Unreachable(format!("the demo could not be set up: {error}")))?;
        serve::announce(&app);
        if global.json {
            output::json(&summary(&app, &data_dir, made.as_ref()));
        } else {
            output::say(&welcome(&app, &data_dir, made.as_ref()));
        }
        drop(made);
        serve::serve_until_told(app, None, &logging).await
    })
}

/// One site on any host: reading needs `view`, all else `write`.
fn demo_policy() -> Policy {
    let demand = Demand {
        site: SiteSource::Named(SiteName::parse(DEMO).into_iter().collect()),
        read: Level::View,
        write: Level::Write,
        scope: None,
        credentials: CredentialKinds::default(),
        max_token_access: Level::Superuser,
        otherwise: Otherwise::Challenge,
        allows_cross_site: false,
    };
    Policy::new(vec![Rule { name: DEMO.to_owned(), matcher: Matcher::default(), demand: Some(demand), body_ignored: false }])
}

async fn fill_if_empty(app: &App) -> Result<Option<Made>, DirectoryError> {
    let directory = &app.directory;
    if !directory.is_empty().await? {
        return Ok(None);
    }
    let site = SiteName::parse(DEMO)?;
    let (admin, demo) = (Login::parse(ADMIN)?, Login::parse(DEMO)?);
    directory.create_site(&ACTOR, NewSite { site: site.clone(), name: Some(label("Demo")?), hosts: Vec::new() }).await?;
    let letters = random_base62::<20>(&mut UnwrapErr(SysRng));
    let password: String = letters.iter().map(|byte| char::from(*byte)).collect();
    let chosen = Password::chosen(&password)?;
    let administrator = NewAccount { superuser: true, password: Some(chosen), ..NewAccount::new(admin, AccountKind::Human) };
    directory.create_account(&ACTOR, administrator).await?;
    directory.create_account(&ACTOR, NewAccount::new(demo.clone(), AccountKind::Service)).await?;
    directory.set_access(&ACTOR, &demo, &site, Level::Write).await?;
    let (token, _record) = directory.create_token(&ACTOR, NewToken::new(demo, label("quickstart")?)).await?;
    Ok(Some(Made { password, token }))
}

fn label(text: &str) -> Result<Label, Invalid> {
    Label::parse(text, "name", ["name_empty", "name_too_long", "name_characters"])
}

/// For programs: where it answers, and what was made and is shown this once.
fn summary(app: &App, data_dir: &str, made: Option<&Made>) -> Value {
    let addresses = app.addresses();
    let made = made.map(|made| json!({ "administrator": ADMIN, "password": made.password, "token": made.token.expose_secret() }));
    json!({ "data_dir": data_dir, "check": addresses.check, "portal": addresses.portal, "grpc": addresses.grpc, "made": made })
}

/// A path as one word of a POSIX shell that is no option (POSIX.1-2024 XCU 2.2.2).
fn shell_word(path: &str) -> String {
    let path = if path.starts_with('-') { format!("./{path}") } else { path.to_owned() };
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./:=@%+,-".contains(c);
    if !path.is_empty() && path.chars().all(plain) { path } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

/// Every line of it works when it is pasted.
fn welcome(app: &App, data_dir: &str, made: Option<&Made>) -> String {
    let check = app.addresses().check;
    let program = std::env::args_os().next().map_or_else(|| "keygate".to_owned(), |name| name.to_string_lossy().into_owned());
    let program = shell_word(&program);
    let directory = if data_dir == "./keygate-data" { String::new() } else { format!(" --data-dir {}", shell_word(data_dir)) };
    let url = format!("\"http://{check}/auth/check?method=GET&url=http://demo.example/\"");
    let mut text = format!("\nKeygate is running. Its data is in {data_dir}.\n\n");
    let _infallible = match made {
        Some(Made { password, token }) => {
            let token = token.expose_secret();
            write!(
                text,
                "Made for you, and shown this once:\n\n\
                 \x20   administrator   {ADMIN}\n\
                 \x20   password        {password}\n\
                 \x20   demo token      {token}\n\n\
                 Try it from another terminal. With the token, the answer is 200 and says who it is:\n\n\
                 \x20   curl -i -H \"Authorization: Bearer {token}\" {url}\n\n\
                 Without it, the answer is 401:\n\n\
                 \x20   curl -i {url}\n\n"
            )
        }
        None => write!(
            text,
            "It was set up before; secrets are shown only once. Another token for the demo:\n\n\
             \x20   {program}{directory} token create demo --name \"another one\"\n\n\
             Without a token, the answer is 401:\n\n\
             \x20   curl -i {url}\n\n"
        ),
    };
    if let Some(pages) = &app.addresses().pages {
        let _infallible = write!(text, "Sign in with a browser, as {ADMIN}:\n\n\x20   {pages}/\n\n");
    }
    let _infallible = write!(
        text,
        "In front of a server of yours: these print a configuration to paste, with every header it needs.\n\n\
         \x20   {program}{directory} snippet nginx\n\
         \x20   {program}{directory} snippet envoy\n\n\
         More keys, sites and accounts:\n\n\
         \x20   {program}{directory} token list\n\
         \x20   {program} --help\n\n\
         Stop it with Ctrl-C; run it again, and everything is still there.\n"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_for_a_shell() {
        for (path, word) in [
            ("target/release/keygate", "target/release/keygate"),
            ("./my data", "'./my data'"),
            ("it's", r"'it'\''s'"),
            ("$(id)`id`", "'$(id)`id`'"),
            ("~/données", "'~/données'"),
            ("-data", "./-data"),
            ("", "''"),
        ] {
            assert_eq!(shell_word(path), word);
        }
    }
}
