//! The backend against real servers.

mod client_list;
mod server;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::node::type_of;
use super::*;
use crate::policy::field::Field;
use crate::policy::session::{ConnectionId, Snapshot};
use server::{Guest, Server, free_port};

const SHORT: Deadlines =
    Deadlines { connect: Duration::from_secs(1), list: Duration::from_secs(1), kill: Duration::from_secs(1) };

fn config(ports: &[u16]) -> Config {
    let node = |port: &u16| NodeAddress { host: "127.0.0.1".to_owned(), port: *port, tls: false };
    let nodes = ports.iter().map(node).collect();
    Config { nodes, username: None, password_file: None, tls: TlsConfig::default() }
}

fn backend(server: &Server) -> RedisBackend {
    RedisBackend::new(config(&[server.port]), Clock::start())
}

async fn list(backend: &mut RedisBackend) -> Result<Snapshot, NodeError> {
    let mut listing = backend.list().await;
    assert_eq!(listing.len(), 1);
    listing.remove(0)
}

/// The order to kill one listed session; it is numbered by the session's id.
fn order(snapshot: &Snapshot, id: i64) -> Order {
    let kind = (0..snapshot.sessions.len())
        .find(|row| snapshot.sessions.id(*row) == id)
        .and_then(|row| snapshot.sessions.text(Field::Flags, row).map(type_of));
    Order { intent: IntentId(id), node: snapshot.node.clone(), connection: snapshot.connection, id, kind }
}

fn orders(snapshot: &Snapshot, ids: &[i64]) -> Vec<Order> {
    ids.iter().map(|id| order(snapshot, *id)).collect()
}

fn keys(snapshot: &Snapshot, ids: &[i64]) -> Vec<SessionKey> {
    let key = |id: &i64| SessionKey { node: snapshot.node.clone(), run: snapshot.run.clone(), id: *id };
    ids.iter().map(key).collect()
}

async fn look(backend: &mut RedisBackend, keys: &[SessionKey]) -> Result<Snapshot, NodeError> {
    let mut listing = backend.look(keys).await;
    assert_eq!(listing.len(), 1);
    listing.remove(0)
}

fn answer(answers: &[(IntentId, Answer)], id: i64) -> &Answer {
    let mine: Vec<_> = answers.iter().filter(|(intent, _)| *intent == IntentId(id)).collect();
    assert_eq!(mine.len(), 1, "exactly one answer for {id}");
    &mine[0].1
}

#[tokio::test]
async fn lists_looks_and_kills_exactly_those() {
    let server = Server::start(&[]);
    let mut guests: Vec<Guest> = (0..3).map(|_| server.guest()).collect();
    let ids: Vec<i64> = guests.iter().map(|guest| guest.id).collect();
    guests[2].ask("CLIENT SETNAME survivor").unwrap();
    let mut backend = backend(&server);

    let snapshot = list(&mut backend).await.unwrap();
    assert_eq!(snapshot.node.as_str(), format!("127.0.0.1:{}", server.port));
    assert_eq!(snapshot.run.as_str().len(), 40);
    assert_eq!(snapshot.own_user.as_deref(), Some("default"));
    assert_eq!(snapshot.own.len(), 1);
    let listed = snapshot.sessions.ints(0);
    assert!(ids.iter().chain(&snapshot.own).all(|id| listed.contains(id)));
    assert_eq!(listed.len(), 4);
    let own = listed.iter().position(|id| *id == snapshot.own[0]).unwrap();
    assert_eq!(snapshot.sessions.text(Field::Name, own), Some("reaperd"));

    let answers = backend.carry_out(orders(&snapshot, &[ids[0], ids[1], 1_000_000]), &|_| None).await;
    assert_eq!(answers.len(), 3);
    assert_eq!(*answer(&answers, ids[0]), Answer::Accepted);
    assert_eq!(*answer(&answers, ids[1]), Answer::Accepted);
    assert_eq!(*answer(&answers, 1_000_000), Answer::NoSuchSession);

    let seen = look(&mut backend, &keys(&snapshot, &ids)).await.unwrap();
    assert_eq!(seen.sessions.ints(0), &ids[2..]);
    assert_eq!(seen.sessions.text(Field::Name, 0), Some("survivor"));
    assert_eq!((&seen.run, seen.connection, &seen.own), (&snapshot.run, snapshot.connection, &snapshot.own));
    assert!(!guests[0].is_alive() && !guests[1].is_alive() && guests[2].is_alive());
}

