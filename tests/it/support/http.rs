//! A small blocking HTTP/1.1 client: one connection a request, so that a test sees exactly what the daemon answers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The value of a header, named in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let headers = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        headers.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The `detail` of a failure, which must have this status and be `application/problem+json` of a known shape.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        let keys: Vec<&str> = problem.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["detail", "status", "title"], "{self:?}");
        assert_eq!(problem["status"], status, "{self:?}");
        problem["detail"].as_str().unwrap().to_owned()
    }
}

/// GET.
pub(crate) fn get(port: u16, path: &str) -> std::io::Result<Answer> {
    exchange(port, &request(port, "GET", path, "", b""))
}

/// POST of JSON; the bytes are sent as they are.
pub(crate) fn post(port: u16, path: &str, json: &[u8]) -> std::io::Result<Answer> {
    exchange(port, &request(port, "POST", path, "content-type: application/json\r\n", json))
}

/// The bytes of a request with a right `host` and these further header lines.
pub(crate) fn request(port: u16, method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// Sends these bytes, and only then reads what the server answers until it closes.
pub(crate) fn exchange(port: u16, bytes: &[u8]) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    // A body that is refused early may not be taken whole; the answer is there all the same.
    let sent = stream.write_all(bytes);
    read(&mut stream).map_err(|error| sent.err().unwrap_or(error))
}

/// What the server answers on this connection until it closes.
pub(crate) fn read(stream: &mut TcpStream) -> std::io::Result<Answer> {
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    parse(&bytes).ok_or_else(|| read.err().unwrap_or(std::io::ErrorKind::InvalidData.into()))
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    assert!(!head.to_ascii_lowercase().contains("transfer-encoding"), "chunked answers are not understood: {head}");
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
}
