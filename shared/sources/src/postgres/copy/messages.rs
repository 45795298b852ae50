//! What the server sends → the rows of a COPY, and everything else.
//!
//! A message is a byte that says what it is, a length of four bytes that counts itself, and a body (PostgreSQL's manual,
//! "Message Formats"). Bytes may be cut anywhere: what is kept between two calls is the head that was cut, no more.

const HEAD: usize = 5;

/// Types of messages.
const COPY_OUT: u8 = b'H';
const COPY_DATA: u8 = b'd';
const COPY_DONE: u8 = b'c';
const ERROR: u8 = b'E';

/// How far into the messages the last bytes went.
#[derive(Default)]
pub struct Messages {
    /// The start of a head that has not arrived whole.
    cut: Vec<u8>,
    /// Bytes of the message's body that are still to come, and whether they are rows.
    left: usize,
    is_rows: bool,
    copy: Copy,
}

#[derive(Default, PartialEq)]
enum Copy {
    #[default]
    ToCome,
    Begun,
    /// Or failed.
    Ended,
}

impl Messages {
    /// Whether rows may come now.
    pub fn is_copying(&self) -> bool {
        self.copy == Copy::Begun
    }

    /// Whether no more rows can come: the COPY has ended, or failed.
    pub fn has_ended(&self) -> bool {
        self.copy == Copy::Ended
    }

    /// Appends the rows, without the messages that they come in, and whatever else there is, as it is.
    pub fn split(&mut self, mut bytes: &[u8], rows: &mut Vec<u8>, others: &mut Vec<u8>) {
        loop {
            let (body, rest) = bytes.split_at(self.left.min(bytes.len()));
            if self.is_rows { &mut *rows } else { &mut *others }.extend_from_slice(body);
            self.left -= body.len();
            bytes = rest;
            if bytes.is_empty() {
                return;
            }
            let Some(head) = self.head(&mut bytes) else { return };
            self.begin(head, others);
        }
    }

    /// Takes a head off the front, if it is whole.
    fn head(&mut self, bytes: &mut &[u8]) -> Option<[u8; HEAD]> {
        if self.cut.is_empty()
            && let Some((head, rest)) = bytes.split_first_chunk()
        {
            *bytes = rest;
            return Some(*head);
        }
        let (more, rest) = bytes.split_at(bytes.len().min(HEAD - self.cut.len()));
        *bytes = rest;
        self.cut.extend_from_slice(more);
        let head = self.cut.first_chunk().copied()?;
        self.cut.clear();
        Some(head)
    }

    fn begin(&mut self, head: [u8; HEAD], others: &mut Vec<u8>) {
        let [of, length @ ..] = head;
        let body = i32::from_be_bytes(length).checked_sub(4).and_then(|body| usize::try_from(body).ok());
        match (of, &self.copy) {
            (COPY_OUT, Copy::ToCome) => self.copy = Copy::Begun,
            (COPY_DONE | ERROR, Copy::Begun) => self.copy = Copy::Ended,
            _ => {}
        }
        self.is_rows = of == COPY_DATA && self.is_copying() && body.is_some();
        if !self.is_rows {
            others.extend_from_slice(&head);
        }
        // After a length that cannot be, nothing can be told apart: whoever gets the others will say so.
        self.left = body.unwrap_or(usize::MAX);
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
    fn rows_leave_their_messages_and_the_others_stay_as_they_are_wherever_they_are_cut() {
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
    fn an_error_ends_the_rows() {
        let begun = [message(b'E', b"of another query"), message(b'H', b"")].concat();
        assert!(!split(&[&begun]).2);
        let failed = [begun, message(b'E', b"why"), message(b'd', b"not these")].concat();
        assert_eq!(split(&[&failed]), (Vec::new(), failed, true));
    }

    #[test]
    fn after_a_length_that_cannot_be_everything_is_passed_on() {
        for length in [3_i32, 0, -1, i32::MIN] {
            let broken = [&message(b'H', b"")[..], b"d", &length.to_be_bytes(), &message(b'd', b"row")].concat();
            assert_eq!(split(&broken.chunks(2).collect::<Vec<_>>()), (Vec::new(), broken.clone(), false));
        }
    }
}