#[tokio::test]
async fn looks_at_many_in_batches_and_at_each_once() {
    let server = Server::start(&[]);
    let guests: Vec<Guest> = (0..620).map(|_| server.guest()).collect();
    let mut ids: Vec<i64> = guests.iter().map(|guest| guest.id).collect();
    let mut backend = backend(&server);
    let snapshot = list(&mut backend).await.unwrap();
    let mut wanted = keys(&snapshot, &ids);
    wanted.extend(keys(&snapshot, &ids[..10]));
    wanted.extend(keys(&snapshot, &[999_999]));
    let seen = look(&mut backend, &wanted).await.unwrap();
    ids.sort_unstable();
    assert_eq!(seen.sessions.ints(0), ids);
    // Sessions of another run are gone, whoever has their ids now; nothing is asked for them.
    for key in &mut wanted {
        key.run = "another".into();
    }
    let seen = look(&mut backend, &wanted).await.unwrap();
    assert!(seen.sessions.is_empty());
    assert_eq!(seen.run, snapshot.run);
}

#[tokio::test]
async fn who_became_something_else_since_is_missed() {
    let server = Server::start(&[]);
    let mut guest = server.guest();
    let mut monitor = server.guest();
    monitor.ask("MONITOR").unwrap();
    let mut backend = backend(&server);
    let snapshot = list(&mut backend).await.unwrap();
    guest.ask("SUBSCRIBE news").unwrap();
    let answers = backend.carry_out(orders(&snapshot, &[guest.id, monitor.id]), &|_| None).await;
    assert_eq!(*answer(&answers, guest.id), Answer::NoSuchSession);
    assert_eq!(*answer(&answers, monitor.id), Answer::Accepted);
    let now = list(&mut backend).await.unwrap();
    let answers = backend.carry_out(orders(&now, &[guest.id]), &|_| None).await;
    assert_eq!(*answer(&answers, guest.id), Answer::Accepted);
}

#[tokio::test]
async fn intents_about_a_node_that_is_not_ours_are_not_sent() {
    let server = Server::start(&[]);
    let mut backend = backend(&server);
    let snapshot = list(&mut backend).await.unwrap();
    let mut foreign = order(&snapshot, 5);
    foreign.node = "10.9.9.9:1".into();
    let mut stale = order(&snapshot, 6);
    stale.connection = ConnectionId(snapshot.connection.0 + 1);
    let answers = backend.carry_out([foreign, stale], &|_| None).await;
    assert!(matches!(answer(&answers, 5), Answer::NotSent(_)));
    assert!(matches!(answer(&answers, 6), Answer::NotSent(_)));
    let listing = backend.look(&[SessionKey { node: "10.9.9.9:1".into(), run: "r".into(), id: 1 }]).await;
    assert!(listing.iter().all(Result::is_err) && listing.len() == 1);
}

