//! The floor of the directory's benchmark: an HTTP server on a Unix socket that writes to a store, or reads from it, as
//! a script would, with nothing of Keygate in it. It judges nothing, looks nothing up and decodes nothing.
//!
//! `bare redis://… SOCKET` or `bare FILE SOCKET`, an `SQLite` database with the embedded store's tables. `PUT /` says what
//! is to be done (see [`Work`]); `POST /` does it, answers with what was read, and says in `x-nanos` how long the
//! store took. So what a request is to do is neither sent nor parsed while it is measured.

use std::{
    error::Error,
    os::unix::net::UnixListener,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use actix_web::{App, HttpResponse, HttpServer, web};
use redis::Commands as _;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};
use serde::Deserialize;

/// All writes in one step, durable as the store is configured.
const SCRIPT: &str = "
local argument = 0
for position, key in ipairs(KEYS) do
  argument = argument + 2
  local kind, value = ARGV[argument - 1], ARGV[argument]
  if kind == 'put' then redis.call('SET', key, value)
  elseif kind == 'add' then redis.call('ZADD', key, 0, value)
  else redis.call('XADD', key, '*', 'json', value) end
end
";

type Failure = Box<dyn Error + Send + Sync>;

/// Writes, or reads when there are none. Keys as the store spells them.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Work {
    /// Key and JSON of records.
    put: Vec<(String, String)>,
    /// Index and member.
    add: Vec<(String, String)>,
    /// Trail and JSON.
    append: Vec<(String, String)>,
    /// Keys of records.
    read: Vec<String>,
}

enum Store {
    Redis { connection: redis::Connection, script: redis::Script },
    Embedded { connection: Connection, appended: i64 },
}

struct Bare {
    store: Store,
    work: Work,
}

#[actix_web::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [store, socket] = &arguments[..] else {
        return Err("usage: bare REDIS-URL|FILE SOCKET".into());
    };
    let bare = web::Data::new(Mutex::new(Bare { store: Store::open(store)?, work: Work::default() }));
    let listener = UnixListener::bind(socket)?;
    let server = HttpServer::new(move || {
        let resource = web::resource("/").route(web::put().to(prepare)).route(web::post().to(perform));
        App::new().app_data(bare.clone()).app_data(web::JsonConfig::default().limit(1 << 20)).service(resource)
    });
    Ok(server.workers(1).listen_uds(listener)?.run().await?)
}

async fn prepare(bare: web::Data<Mutex<Bare>>, work: web::Json<Work>) -> HttpResponse {
    bare.lock().unwrap_or_else(PoisonError::into_inner).work = work.into_inner();
    HttpResponse::NoContent().finish()
}

async fn perform(bare: web::Data<Mutex<Bare>>) -> HttpResponse {
    let mut bare = bare.lock().unwrap_or_else(PoisonError::into_inner);
    let Bare { store, work } = &mut *bare;
    let start = Instant::now();
    let done = if work.read.is_empty() { store.write(work).map(|()| Vec::new()) } else { store.read(&work.read) };
    let nanos = start.elapsed().as_nanos();
    match done {
        // A record that is not there would be a measurement of something else.
        Ok(records) if records.len() == work.read.len() => {
            HttpResponse::Ok().insert_header(("x-nanos", nanos.to_string())).content_type("application/json").body(records.concat())
        }
        Ok(records) => HttpResponse::NotFound().body(format!("{} of {} records are there", records.len(), work.read.len())),
        Err(error) => HttpResponse::InternalServerError().body(error.to_string()),
    }
}

impl Store {
    fn open(name: &str) -> Result<Self, Failure> {
        if name.starts_with("redis://") {
            let mut connection = redis::Client::open(name)?.get_connection()?;
            let script = redis::Script::new(SCRIPT);
            script.prepare_invoke().load(&mut connection)?;
            return Ok(Self::Redis { connection, script });
        }
        let connection = Connection::open(name)?;
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        connection.execute_batch("PRAGMA synchronous = FULL")?;
        Ok(Self::Embedded { connection, appended: 0 })
    }

    fn write(&mut self, work: &Work) -> Result<(), Failure> {
        match self {
            Self::Redis { connection, script } => {
                let mut invocation = script.prepare_invoke();
                for (kind, list) in [("put", &work.put), ("add", &work.add), ("append", &work.append)] {
                    for (key, value) in list {
                        invocation.key(key).arg(kind).arg(value);
                    }
                }
                Ok(invocation.invoke(connection)?)
            }
            Self::Embedded { connection, appended } => {
                let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                let put = "INSERT OR REPLACE INTO record (key, version, json) VALUES (?1, 1, ?2)";
                let add = "INSERT OR IGNORE INTO member (idx, member) VALUES (?1, ?2)";
                for (sql, list) in [(put, &work.put), (add, &work.add)] {
                    for (key, value) in list {
                        transaction.prepare_cached(sql)?.execute((key, value))?;
                    }
                }
                for (trail, json) in &work.append {
                    // After all that are there.
                    *appended += 1;
                    let mut insert =
                        transaction.prepare_cached("INSERT INTO entry (trail, millis, count, json) VALUES (?1, ?2, 0, ?3)")?;
                    insert.execute((trail, (1_i64 << 50) + *appended, json))?;
                }
                Ok(transaction.commit()?)
            }
        }
    }

    fn read(&mut self, keys: &[String]) -> Result<Vec<String>, Failure> {
        match self {
            Self::Redis { connection, .. } => Ok(connection.mget::<_, Vec<Option<String>>>(keys)?.into_iter().flatten().collect()),
            Self::Embedded { connection, .. } => {
                let transaction = connection.transaction()?;
                let mut statement = transaction.prepare_cached("SELECT json FROM record WHERE key = ?1")?;
                let records = keys.iter().map(|key| statement.query_row([key], |row| row.get(0)).optional());
                Ok(records.collect::<Result<Vec<Option<String>>, _>>()?.into_iter().flatten().collect())
            }
        }
    }
}
