//! Decodes PostgreSQL's `COPY … (FORMAT binary)` into Arrow: bytes in, record batches out.

mod append;
mod decode;
mod messages;
mod numeric;
mod value;
mod wire;

pub use decode::{Conversion, Decoder};
pub use messages::Messages;
pub use wire::Wire;