#[tokio::test]
async fn after_a_restart_nothing_planned_before_is_killed() {
    let mut server = Server::start(&[]);
    let guest = server.guest();
    let mut backend = backend(&server);
    let before = list(&mut backend).await.unwrap();
    server.restart();
    let mut guests: Vec<Guest> = (0..20).map(|_| server.guest()).collect();
    // Among the new guests is one with the id of the old one.
    let answers = backend.carry_out(orders(&before, &[guest.id]), &|_| None).await;
    assert!(matches!(answer(&answers, guest.id), Answer::Unanswered(_)), "{answers:?}");
    let after = list(&mut backend).await.unwrap();
    assert_ne!(after.run, before.run);
    assert_ne!(after.connection, before.connection);
    let answers = backend.carry_out(orders(&before, &[guest.id]), &|_| None).await;
    assert!(matches!(answer(&answers, guest.id), Answer::NotSent(_)), "{answers:?}");
    let seen = look(&mut backend, &keys(&before, &[guest.id])).await.unwrap();
    assert!(seen.sessions.is_empty());
    assert_eq!(seen.run, after.run);
    assert!(guests.iter_mut().all(Guest::is_alive));
    assert!(guests.iter().any(|new| new.id == guest.id), "ids start again");
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_replaced_within_the_same_list() {
    let server = Server::start(&[]);
    let mut guest = server.guest();
    let mut backend = backend(&server);
    let before = list(&mut backend).await.unwrap();
    guest.ask(&format!("CLIENT KILL ID {}", before.own[0])).unwrap();
    let after = list(&mut backend).await.unwrap();
    assert_ne!(after.connection, before.connection);
    assert_ne!(after.own, before.own);
    assert_eq!(after.run, before.run);
}

const USER: &str = "--user reaperd on >s3cret";

fn start_with_user(rights: &str) -> Server {
    let arguments = format!("{USER} {rights}");
    Server::start(&arguments.split(' ').chain(["--requirepass", "other"]).collect::<Vec<_>>())
}

fn as_reaperd(server: &Server, folder: &Path, password: &str) -> RedisBackend {
    let file = folder.join("password");
    std::fs::write(&file, format!("{password}\n")).unwrap();
    let mut config = config(&[server.port]);
    config.username = Some("reaperd".to_owned());
    config.password_file = Some(file);
    RedisBackend::new(config, Clock::start())
}

#[tokio::test]
async fn a_user_with_exactly_the_documented_rights_suffices() {
    let folder = tempfile::tempdir().unwrap();
    let server = start_with_user(failure::RIGHTS);
    let mut backend = as_reaperd(&server, folder.path(), "s3cret");
    let mut other = as_reaperd(&server, folder.path(), "s3cret");
    let victim = list(&mut other).await.unwrap().own[0];
    let snapshot = list(&mut backend).await.unwrap();
    assert_eq!(snapshot.own_user.as_deref(), Some("reaperd"));
    let answers = backend.carry_out(orders(&snapshot, &[victim]), &|_| None).await;
    assert_eq!(*answer(&answers, victim), Answer::Accepted);
    assert!(look(&mut backend, &keys(&snapshot, &[victim])).await.unwrap().sessions.is_empty());
    let mut admin = server.guest_with("AUTH other");
    assert_eq!(admin.ask("ACL LOG").as_deref(), Some("*0"), "nothing that the user may not was tried");
}

#[tokio::test]
async fn what_is_wrong_with_the_login_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let server = start_with_user(failure::RIGHTS);
    let wrong = list(&mut as_reaperd(&server, folder.path(), "wrong")).await.unwrap_err();
    assert_eq!(wrong.reason, FailureReason::Auth);
    assert!(
        wrong.message.contains("WRONGPASS") && wrong.message.contains("check username and password_file"),
        "{wrong}"
    );
    let none = list(&mut RedisBackend::new(config(&[server.port]), Clock::start())).await.unwrap_err();
    assert_eq!(none.reason, FailureReason::Auth);
    assert!(none.message.contains("NOAUTH"), "{none}");

    let poor = start_with_user("-@all +client|setname +client|id +info");
    let mut backend = as_reaperd(&poor, folder.path(), "s3cret");
    let lacking = list(&mut backend).await.unwrap_err();
    assert_eq!(lacking.reason, FailureReason::Auth);
    assert!(lacking.message.contains("NOPERM") && lacking.message.contains(failure::RIGHTS), "{lacking}");
    assert!(!lacking.message.contains("s3cret"));
    // The right is given while we are connected, and no new connection is needed.
    let mut admin = poor.guest_with("AUTH other");
    assert_eq!(admin.ask("ACL SETUSER reaperd +client|list").as_deref(), Some("+OK"));
    let snapshot = list(&mut backend).await.unwrap();
    let refused = backend.carry_out(orders(&snapshot, &[7]), &|_| None).await;
    assert!(matches!(answer(&refused, 7), Answer::Refused(said) if said.starts_with("NOPERM")), "{refused:?}");
}

#[tokio::test]
async fn a_password_that_the_server_does_not_ask_for_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&[]);
    let file = folder.path().join("p");
    std::fs::write(&file, "x").unwrap();
    let config = Config { password_file: Some(file), ..config(&[server.port]) };
    let error = list(&mut RedisBackend::new(config, Clock::start())).await.unwrap_err();
    assert_eq!(error.reason, FailureReason::Auth, "{error}");
    assert!(error.message.contains("check username and password_file"), "{error}");
}

