//! The transport against a peer that misbehaves, over a real socket pair.

use super::*;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::OwnedReadHalf;

const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"major": 10}}, "capabilities": ["oob"]}}"#;
const SOON: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(50);

struct Peer {
    read: tokio::io::Lines<BufReader<OwnedReadHalf>>,
    write: OwnedWriteHalf,
}

impl Peer {
    async fn say(&mut self, text: &str) {
        self.write.write_all(text.as_bytes()).await.unwrap();
    }

    async fn hear(&mut self) -> Value {
        serde_json::from_str(&self.read.next_line().await.unwrap().unwrap()).unwrap()
    }

    /// Answer the next command with an empty result, and hand back its text.
    async fn agree(&mut self) -> Value {
        let heard = self.hear().await;
        self.say(&format!("{}\n", json!({"return": {}, "id": heard["id"]}))).await;
        heard
    }
}

fn pair() -> (UnixStream, Peer) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (read, write) = theirs.into_split();
    (ours, Peer { read: BufReader::new(read).lines(), write })
}

async fn connected() -> (Qmp, mpsc::Receiver<Incoming>, Peer) {
    let (ours, mut peer) = pair();
    peer.say(&format!("{GREETING}\n")).await;
    let (connected, agreed) = tokio::join!(Qmp::connect(ours, SOON), peer.agree());
    assert_eq!(agreed["execute"], "qmp_capabilities");
    let (qmp, events) = connected.unwrap();
    (qmp, events, peer)
}

