//! PostgreSQL's `COPY … (FORMAT binary)` → Arrow: bytes in, batches out.

mod column;
mod decode;
mod messages;
mod numeric;
mod value;
mod wire;

pub use decode::Decoder;
pub use messages::Messages;
pub use wire::Wire;