#[tokio::test]
async fn a_server_that_accepts_and_never_answers_meets_the_deadline_and_then_the_backoff() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut backend = RedisBackend::with_deadlines(config(&[port]), Clock::start(), SHORT);
    let error = list(&mut backend).await.unwrap_err();
    assert_eq!(error.reason, FailureReason::Timeout, "{error}");
    assert!(error.message.contains("within 1s"), "{error}");
    // On a machine so busy that the first delay is over before we ask again, the next delay is longer.
    for _ in 0..5 {
        let error = list(&mut backend).await.unwrap_err();
        assert_eq!(error.reason, FailureReason::Timeout);
        if error.message.contains("next try in") {
            return;
        }
    }
    panic!("the node was tried again at once, again and again");
}

#[tokio::test]
async fn a_server_that_stops_answering_leaves_what_was_sent_open_and_the_rest_unsent() {
    let server = Server::start(&[]);
    let guests: Vec<Guest> = (0..40).map(|_| server.guest()).collect();
    let ids: Vec<i64> = guests.iter().map(|guest| guest.id).collect();
    let mut backend = RedisBackend::with_deadlines(config(&[server.port]), Clock::start(), SHORT);
    let snapshot = list(&mut backend).await.unwrap();
    server.signal("STOP");
    let answers = backend.carry_out(orders(&snapshot, &ids), &|_| None).await;
    let count = |is: fn(&Answer) -> bool| answers.iter().filter(|(_, answer)| is(answer)).count();
    assert_eq!(answers.len(), 40);
    assert_eq!(count(|answer| matches!(answer, Answer::Unanswered(_))), 32);
    assert_eq!(count(|answer| matches!(answer, Answer::NotSent(_))), 8);
    let again = backend.carry_out(orders(&snapshot, &ids[..1]), &|_| None).await;
    assert!(matches!(answer(&again, ids[0]), Answer::NotSent(_)), "the connection was dropped");
    assert_eq!(list(&mut backend).await.unwrap_err().reason, FailureReason::Timeout);
    server.signal("CONT");
    // What had been sent may still be carried out; a look tells. What was not sent lives.
    let not_sent: Vec<i64> =
        answers.iter().filter(|(_, answer)| matches!(answer, Answer::NotSent(_))).map(|(id, _)| id.0).collect();
    let mut fresh = RedisBackend::new(config(&[server.port]), Clock::start());
    let now = list(&mut fresh).await.unwrap();
    assert!(not_sent.iter().all(|id| now.sessions.ints(0).contains(id)));
}

#[tokio::test]
async fn at_maxclients_the_kept_connection_frees_the_server() {
    let server = Server::start(&["--maxclients", "8"]);
    let mut backend = backend(&server);
    list(&mut backend).await.unwrap();
    let guests: Vec<Guest> = (0..20).map_while(|_| server.try_guest()).collect();
    assert_eq!(guests.len(), 7);
    let late = list(&mut RedisBackend::new(config(&[server.port]), Clock::start())).await.unwrap_err();
    assert_eq!(late.reason, FailureReason::Server);
    assert!(late.message.contains("maxclients is reached"), "{late}");
    let snapshot = list(&mut backend).await.unwrap();
    assert_eq!(snapshot.sessions.len(), 8);
    let answers = backend.carry_out(orders(&snapshot, &[guests[0].id]), &|_| None).await;
    assert_eq!(*answer(&answers, guests[0].id), Answer::Accepted);
    assert!(server.try_guest().is_some());
}

#[tokio::test]
async fn a_dead_node_does_not_hold_up_the_other() {
    let server = Server::start(&[]);
    let guest = server.guest();
    let dead = free_port();
    let mut backend = RedisBackend::new(config(&[dead, server.port]), Clock::start());
    let mut listing = backend.list().await;
    let alive = listing.remove(1).unwrap();
    let error = listing.remove(0).unwrap_err();
    assert_eq!(error.reason, FailureReason::Connect);
    assert_eq!(error.node.as_str(), format!("127.0.0.1:{dead}"));
    assert!(error.message.contains("connection refused"), "{error}");
    let answers = backend.carry_out(orders(&alive, &[guest.id]), &|_| None).await;
    assert_eq!(*answer(&answers, guest.id), Answer::Accepted);
}