fn named(incoming: Option<Incoming>) -> String {
    match incoming {
        Some(Incoming::Event(event)) => event.name,
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn a_peer_that_never_greets_is_an_error_in_time() {
    let (ours, _silent) = pair();
    let error = Qmp::connect(ours, SHORT).await.err().unwrap();
    assert_eq!(error, QmpError::TimedOut { command: "the greeting".into(), limit: SHORT });
}

#[tokio::test]
async fn answers_out_of_order_reach_their_own_commands() {
    let (qmp, _events, mut peer) = connected().await;
    let serve = async {
        let (first, second) = (peer.hear().await, peer.hear().await);
        for (asked, value) in [(second, 2), (first, 1)] {
            peer.say(&format!("{}\n", json!({"return": value, "id": asked["id"]}))).await;
        }
    };
    let (one, two, ()) =
        tokio::join!(qmp.execute("one", Value::Null, SOON), qmp.execute("two", Value::Null, SOON), serve);
    assert_eq!((one.unwrap(), two.unwrap()), (1.into(), 2.into()));
}

#[tokio::test]
async fn half_lines_and_garbage_harm_only_themselves() {
    let (qmp, mut events, mut peer) = connected().await;
    let serve = async {
        let asked = peer.hear().await;
        peer.say("\u{1}not json\n{\"event\": \"RES").await;
        tokio::task::yield_now().await;
        peer.say("ET\", \"data\": {\"guest\": true, \"reason\": \"guest-reset\"}}\r\n").await;
        peer.say(&format!("{}\n", json!({"return": [], "id": asked["id"]}))).await;
    };
    let (answer, ()) = tokio::join!(qmp.execute("query-jobs", Value::Null, SOON), serve);
    assert_eq!(answer.unwrap(), json!([]));
    assert_eq!(events.recv().await, Some(Incoming::Garbage("\u{1}not json".into())));
    let data = json!({"guest": true, "reason": "guest-reset"});
    assert_eq!(events.recv().await, Some(Incoming::Event(Event { name: "RESET".into(), data })));
}

#[tokio::test]
async fn an_event_that_no_schema_knows_is_kept_as_it_is() {
    let (_qmp, mut events, mut peer) = connected().await;
    peer.say("{\"event\": \"BRAND_NEW\", \"data\": {\"state\": \"never-seen\"}}\n{\"event\": \"STOP\"}\n").await;
    let data = json!({"state": "never-seen"});
    assert_eq!(events.recv().await, Some(Incoming::Event(Event { name: "BRAND_NEW".into(), data })));
    assert_eq!(named(events.recv().await), "STOP");
}

#[tokio::test]
async fn a_refusal_keeps_qemus_own_words() {
    let (qmp, _events, mut peer) = connected().await;
    let serve = async {
        let id = peer.hear().await["id"].clone();
        let error = json!({"class": "CommandNotFound", "desc": "The command frob has not been found"});
        peer.say(&format!("{}\n", json!({"error": error, "id": id}))).await;
    };
    let (answer, ()) = tokio::join!(qmp.execute("frob", Value::Null, SOON), serve);
    let text = answer.unwrap_err().to_string();
    assert_eq!(text, "QEMU refused frob: The command frob has not been found (CommandNotFound)");
}

#[tokio::test]
async fn a_late_answer_does_not_reach_the_next_command() {
    let (qmp, mut events, mut peer) = connected().await;
    let late = qmp.execute("slow", Value::Null, SHORT).await.unwrap_err();
    assert_eq!(late, QmpError::TimedOut { command: "slow".into(), limit: SHORT });
    let serve = async {
        let slow = peer.hear().await["id"].clone();
        let quick = peer.hear().await["id"].clone();
        for (id, value) in [(slow, "old"), (quick, "new")] {
            peer.say(&format!("{}\n", json!({"return": value, "id": id}))).await;
        }
    };
    let (answer, ()) = tokio::join!(qmp.execute("quick", Value::Null, SOON), serve);
    assert_eq!(answer.unwrap(), json!("new"));
    assert!(events.try_recv().is_err(), "a late answer is not worth a word");
}

#[tokio::test]
async fn the_end_of_the_connection_fails_every_waiting_command_at_once() {
    let (qmp, mut events, mut peer) = connected().await;
    let serve = async {
        peer.hear().await;
        drop(peer);
    };
    let (answer, ()) = tokio::join!(qmp.execute("quit", Value::Null, SOON), serve);
    assert!(matches!(answer, Err(QmpError::Lost { .. })), "{answer:?}");
    assert!(matches!(events.recv().await, Some(Incoming::Lost(_))));
    assert_eq!(events.recv().await, None);
    let after = qmp.execute("query-status", Value::Null, SOON).await;
    assert!(matches!(after, Err(QmpError::Lost { .. })), "{after:?}");
}

#[tokio::test]
async fn a_reset_connection_is_a_lost_connection() {
    let (qmp, mut events, mut peer) = connected().await;
    let asking = tokio::spawn(async move { qmp.execute("quit", Value::Null, SOON).await });
    // Closing a Unix socket with unread bytes in it gives the other side ECONNRESET.
    peer.read.get_ref().get_ref().readable().await.unwrap();
    drop(peer);
    let Some(Incoming::Lost(why)) = events.recv().await else { panic!("no loss reported") };
    assert!(why.contains("reset by peer"), "{why}");
    assert!(matches!(asking.await.unwrap(), Err(QmpError::Lost { .. })));
}

#[tokio::test]
async fn a_typed_command_sends_its_arguments_and_reads_its_answer() {
    let (qmp, _events, mut peer) = connected().await;
    let serve = async {
        let asked = peer.hear().await;
        assert_eq!(asked["execute"], "query-status");
        assert!(asked.get("arguments").is_none(), "{asked}");
        let status = json!({"status": "running", "running": true, "singlestep": false});
        peer.say(&format!("{}\n", json!({"return": status, "id": asked["id"]}))).await;
    };
    let (status, ()) = tokio::join!(qmp.run(schema::query_status {}, SOON), serve);
    assert!(status.unwrap().running);
}

#[tokio::test]
async fn a_stuck_peer_takes_only_so_many_commands() {
    let (qmp, _events, _stuck) = connected().await;
    let stuck: Vec<_> = (0..WAITING_MAX)
        .map(|_| {
            let qmp = qmp.clone();
            tokio::spawn(async move { qmp.execute("slow", Value::Null, SOON).await })
        })
        .collect();
    while lock(&qmp.inner.pending).waiting.len() < WAITING_MAX {
        tokio::task::yield_now().await;
    }
    let error = qmp.execute("one-more", Value::Null, SOON).await.unwrap_err();
    assert!(matches!(error, QmpError::Busy { waiting: WAITING_MAX, .. }), "{error}");
    stuck.iter().for_each(tokio::task::JoinHandle::abort);
    for task in stuck {
        let _ = task.await;
    }
    assert!(lock(&qmp.inner.pending).waiting.is_empty(), "a dropped command leaves nothing behind");
}

#[tokio::test]
async fn a_line_without_end_costs_bounded_memory() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut lines = Lines::with_longest(theirs, 10);
    ours.write_all(&[b'x'; 100_000]).await.unwrap();
    ours.write_all(b"\nnext\n").await.unwrap();
    assert_eq!(lines.next().await, Line::TooLong);
    assert_eq!(lines.next().await, Line::Text("next".into()));
}
