use std::io::{self, Read};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::*;
use crate::engine::socket::Socket;
use crate::testing::id;

/// A loader of an engine that reads a whole body and gives this answer, and what it read.
async fn loads(
    answer: &'static str,
    parts: Vec<Part>,
    on_bytes: impl Fn(u64),
) -> (Result<(), NotLoaded>, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("docker.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let reader = Reader::of(Socket::new(path));
    let server = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n0\r\n\r\n") {
            if client.read_buf(&mut asked).await.unwrap() == 0 {
                return asked;
            }
        }
        if !answer.is_empty() {
            let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
            client.write_all(head.as_bytes()).await.unwrap();
            client.write_all(answer.as_bytes()).await.unwrap();
            return asked;
        }
        std::future::pending().await
    });
    let loader = Loader { reader: &reader };
    let came = loader.load(&id(1), parts, on_bytes).await;
    if answer.is_empty() {
        server.abort();
        return (came, Vec::new());
    }
    (came, server.await.unwrap())
}

fn small() -> Vec<Part> {
    vec![Part::whole("a", &b"xyz"[..])]
}

fn on(_: u64) {}

#[tokio::test]
async fn whatever_the_answer_says_of_a_failure_is_one() {
    const DONE: &str = "{\"stream\":\"Loaded image ID: sha256:x\"}\n";
    const FAILED: &str = "{\"errorDetail\":{\"message\":\"no space\"},\"error\":\"no space\"}\n";
    // Recorded from 28.5.2 on the containerd store.
    const NOT_UNPACKED: &str = "{\"stream\":\"Loaded image ID: sha256:x\\n\"}\r\n{\"stream\":\"Error unpacking image sha256:x: apply layer error\\n\"}\r\n";
    let (came, asked) = loads(DONE, small(), on).await;
    assert!(came.is_ok(), "{came:?}");
    assert!(asked.starts_with(b"POST /images/load?quiet=1"));
    for (answer, why) in [
        (FAILED, "the engine answered: no space"),
        (
            NOT_UNPACKED,
            "the engine answered: Error unpacking image sha256:x: apply layer error",
        ),
        ("{\"stream\":", "its answer ends inside a message"),
    ] {
        match loads(answer, small(), on).await.0 {
            Err(NotLoaded::Engine(error)) => assert_eq!(error.why, why),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_file_that_is_wrong_cuts_the_body_short_and_is_the_reason() {
    struct Damaged;
    impl Read for Damaged {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("damaged"))
        }
    }
    let mut parts = small();
    parts.push(Part {
        path: "b".into(),
        size: 0,
        open: Box::new(|| Ok(Box::new(Damaged))),
    });
    let (came, asked) = loads("{}", parts, on).await;
    let Err(NotLoaded::File(error)) = came else {
        panic!("{came:?}");
    };
    assert_eq!(error.to_string(), "damaged");
    assert!(!asked.ends_with(b"\r\n0\r\n\r\n"), "a body that ends well");
}

#[tokio::test(start_paused = true)]
async fn a_load_is_given_up_where_the_engine_is_silent_for_half_an_hour() {
    let heard = std::cell::Cell::new(0);
    let began = Instant::now();
    let (came, _) = loads("", small(), |bytes| heard.set(bytes)).await;
    let Err(NotLoaded::Engine(error)) = came else {
        panic!("{came:?}");
    };
    assert!(error.why.contains("no sign of life within 30m"), "{error}");
    assert_eq!(began.elapsed().as_secs() / 60, 30);
    assert_eq!(heard.get(), 1024 + 1024);
}

#[tokio::test]
async fn a_load_that_nobody_waits_for_ends_within_its_body() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("docker.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let reader = Reader::of(Socket::new(path));
    let loader = Loader { reader: &reader };
    let parts = vec![Part {
        path: "endless".into(),
        size: u64::MAX >> 1,
        open: Box::new(|| Ok(Box::new(io::repeat(0)))),
    }];
    let id = id(1);
    let client = {
        let load = loader.load(&id, parts, on);
        let accepted = async { listener.accept().await.unwrap().0 };
        tokio::select! {
            _ = load => panic!("it ended"),
            accepted = accepted => accepted,
        }
    };
    let mut read = Vec::new();
    let mut client = client.take(64 << 20);
    client.read_to_end(&mut read).await.unwrap();
    assert!(client.limit() > 0, "it goes on for ever");
}