/// Makes a certificate authority, and a server and client certificate of it for 127.0.0.1.
fn certificates(folder: &Path) -> impl Fn(&str) -> PathBuf {
    let make = |arguments: &str| {
        let done = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    std::fs::write(folder.join("san"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").unwrap();
    for ca in ["ca", "other"] {
        make(&format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {ca}.key -out {ca}.crt -days 2 -subj /CN={ca}"
        ));
    }
    make("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout node.key -out node.csr -subj /CN=node");
    make("x509 -req -in node.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out node.crt -extfile san");
    let folder = folder.to_owned();
    move |file| folder.join(file)
}

#[tokio::test]
async fn tls_with_a_private_authority_and_client_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let file = certificates(folder.path());
    let path = |name: &str| file(name).to_str().unwrap().to_owned();
    // The later --port wins over the one that the helper gives.
    let (ca, cert, key) = (path("ca.crt"), path("node.crt"), path("node.key"));
    let tls = ["--port", "0", "--tls-port", "PORT", "--tls-ca-cert-file", &ca, "--tls-cert-file", &cert];
    let server = Server::start(&[&tls[..], &["--tls-key-file", &key]].concat());
    let config_with = |ca: &str, client: bool| {
        let mut config = config(&[server.port]);
        config.nodes[0].tls = true;
        let given = |name| client.then(|| file(name));
        config.tls = TlsConfig { ca_file: Some(file(ca)), cert_file: given("node.crt"), key_file: given("node.key") };
        config
    };
    let mut backend = RedisBackend::new(config_with("ca.crt", true), Clock::start());
    let snapshot = list(&mut backend).await.unwrap();
    assert_eq!(snapshot.sessions.ints(0), snapshot.own);

    for (ca, client, words) in [
        ("other.crt", true, "ca_file"),
        ("ca.crt", false, "cert_file"),
        ("node.key", true, "holds no certificate"),
        ("none", true, "cannot be read"),
    ] {
        let error = list(&mut RedisBackend::new(config_with(ca, client), Clock::start())).await.unwrap_err();
        assert_eq!(error.reason, FailureReason::Connect, "{error}");
        assert!(error.message.contains(words), "{ca}: {error}");
    }
}

#[tokio::test]
async fn the_gate_stops_kills_in_the_middle_of_a_batch() {
    let server = Server::start(&[]);
    let mut guests: Vec<Guest> = (0..40).map(|_| server.guest()).collect();
    let ids: Vec<i64> = guests.iter().map(|guest| guest.id).collect();
    let mut backend = backend(&server);
    let snapshot = list(&mut backend).await.unwrap();
    let asked = AtomicUsize::new(0);
    let gate = |_| (asked.fetch_add(1, Ordering::Relaxed) >= 25).then(|| "paused: incident".to_owned());
    let answers = backend.carry_out(orders(&snapshot, &ids), &gate).await;
    for (position, guest) in guests.iter_mut().enumerate() {
        let stopped = Answer::NotSent("paused: incident".to_owned());
        let expected = if position < 25 { Answer::Accepted } else { stopped };
        assert_eq!(*answer(&answers, ids[position]), expected, "{position}");
        assert_eq!(guest.is_alive(), position >= 25, "{position}");
    }
}

#[tokio::test]
async fn a_replaced_backend_hands_on_the_connections_that_are_still_right() {
    let (stays, goes, comes) = (Server::start(&[]), Server::start(&[]), Server::start(&[]));
    let mut before = RedisBackend::new(config(&[stays.port, goes.port]), Clock::start());
    let listed: Vec<Snapshot> = before.list().await.into_iter().map(Result::unwrap).collect();
    let mut after = RedisBackend::new(config(&[comes.port, stays.port]), Clock::start());
    after.inherit(before);
    let now: Vec<Snapshot> = after.list().await.into_iter().map(Result::unwrap).collect();
    assert_eq!((now[1].connection, &now[1].own), (listed[0].connection, &listed[0].own), "the same connection");
    assert_ne!(now[0].connection, listed[1].connection);

    let login = Config { username: Some("default".to_owned()), ..config(&[stays.port]) };
    let mut other = RedisBackend::new(login, Clock::start());
    other.inherit(after);
    assert_ne!(list(&mut other).await.map(|list| list.connection).ok(), Some(now[1].connection), "another login");
}
