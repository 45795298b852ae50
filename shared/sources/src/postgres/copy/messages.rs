//! Splits the bytes from the server into a COPY's rows and everything else.
//!
//! A message is a type byte, a four-byte length that includes itself, and a body (PostgreSQL's manual, "Message
//! Formats"). The input may be split anywhere. Between calls, only an incomplete header is kept.

const HEADER_BYTES: usize = 5;

/// The message types that start, carry, complete and abort a COPY.
const COPY_OUT: u8 = b'H';
const COPY_DATA: u8 = b'd';
const COPY_DONE: u8 = b'c';
const ERROR: u8 = b'E';

/// The splitter's position in the message stream and in the COPY, kept between calls.
#[derive(Default)]
pub struct Messages {
    /// The start of an incomplete header.
    partial_header: Vec<u8>,
    /// The number of bytes of the current body that are still to come.
    body_left: usize,
    /// Whether the message that is being read carries rows.
    is_rows: bool,
    copy: Copy,
}

#[derive(Default, PartialEq)]
enum Copy {
    #[default]
    NotStarted,
    Copying,
    /// Completed or failed.
    Ended,
}

impl Messages {
    /// Returns whether a COPY is in progress.
    pub fn is_copying(&self) -> bool {
        self.copy == Copy::Copying
    }

    /// Returns whether no more rows can come: the COPY has completed or failed.
    pub fn has_ended(&self) -> bool {
        self.copy == Copy::Ended
    }

    /// Appends the contents of row messages to `rows` and all other messages, unchanged, to `others`.
    pub fn split(&mut self, mut bytes: &[u8], rows: &mut Vec<u8>, others: &mut Vec<u8>) {
        loop {
            let (body, rest) = bytes.split_at(self.body_left.min(bytes.len()));
            if self.is_rows { &mut *rows } else { &mut *others }.extend_from_slice(body);
            self.body_left -= body.len();
            bytes = rest;
            if bytes.is_empty() {
                return;
            }
            let Some(head) = self.header(&mut bytes) else { return };
            self.start(head, others);
        }
    }

    /// Removes a header from the front of `bytes` and returns it. If it is incomplete, keeps its start and returns
    /// `None`.
    fn header(&mut self, bytes: &mut &[u8]) -> Option<[u8; HEADER_BYTES]> {
        if self.partial_header.is_empty()
            && let Some((head, rest)) = bytes.split_first_chunk()
        {
            *bytes = rest;
            return Some(*head);
        }
        let (more, rest) = bytes.split_at(bytes.len().min(HEADER_BYTES - self.partial_header.len()));
        *bytes = rest;
        self.partial_header.extend_from_slice(more);
        let head = self.partial_header.first_chunk().copied()?;
        self.partial_header.clear();
        Some(head)
    }

    /// Starts the message with this header. Appends the header to `others` unless the message is a row.
    fn start(&mut self, head: [u8; HEADER_BYTES], others: &mut Vec<u8>) {
        let [of, length @ ..] = head;
        let body = i32::from_be_bytes(length).checked_sub(4).and_then(|body| usize::try_from(body).ok());
        match (of, &self.copy) {
            (COPY_OUT, Copy::NotStarted) => self.copy = Copy::Copying,
            (COPY_DONE | ERROR, Copy::Copying) => self.copy = Copy::Ended,
            _ => {}
        }
        self.is_rows = of == COPY_DATA && self.is_copying() && body.is_some();
        if !self.is_rows {
            others.extend_from_slice(&head);
        }
        // After an invalid length, messages can't be told apart, so everything goes to `others`, whose reader reports
        // the error.
        self.body_left = body.unwrap_or(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(of: u8, body: &[u8]) -> Vec<u8> {
        [&[of][..], &(body.len() as i32 + 4).to_be_bytes(), body].concat()
    }

    fn split(chunks: &[&[u8]]) -> (Vec<u8>, Vec<u8>, bool) {
        let (mut messages, mut rows, mut others) = (Messages::default(), Vec::new(), Vec::new());
        for chunk in chunks {
            messages.split(chunk, &mut rows, &mut others);
        }
        (rows, others, messages.has_ended())
    }

    #[test]
    fn messages_are_split_correctly_wherever_the_input_is_cut() {
        let head = [message(b'Z', b"I"), message(b'd', b"none yet"), message(b'H', b"\0\0\0")].concat();
        let rows = [message(b'd', b"one"), message(b'd', b""), message(b'd', b" two")].concat();
        let notice = message(b'N', b"notice");
        let tail = [message(b'c', b""), message(b'd', b"too late"), message(b'Z', b"T")].concat();
        let sent = [&head[..], &rows, &notice, &message(b'd', b" three"), &tail].concat();
        let expected = (b"one two three".to_vec(), [&head[..], &notice, &tail].concat(), true);
        assert_eq!(split(&[&sent]), expected);
        assert_eq!(split(&sent.chunks(1).collect::<Vec<_>>()), expected);
        for at in 0..=sent.len() {
            let (one, other) = sent.split_at(at);
            assert_eq!(split(&[one, other]), expected);
        }
    }

    #[test]
    fn an_error_ends_the_copy() {
        let head = [message(b'E', b"of another query"), message(b'H', b"")].concat();
        assert!(!split(&[&head]).2);
        let failed = [head, message(b'E', b"why"), message(b'd', b"not these")].concat();
        assert_eq!(split(&[&failed]), (Vec::new(), failed, true));
    }

    #[test]
    fn after_an_invalid_length_everything_is_passed_on() {
        for length in [3_i32, 0, -1, i32::MIN] {
            let broken = [&message(b'H', b"")[..], b"d", &length.to_be_bytes(), &message(b'd', b"row")].concat();
            assert_eq!(split(&broken.chunks(2).collect::<Vec<_>>()), (Vec::new(), broken.clone(), false));
        }
    }
}
