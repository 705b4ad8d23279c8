//! As much of the Redis protocol as a test needs: blocking, over one connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Text(String),
    Int(i64),
    Error(String),
    Nil,
    List(Vec<Reply>),
}

impl Reply {
    /// The text of a simple or bulk string.
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Int(_) | Self::Error(_) | Self::Nil | Self::List(_) => panic!("no text: {self:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn int(&self) -> i64 {
        match self {
            Self::Int(int) => *int,
            Self::Text(_) | Self::Error(_) | Self::Nil | Self::List(_) => panic!("no number: {self:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn list(&self) -> &[Reply] {
        match self {
            Self::List(list) => list,
            Self::Text(_) | Self::Error(_) | Self::Nil | Self::Int(_) => panic!("no list: {self:?}"),
        }
    }
}

/// A command as clients send it.
pub(crate) fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

/// One connection to a server.
pub(crate) struct Wire {
    reader: BufReader<TcpStream>,
}

impl Wire {
    pub(crate) fn connect(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    /// Sends a command and reads its answer.
    pub(crate) fn ask(&mut self, words: &[&str]) -> std::io::Result<Reply> {
        self.reader.get_mut().write_all(&command(words))?;
        self.reply()
    }

    /// The next answer.
    pub(crate) fn reply(&mut self) -> std::io::Result<Reply> {
        let line = self.line()?;
        let Some((kind, rest)) = line.split_at_checked(1) else { return Err(std::io::ErrorKind::InvalidData.into()) };
        let number = || rest.parse::<i64>().map_err(|_| std::io::Error::from(std::io::ErrorKind::InvalidData));
        Ok(match kind {
            "+" => Reply::Text(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Int(number()?),
            "$" | "*" if number()? < 0 => Reply::Nil,
            "$" => {
                let mut bytes = vec![0; usize::try_from(number()?).unwrap() + 2];
                self.reader.read_exact(&mut bytes)?;
                Reply::Text(String::from_utf8_lossy(&bytes[..bytes.len() - 2]).into_owned())
            }
            "*" => Reply::List((0..number()?).map(|_| self.reply()).collect::<Result<_, _>>()?),
            _ => return Err(std::io::ErrorKind::InvalidData.into()),
        })
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    /// The socket itself.
    pub(crate) fn socket(&self) -> &TcpStream {
        self.reader.get_ref()
    }
}
